"""Integer weights with scales in groups: every way of rounding, the report, verification, files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from bitjoule.network import Network, fold_batch_norm
from bitjoule.quant.calibration import parse_calibrator
from bitjoule.quant.grouped import GroupedQuantizer
from bitjoule.train.ptq import PRESETS, PtqError, configured, ptq
from bitjoule.train.ptq.save import save_quantized
from bitjoule.train.ptq.trace import weight_readers
from bitjoule.train.ptq.verify import most_distinct, verify_widths
from tests.train.ptq.conftest import noise

SCHEME = "w4/group10a8[first=same,last=same]"  # 72 weights of a channel: the last group has 2


def weights(net: Network) -> dict[str, tuple[GroupedQuantizer, Tensor]]:
    """Every quantizer of weights with its rows (channels, n) as they are rounded."""
    found = {}
    for quantizer in weight_readers(net).values():
        assert isinstance(quantizer, GroupedQuantizer)
        parameter = net.state_dict()[str(quantizer.parameter)]
        found[quantizer.name] = quantizer, quantizer(parameter).detach().flatten(1)
    return found


@pytest.mark.parametrize(
    "settings",
    [
        "rounding=nearest",
        "rounding=gptq",
        "rounding=gptq act_order=false refine=flips",
        "rounding=adaround",
        "rounding=best_of refine=flips",
        "reconstruct=block reconstruct_up_to_bits=8 iterations=20",
    ],
)
def test_every_rounding_holds_the_levels_of_each_group(tiny: Network, images: Tensor, settings: str) -> None:
    config = configured(PRESETS["fast"], settings.split())
    made = ptq(tiny, images, SCHEME, config=config)
    assert noise(tiny, made, images) < 0.08
    for quantizer, rows in weights(made).values():
        for group, part in enumerate(rows.split(10, 1)):
            u = part.double() / quantizer.scale[:, group, None].double()
            assert torch.allclose(u, u.round(), atol=1e-4)
            assert float(u.abs().max()) < 7.001
    assert verify_widths(made, images) > 5
    row = next(r for r in made.quantization_report.rows if r.name == "conv1.weight")
    assert row.format == "INT4_NARROW/group10"
    assert row.scale_low < row.scale_high
    assert any("biases of 5 layers stay float" in note for note in made.quantization_report.notes)


@pytest.mark.parametrize("calibrator", ["minmax", "mse(2.4)", "percentile(99.9)", "entropy", "aciq"])
def test_ranges_are_those_of_each_group_alone(tiny: Network, images: Tensor, calibrator: str) -> None:
    config = configured(PRESETS["fast"], ["rounding=nearest", "equalize=0", f"weight_range={calibrator}"])
    made = ptq(tiny, images, SCHEME, config=config)
    quantizer, _ = weights(made)["conv1.weight"]
    plain = fold_batch_norm(tiny).state_dict()["conv1.weight"].flatten(1)
    by_tensor = quantizer.tensor_format
    by_tensor = type(by_tensor)(by_tensor.format)
    for channel, group in ((0, 0), (5, 3), (7, 7)):
        alone = parse_calibrator(calibrator).make("alone", capacity=None)
        alone.update(plain[channel, 10 * group : 10 * group + 10])
        wanted = float(alone.range(by_tensor).scale)
        assert float(quantizer.scale[channel, group]) == pytest.approx(wanted, rel=1e-6)


def test_smaller_groups_err_less(tiny: Network, images: Tensor) -> None:
    def error(scheme: str) -> float:
        made = ptq(tiny, images, scheme, config=configured(PRESETS["fast"], ["rounding=nearest"]))
        rows = [r.sqnr_db for r in made.quantization_report.rows if r.role == "weight"]
        return sum(rows) / len(rows)

    assert error("w4/group4a8") > error("w4/group16a8") > error("w4a8")


def test_gptq_in_the_natural_order_makes_scales_anew(tiny: Network, images: Tensor) -> None:
    scales = [
        weights(ptq(tiny, images, SCHEME, config=configured(PRESETS["fast"], [f"act_order={order}"])))
        for order in ("true", "false")
    ]
    fixed, anew = (found["conv2.weight"][0].scale for found in scales)
    # w* of the first column's group is the weight that was ranged but for errors of earlier layers
    assert float((anew[:, 0] / fixed[:, 0] - 1).abs().median()) < 0.2
    changed = fixed[:, 1:] != anew[:, 1:]
    assert float(changed.double().mean()) > 0.5


def test_files_give_the_same_network_bit_for_bit(tiny: Network, images: Tensor, tmp_path: Path) -> None:
    made = ptq(tiny, images, SCHEME)
    save_quantized(tmp_path, made)
    other = made.clone()
    with torch.no_grad():
        for value in other.state_dict().values():
            value.zero_()
    assert not torch.equal(other(images), made(images))
    other.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    assert torch.equal(other(images), made(images))


def test_verification_counts_in_groups(tiny: Network, images: Tensor) -> None:
    made = ptq(tiny, images, "w2/group10a8[first=same,last=same]")
    assert verify_widths(made, images) > 5
    for _, rows in weights(made).values():
        assert max(most_distinct(part) for part in rows.split(10, 1)) <= 4
    assert max(len(row.unique()) for row in weights(made)["conv1.weight"][1]) > 4


def test_pruned_weights_have_no_groups(tiny: Network, images: Tensor) -> None:
    with pytest.raises(PtqError) as error:
        ptq(tiny, images, "w4/group8a8[prune=2:4]")
    assert str(error.value) == (
        "ptq: conv1: N:M pruning does not know scales in groups (INT4_NARROW/group8); give it weights with a "
        "scale per channel, or drop prune"
    )


def test_one_scale_for_a_tensor_overrides_groups(tiny: Network, images: Tensor) -> None:
    made = ptq(tiny, images, SCHEME, config=configured(PRESETS["fast"], ["per_tensor=true"]))
    assert {r.format for r in made.quantization_report.rows if r.role == "weight"} == {"INT4_NARROW"}
