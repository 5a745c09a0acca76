"""A description becomes the mapper's Accelerator: innermost first, numbers resolved, nothing lost."""

import pytest

from bitjoule.hardware import load, presets
from bitjoule.hardware.hierarchy import LevelSection
from bitjoule.mapping.accelerator import Axis
from bitjoule.mapping.hardware_levels import accelerator_of

HIERARCHIES = [name for name in presets() if load(name).kind == "hierarchy"]


def test_eyeriss() -> None:
    accelerator = accelerator_of(load("eyeriss"))
    assert [level.name for level in accelerator.levels] == ["psum_rf", "filter_rf", "ifmap_rf", "glb", "dram"]
    assert [level.words for level in accelerator.levels] == [24, 224, 12, 51200, None]
    assert [level.block for level in accelerator.levels] == [1, 1, 1, 4, 4]
    assert (accelerator.mac_count, accelerator.psum_bits, accelerator.packing) == (168, 16, "floor")
    glb = accelerator.level("glb")
    assert (glb.x, glb.y) == (Axis(14, ("K", "Q")), Axis(12, ("K", "C", "S")))
    assert (glb.noc_pj_per_word, glb.residency, glb.bypass_allowed) == (2.2, True, ("inputs", "outputs"))
    assert accelerator.level("ifmap_rf").temporal_dims == ()
    assert accelerator.level("filter_rf").temporal_dims == ("C", "R")
    assert accelerator.level("dram").read_words_per_cycle == 1.2


def test_fan_outs_of_the_timeloop_designs() -> None:
    eyeriss, simba = (accelerator_of(load(name)) for name in ("eyeriss-timeloop", "simba-timeloop"))
    columns, rows = eyeriss.level("inter_PE_column_spatial"), eyeriss.level("inter_PE_spatial")
    assert (columns.keeps, columns.temporal_dims, columns.fanout, rows.fanout) == ((), (), 14, 12)
    # constraints of the example: N=1,C=1,P=1,R=1,S=1 and N=1,P=1,Q=1,R=1; M is K, or G if depthwise
    assert (columns.x.dims, rows.y.dims) == (("G", "K", "Q"), ("G", "K", "C", "S"))
    assert eyeriss.level("weights_spad").temporal_order == ("C", "R")
    assert eyeriss.level("psum_spad").temporal_dims == ("G", "K")
    registers = simba.level("PEWeightRegs")
    assert (registers.words, registers.block, registers.cluster) == (1, 1, 64)
    assert simba.total_instances(0) == 256


@pytest.mark.parametrize("name", HIERARCHIES)
def test_nothing_is_lost(name: str) -> None:
    hardware = load(name)
    accelerator = accelerator_of(hardware)
    assert accelerator.name == name
    assert accelerator.total_instances(-1) == accelerator.mac_count or accelerator.levels[0].fanout > 1
    for ours, theirs in zip(accelerator.levels, reversed(hardware.levels), strict=True):
        assert (ours.name, set(ours.keeps), ours.fanout) == (
            theirs.name,
            set(theirs.keeps),
            theirs.fanout.size,
        )
        if theirs.stores:
            assert (ours.words, ours.read_pj, ours.write_pj) == (
                theirs.words, theirs.read_energy_pj, theirs.write_energy_pj,
            )  # fmt: skip
            assert ours.leak_pj_per_cycle == theirs.leak_pj_per_cycle
            assert set(ours.temporal_dims) == set(theirs.temporal_dims)
            assert (ours.cluster, ours.residency) == (theirs.cluster, theirs.residency)


def test_imported_constraints_and_buffering_come_along() -> None:
    document = dict(load("eyeriss").to_mapping())
    levels = [dict(level) for level in document["levels"]]  # type: ignore[attr-defined]
    levels[1] |= {
        "multiple_buffering": 2, "charge_drain": True, "fixed_temporal": {"P": 2, "C": 3},
        "max_temporal": {"Q": 7}, "fixed_spatial": {"S": 3}, "temporal_order": ["Q", "P"], "update_pj": 30.0,
    }  # fmt: skip
    glb = accelerator_of(load({**document, "levels": levels})).level("glb")
    assert glb.words == 25600 and glb.charge_drain and glb.update_price_pj == 30
    assert glb.fixed_temporal == (("C", 3), ("P", 2)) and glb.max_temporal == (("Q", 7),)
    assert glb.fixed_spatial == (("S", 3),) and glb.temporal_order == ("Q", "P")


CHANGED: dict[str, object] = {
    "size_bits": 4096, "word_bits": 8, "width_bits": 128, "read_pj": 1.0, "write_pj": 1.0, "update_pj": 1.0,
    "leak_pj_per_cycle": 1.0, "noc_pj_per_word": 1.0, "read_words_per_cycle": 1.0,
    "write_words_per_cycle": 1.0,
    "keeps": ["outputs", "inputs", "weights"], "fanout": {"x": {"size": 168}}, "bypass_allowed": ["inputs"],
    "temporal_dims": ["P"], "temporal_order": ["P"], "fixed_temporal": {"P": 2}, "max_temporal": {"P": 2},
    "fixed_spatial": {"K": 2}, "cluster": 2, "multiple_buffering": 2, "charge_drain": True,
    "residency": False, "name": "other",
}  # fmt: skip
READ_ELSEWHERE = {"read_pj_per_bit", "write_pj_per_bit", "banks", "source", "sources"}
"""Resolved before, part of `from_table`, or no numbers."""


def test_every_key_of_a_level_is_there_to_change() -> None:
    assert set(CHANGED) | READ_ELSEWHERE == set(LevelSection.model_fields)


@pytest.mark.parametrize("key", CHANGED)
def test_every_key_of_a_level_reaches_the_mapper(key: str) -> None:
    document = dict(load("eyeriss").to_mapping())
    levels = [dict(level) for level in document["levels"]]  # type: ignore[attr-defined]
    levels[1][key] = CHANGED[key]
    changed = accelerator_of(load({**document, "levels": levels}))
    assert changed != accelerator_of(load("eyeriss"))


def test_other_kinds_have_no_levels() -> None:
    text = "hardware 'moons-4mb' is of kind moons and has no levels to map on; take one of kind hierarchy"
    with pytest.raises(ValueError, match=text):
        accelerator_of(load("moons-4mb"))
