"""The whole pipeline: widths, order of quality, errors with their texts, one result for one seed."""

from __future__ import annotations

import dataclasses
import warnings

import pytest
import torch
from torch import Tensor, nn

from bitjoule.network import Network, capture
from bitjoule.train.ptq import PRESETS, PtqConfig, PtqError, PtqWarning, configured, ptq, verify_widths
from bitjoule.train.ptq.trace import quantizer_of
from bitjoule.train.ptq.verify import distinct
from tests.train.ptq.conftest import noise

BEST = configured(PRESETS["best"], ["iterations=8"])
SAME = "[first=same,last=same]"


@pytest.mark.parametrize("scheme", ["w8a8", "w4a4", "w4a8[preadd=b]", "wPOT4a4", "hpr-w4a4", "wAPOT4a8"])
def test_every_scheme_is_counted(tiny: Network, images: Tensor, scheme: str) -> None:
    quantized = ptq(tiny, images, scheme)
    assert verify_widths(quantized, images) == len(quantized.quantization_report.rows)
    assert noise(tiny, quantized, images) < 0.3


def test_wider_is_better(tiny: Network, images: Tensor) -> None:
    found = {bits: noise(tiny, ptq(tiny, images, f"w{bits}a8{SAME}"), images) for bits in (2, 3, 4, 8)}
    assert found[2] > found[3] > found[4] > found[8] and found[8] < 1e-3


@pytest.mark.slow
def test_best_is_better_than_fast(tiny: Network, images: Tensor) -> None:
    fast = noise(tiny, ptq(tiny, images, f"w3a3{SAME}"), images)
    config = configured(BEST, ["iterations=200"])
    best = noise(tiny, ptq(tiny, images, f"w3a3{SAME}", config=config), images)
    assert best < fast


@pytest.mark.parametrize("rounding", ["gptq", "adaround", "best_of"])
def test_learned_rounding_beats_nearest(tiny: Network, images: Tensor, rounding: str) -> None:
    config = configured(PRESETS["fast"], [f"rounding={rounding}", "refine=flips"])
    nearest = noise(tiny, ptq(tiny, images, f"w3a8{SAME}", config=PtqConfig()), images)
    learned = ptq(tiny, images, f"w3a8{SAME}", config=config)
    assert noise(tiny, learned, images) < nearest
    assert any(rounding in row.method for row in learned.quantization_report.rows)


def test_the_same_seed_gives_the_same_network(tiny: Network, images: Tensor) -> None:
    before = {name: value.clone() for name, value in tiny.state_dict().items()}
    first, second = (ptq(tiny, images, "w4a4", config=BEST, seed=3).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert all(torch.equal(value, before[name]) for name, value in tiny.state_dict().items())
    other = ptq(tiny, images, "w4a4", config=BEST, seed=4).state_dict()
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_empirical_correction_makes_means_equal(tiny: Network, images: Tensor) -> None:
    nearest = configured(PRESETS["fast"], ["rounding=nearest"])
    corrected = ptq(tiny, images, f"w2a8{SAME}", config=nearest)
    plain = ptq(tiny, images, f"w2a8{SAME}", config=configured(nearest, ["bias_correction=none"]))
    with torch.no_grad():
        wanted = tiny(images)
        away, before = ((net(images) - wanted).mean(0).abs().max() for net in (corrected, plain))
    assert float(away) < 1e-2 * float(wanted.std()) < float(before)  # biases are then rounded to 32 bits


def test_low_bits_get_a_zero_point(tiny: Network, images: Tensor) -> None:
    formats = {row.name: row.format for row in ptq(tiny, images, f"w4a4{SAME}").quantization_report.rows}
    assert formats["x"] == "INT4+zp"
    config = configured(PRESETS["fast"], ["asymmetric_below_bits=0"])
    found = ptq(tiny, images, f"w4a4{SAME}", config=config).quantization_report
    assert {row.name: row.format for row in found.rows}["x"] == "INT4"


def test_a_quantizer_that_is_missing_is_found(tiny: Network, images: Tensor) -> None:
    quantized = ptq(tiny, images, "w4a4")
    node = next(n for n in quantized.module.graph.nodes if quantizer_of(quantized, n) is not None)
    node.replace_all_uses_with(node.all_input_nodes[0])
    quantized.module.graph.erase_node(node)
    quantized.module.recompile()
    with pytest.raises(PtqError, match=r"ptq: activation x has no quantizer; this is a fault of bitjoule"):
        verify_widths(quantized, images)


def test_a_weight_with_more_levels_is_found(tiny: Network, images: Tensor) -> None:
    quantized = ptq(tiny, images, "w4a4")
    for node in quantized.module.graph.nodes:
        quantizer = quantizer_of(quantized, node)
        if quantizer is not None and quantizer.role == "weight":
            quantizer.forward = lambda x: x + torch.rand_like(x)  # type: ignore[method-assign]
    with pytest.raises(PtqError, match=r"a channel of the weight .* holds \d+ values, more than the 16 of"):
        verify_widths(quantized, images)


def test_a_module_called_twice_has_one_weight(images: Tensor) -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(torch.relu(self.conv(x)))

    torch.manual_seed(0)
    net = capture(Twice().eval(), input_shape=(1, 3, 12, 12)).eval()
    quantized = ptq(net, images, f"w4a8{SAME}", config=configured(PRESETS["fast"], ["rounding=gptq"]))
    assert [row.name for row in quantized.quantization_report.rows if row.role == "weight"] == ["conv.weight"]
    assert noise(net, quantized, images) < 0.1


def test_a_dead_channel_is_listed(images: Tensor) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3))
    with torch.no_grad():
        model[0].weight[1] = 0
    net = capture(model.eval(), input_shape=(1, 3, 12, 12)).eval()
    report = ptq(net, images, "w4a8").quantization_report
    text = "0.weight: all values are zero (or none is positive) in 1 of 4 channels; the scale is set to 1"
    assert text in report.notes


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (
            None,
            "ptq: preset 'fast' needs calibration images (512 are enough, no labels); or preset='data-free'",
        ),
        (torch.zeros(0, 3, 12, 12), "ptq: there are 0 calibration images; give at least 1, better 512"),
        ([], "ptq: there are 0 calibration images; give at least 1, better 512"),
        (
            torch.zeros(64, 12, 12, 3),
            "calibration_images: expected (N, 3, 12, 12), got (N, 12, 12, 3): channels last? use "
            ".permute(0, 3, 1, 2)",
        ),
        (
            torch.zeros(3, 12, 12),
            "calibration_images: expected (N, 3, 12, 12), got (3, 12, 12): one image? use [None]",
        ),
        (
            torch.zeros(64, 3, 12, 12, dtype=torch.uint8),
            "calibration_images: expected float images as the network was trained on, got torch.uint8; "
            "normalise them (zoo.batches does), for the network carries no normalisation of its own",
        ),
        (
            torch.stack([torch.zeros(3, 12, 12), torch.full((3, 12, 12), float("nan"))]),
            "calibration_images: image 1 holds NaN or infinite values",
        ),
    ],
)
def test_bad_images(tiny: Network, given: object, text: str) -> None:
    with pytest.raises(PtqError) as error:
        ptq(tiny, given, "w8a8")  # type: ignore[arg-type]
    assert str(error.value) == text


