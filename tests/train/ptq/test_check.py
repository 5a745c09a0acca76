"""Hostile input: texts of errors, and what a network or images of odd kinds lead to."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bitjoule.network import Network, capture
from bitjoule.train.ptq import PRESETS, PtqConfig, PtqError, PtqWarning, configured, ptq
from bitjoule.train.ptq.check import gathered
from bitjoule.train.ptq.sensitivity import Kind, sensitivities


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (5, "calibration_images: expected a tensor (N, ...) or an iterable of batches, not int"),
        (
            torch.tensor(1.0),
            "calibration_images: expected a tensor (N, ...) or an iterable of batches, not a single number",
        ),
        ([()], "calibration_images: an iterable gives images or batches as tensors, not tuple"),
        (
            np.array([["a"]]),
            "calibration_images: expected an array of numbers, got one of <U1",
        ),
        (
            (torch.zeros(64, 3, 12, 12), torch.zeros(64)),
            "calibration_images: images of different shapes: [(), (3, 12, 12)]; give images alone, of shape "
            "(N, 3, 12, 12), or an iterable of (images, labels) batches",
        ),
        (
            torch.full((1, 3, 12, 12), 1e300, dtype=torch.float64),
            "calibration_images: image 0 holds NaN or infinite values",
        ),
    ],
)
def test_images(tiny: Network, given: object, text: str) -> None:
    with pytest.raises(PtqError) as error:
        ptq(tiny, given, "w8a8")  # type: ignore[arg-type]
    assert str(error.value) == text


class Outputs(nn.Module):
    """Two results, a channel of constant weights, a layer that nothing calls."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.unused = nn.Conv2d(3, 4, 3), nn.Linear(3, 3)
        self.first, self.second = nn.Linear(4, 5), nn.Linear(4, 3)
        with torch.no_grad():
            self.stem.weight[1] = 0.25

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = torch.relu(self.stem(x)).mean((2, 3))
        return self.first(y), self.second(y)


@pytest.fixture(scope="module")
def outputs() -> Network:
    torch.manual_seed(0)
    return capture(Outputs().eval(), input_shape=(1, 3, 12, 12)).eval()


def test_several_outputs_a_constant_channel_and_an_unused_layer(outputs: Network, images: Tensor) -> None:
    config = configured(PRESETS["best"], ["iterations=3"])
    quantized = ptq(outputs, images, "w4a4[first=same,last=same]", config=config)
    weights = [row.name for row in quantized.quantization_report.rows if row.role == "weight"]
    assert weights == ["stem.weight", "first.weight", "second.weight"]  # capture leaves the unused one out
    stem = quantized.module.get_parameter("stem.weight").detach()
    assert len(stem[1].unique()) <= 2 and float((stem[1] - 0.25).abs().max()) < 0.04
    with torch.no_grad():
        assert [z.shape for z in quantized(images[:2])] == [(2, 5), (2, 3)]


@pytest.mark.parametrize("kind", ["kl", "sqnr", "fisher", "hessian"])
def test_sensitivities_of_several_outputs(outputs: Network, images: Tensor, kind: Kind) -> None:
    found = sensitivities(outputs, images[:32], weights=("2", "8"), activations=(), kind=kind).of("weight")
    assert list(found) == ["stem", "first", "second"]
    assert kind == "hessian" or all(values["2"] > values["8"] for values in found.values())
    assert kind != "sqnr" or all(-100 < values["8"] < values["2"] for values in found.values())


def test_images_of_one_value(tiny: Network, images: Tensor) -> None:
    quantized = ptq(tiny, images, "w8a8")
    with pytest.warns(PtqWarning, match="calibration images look unlike the training data"):
        notes = ptq(tiny, torch.zeros(64, 3, 12, 12), "w8a8").quantization_report.notes
    assert "x: all values are zero (or none is positive); the scale is set to 1" in notes
    assert quantized.quantization_report.notes == ("64 calibration images where 512 were asked for",)


@pytest.mark.parametrize(
    ("scheme", "text"),
    [
        ("w8aSVA1", "scheme 'w8aSVA1': SVA1 is for weights: it approximates whole rows at once, by search;"),
        ("wINT4+zpa8", "unknown scheme 'wINT4+zpa8'; examples: w4a4, int8"),
        ("wMXINT8a8", "ptq: stem: MXINT8 cannot be quantized after training"),
    ],
)
def test_formats_that_a_tensor_does_not_take(tiny: Network, images: Tensor, scheme: str, text: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(text)}"):
        ptq(tiny, images, scheme)


