"""Hostile input: texts of errors, and what a network or images of odd kinds lead to."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor

from bitjoule.network import Network
from bitjoule.train.ptq import PRESETS, PtqConfig, PtqError, configured, ptq
from bitjoule.train.ptq.check import gathered
from bitjoule.train.ptq.sensitivity import sensitivities


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
            torch.full((1, 3, 12, 12), 1e300, dtype=torch.float64),
            "calibration_images: image 0 holds NaN or infinite values",
        ),
    ],
)
def test_images(tiny: Network, given: object, text: str) -> None:
    with pytest.raises(PtqError) as error:
        ptq(tiny, given, "w8a8")  # type: ignore[arg-type]
    assert str(error.value) == text


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