def test_bad_networks(tiny: Network, images: Tensor) -> None:
    training = tiny.clone()
    training.module.get_submodule("bn1").train()
    with pytest.raises(PtqError, match=r"ptq: module 'bn1' of tiny is in training mode; call"):
        ptq(training, images, "w8a8")
    broken = tiny.clone()
    with torch.no_grad():
        broken.module.get_parameter("conv1.weight")[0, 0, 0, 0] = float("inf")
    with pytest.raises(PtqError, match=r"ptq: conv1\.weight holds NaN or infinite values; mend the network"):
        ptq(broken, images, "w8a8")
    with pytest.raises(PtqError, match="ptq: tiny has quantizers of scheme 'int8' already; give the float"):
        ptq(ptq(tiny, images, "w8a8"), images, "w8a8")


def test_few_images_and_one_bit_warn(tiny: Network, images: Tensor) -> None:
    with pytest.warns(PtqWarning, match=r"ptq: only 1 calibration images; ranges are uncertain below 32"):
        ptq(tiny, images[:1], "w8a8")
    with pytest.warns(PtqWarning, match=r"have 1 bit .* expect near-chance accuracy without training"):
        ptq(tiny, images, "w1a8")


def test_iterables_are_read_no_further_than_needed(tiny: Network, images: Tensor) -> None:
    seen = []

    def batches() -> object:
        for first in range(0, 64, 8):
            seen.append(first)
            yield images[first : first + 8], torch.zeros(8)

    config = dataclasses.replace(PRESETS["fast"], calibration_count=33)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = ptq(tiny, batches(), "w8a8", config=config).quantization_report  # type: ignore[arg-type]
    assert report.images == 33 and len(seen) == 5


def test_evaluate_sees_two_networks(tiny: Network, images: Tensor) -> None:
    seen: list[bool] = []

    def evaluate(net: Network) -> float:
        seen.append(net.quantized)
        return float(len(seen))

    report = ptq(tiny, images, "w8a8", evaluate=evaluate).quantization_report
    assert seen == [False, True] and (report.float_accuracy, report.accuracy) == (1.0, 2.0)
    assert report.to_json()["config_fingerprint"] == PRESETS["fast"].fingerprint
    assert report.worst_layer is not None and "SQNR dB" in str(report)


def test_wide_weights_are_rounded_to_nearest(tiny: Network, images: Tensor) -> None:
    for bits, used in ((8, False), (6, True)):
        rows = ptq(tiny, images, f"w{bits}a8{SAME}").quantization_report.rows
        assert {"gptq" in row.method for row in rows if row.role == "weight"} == {used}


def test_distinct_values() -> None:
    few = torch.arange(10.0).repeat(5000)
    few[-1] = 77.0
    assert distinct(few) == 11 and distinct(torch.arange(5000.0)) == 5000 and distinct(few[:0]) == 0