def test_two_inputs_and_a_bare_module(images: Tensor) -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 2, 3)

        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return self.conv(x) + y

    net = capture(Two().eval(), example_inputs=(images[:1], torch.zeros(1, 2, 10, 10))).eval()
    with pytest.raises(PtqError) as error:
        ptq(net, images, "w8a8")
    assert str(error.value) == "ptq: Two has 2 inputs (x, y); calibration takes networks with one"
    with pytest.raises(PtqError) as error:
        ptq(Two().eval(), images, "w8a8")  # type: ignore[arg-type]
    assert str(error.value) == (
        "ptq: expected a Network, got Two; capture a torch module first: "
        "bj.capture(model, input_shape=(1, 3, 32, 32)).eval()"
    )


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"scheme": 5}, "ptq: scheme must be a Scheme or its text such as 'w4a8', not 5"),
        ({"config": {}}, "ptq: config must be a PtqConfig (PRESETS has three), not dict"),
        ({"seed": -1}, "ptq: seed must be a whole number 0 .. 2^63 - 1, not -1"),
        (
            {"config": configured(PtqConfig(), ["weight_range=bn"])},
            "ptq: weight_range: stem.weight: bn takes statistics with use(mean, std), not values; "
            "choose another calibrator for images",
        ),
    ],
)
def test_requests(tiny: Network, images: Tensor, arguments: dict[str, object], text: str) -> None:
    with pytest.raises(PtqError) as error:
        ptq(tiny, images, **{"scheme": "w8a8", **arguments})  # type: ignore[arg-type]
    assert str(error.value) == text


def test_a_variance_below_zero(tiny: Network, images: Tensor) -> None:
    net = tiny.clone()
    net.module.get_buffer("bn1.running_var")[2] = -1.0
    with pytest.raises(PtqError, match=r"^ptq: bn1.running_var holds a variance below 0; mend the network"):
        ptq(net, images, "w8a8")


def test_inputs_that_overflow_name_the_layer(tiny: Network, images: Tensor) -> None:
    net = tiny.clone()
    with torch.no_grad():
        net.module.get_parameter("stem.weight").mul_(1e30)
    with pytest.raises(PtqError, match=r"^ptq: conv1.weight: a layer's input holds NaN or infinite values"):
        ptq(net, images, "w4a4")


def test_numbers_that_must_be_whole() -> None:
    with pytest.raises(PtqError, match=r"^ptq: batch_size must be a whole number 1 .. 100000, not 2.5$"):
        dataclasses.replace(PRESETS["fast"], batch_size=2.5)  # type: ignore[arg-type]


def test_fewer_images_than_asked_for_is_said(tiny: Network, images: Tensor) -> None:
    notes = ptq(tiny, iter(images), "w8a8").quantization_report.notes
    assert "64 calibration images where 512 were asked for" in notes
    config = configured(PRESETS["fast"], ["calibration_count=64"])
    assert ptq(tiny, images, "w8a8", config=config).quantization_report.notes == ()


def test_best_uses_up_to_1024_images(tiny: Network, images: Tensor) -> None:
    many = images.repeat(18, 1, 1, 1)
    assert [len(gathered(many, tiny, PRESETS[p].calibration_count, p)) for p in ("fast", "best")] == [
        512,
        1024,
    ]
    cheap = configured(PRESETS["best"], ["rounding=nearest", "refine=none", "reconstruct=none"])
    enough = ptq(tiny, many[:600], "w8a8", config=cheap).quantization_report
    assert enough.images == 600 and enough.notes == ()
    few = ptq(tiny, images, "w8a8", config=cheap).quantization_report.notes
    assert few == ("64 calibration images where 512 were asked for",)


def test_labels_and_formats_of_sensitivities(tiny: Network, images: Tensor) -> None:
    with pytest.raises(PtqError, match=r"^sensitivities: 64 images need as many labels, not 3$"):
        sensitivities(tiny, images, kind="loss", labels=torch.zeros(3, dtype=torch.long))
    with pytest.raises(PtqError, match=r"^sensitivities: weights and activations name no Format"):
        sensitivities(tiny, images, weights=(), activations=())
