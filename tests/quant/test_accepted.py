"""What methods ask of a TensorFormat, held to the Formats that each method accepts."""

import pytest

from bitjoule.formats import parse_tensor_format
from bitjoule.quant.accepted import granular, uniform
from bitjoule.quant.choose import METHODS


@pytest.mark.parametrize(
    ("text", "weights", "activations"),
    [("INT4", True, True), ("INT4/channel", True, False), ("INT4/group32", False, False)],
)
def test_scales_are_of_a_tensor_or_of_the_channels_of_weights(text, weights, activations):
    found = parse_tensor_format(text)
    assert (granular(found, "weight"), granular(found, "activation")) == (weights, activations)
    assert METHODS["lsq"].accepts(found, "weight") == weights
    assert METHODS["lsq"].accepts(found, "activation") == activations


@pytest.mark.parametrize(
    ("name", "whole"),
    [
        ("INT2", True),
        ("INT16_NARROW", True),
        ("UINT1", True),
        ("TERNARY", True),
        ("BIPOLAR", False),
        ("INT24", False),
        ("POT4", False),
        ("MIDRISE4", False),
    ],
)
def test_uniform_formats(name, whole):
    assert uniform(parse_tensor_format(name)) == whole
    assert METHODS["lsq"].accepts(parse_tensor_format(name), "weight") == whole
