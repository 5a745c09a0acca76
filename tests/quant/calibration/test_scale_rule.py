"""From a range to a scale, and the Format that an activation gets."""

import pytest
import torch

from bitjoule.formats import parse_tensor_format
from bitjoule.quant.calibration import activation_format, params_of_range


@pytest.mark.parametrize(
    ("text", "low", "high", "scale", "zero_point"),
    [
        ("INT4", -1.4, 0.7, 0.2, 0),
        ("INT4_NARROW", -1.4, 0.7, 0.2, 0),
        ("UINT4", -1.4, 3.0, 0.2, 0),
        ("INT4+zp", -1.0, 2.0, 0.2, -3),
        ("UINT4+zp", 1.0, 3.0, 0.2, 0),
        ("INT4*pot", -1.1, 1.9, 0.25, 0),
        ("UINT4*pot", 0.0, 1.9, 0.25, 0),
        ("POT4", -3.2, 1.0, 0.05, 0),
        ("BIPOLAR", -3.0, 1.0, 3.0, 0),
    ],
)
def test_rule(text, low, high, scale, zero_point):
    params = params_of_range(torch.tensor(low), torch.tensor(high), parse_tensor_format(text), "x")
    assert params.scale == pytest.approx(scale, rel=1e-6)
    assert params.zero_point == zero_point
    assert params.scale.shape == ()


@pytest.mark.parametrize(
    ("text", "lowest", "below", "found"),
    [
        ("INT4", 0.0, 5, "UINT4"),
        ("UINT4", -0.5, 5, "INT4+zp"),
        ("INT4", -0.5, 4, "INT4"),
        ("INT5", -0.5, 5, "INT5"),
        ("INT8/channel*pot", -0.5, 5, "INT8/channel*pot"),
        ("INT2/channel", -0.5, 5, "INT2/channel+zp"),
        ("INT4_NARROW", 0.0, 5, "INT4_NARROW"),
        ("INT8+zp", 0.0, 5, "INT8+zp"),
        ("FP8_E4M3", 0.0, 5, "FP8_E4M3"),
    ],
)
def test_format_of_an_activation(text, lowest, below, found):
    assert str(activation_format(parse_tensor_format(text), lowest, below)) == found
