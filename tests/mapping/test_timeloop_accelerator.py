"""Imported architectures as Accelerators: equal to the presets that were written by hand."""

from dataclasses import replace

import pytest

from bitjoule.hardware import load
from bitjoule.hardware.timeloop import read_timeloop
from bitjoule.mapping.accelerator import Accelerator
from bitjoule.mapping.hardware_levels import accelerator_of
from bitjoule.mapping.problem import TENSORS
from bitjoule.mapping.timeloop_accelerator import read_accelerator
from tests.hardware.timeloop import EXAMPLES, HERE, needs_spec


def test_a_given_mapping_is_not_bound_by_constraints() -> None:
    read = read_accelerator(HERE / "tiny.arch.yaml", HERE / "tiny.ERT.yaml", HERE / "tiny.ART.yaml")
    accelerator = read.accelerator
    assert [level.name for level in accelerator.levels] == ["sum_reg", "weight_reg", "row", "buffer", "store"]
    assert [level.words for level in accelerator.levels] == [2, 2, 0, 256, None]
    assert all(level.keeps == TENSORS for level in accelerator.levels if level.name != "row")
    assert not any(level.fixed_spatial or level.max_temporal for level in accelerator.levels)
    assert (accelerator.mac_count, read.mac_pj, read.priced) == (8, 0.25, True)
    assert read.areas_um2 == {"buffer": 1000.5, "mac": 400.0}


@needs_spec
@pytest.mark.parametrize(
    ("design", "preset"), [("eyeriss_like", "eyeriss-timeloop"), ("simba_like", "simba-timeloop")]
)
def test_example_designs_with_their_constraints_are_the_presets(design: str, preset: str) -> None:
    ert = EXAMPLES / "ert" / f"{design}.ERT.yaml"
    imported = accelerator_of(load(read_timeloop(EXAMPLES / "arch" / f"{design}.yaml", ert).document))
    assert _bare(imported) == _bare(accelerator_of(load(preset)))


def _bare(accelerator: Accelerator) -> Accelerator:
    """Without what a Timeloop file does not say: name, where feature maps stay, width of partial sums."""
    levels = tuple(replace(level, residency=False) for level in accelerator.levels)
    return replace(accelerator, name="", levels=levels, psum_bits="auto")
