"""Ranges and scales in torch equal those of the NumPy formats."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bitjoule.formats import Scaling, parse_tensor_format
from bitjoule.quant.observers import extremes, moving_average, scale_of_range, snapped

positive = st.floats(2.0**-30, 2.0**30, width=32)


@given(
    positive,
    st.sampled_from([Scaling(kind="pot"), Scaling(kind="dyadic"), Scaling(kind="dyadic", mantissa_bits=8)]),
)
@settings(max_examples=200, deadline=None)
def test_snapped_equals_the_scaling(scale, scaling):
    found = snapped(torch.tensor(scale, dtype=torch.float64), scaling).item()
    assert found == float(scaling.snap(scale))


@given(positive, st.sampled_from(["INT8", "UINT4", "INT4_NARROW", "INT8*pot", "UINT8*pot", "INT6*dyadic"]))
@settings(max_examples=100, deadline=None)
def test_symmetric_scale_equals_scale_of(threshold, text):
    tensor_format = parse_tensor_format(text)
    high = torch.tensor(threshold, dtype=torch.float64)
    scale, zero_point = scale_of_range(-high * 0.5, high, tensor_format)
    assert scale.item() == pytest.approx(float(tensor_format.scale_of(threshold)), rel=1e-7)
    assert zero_point == 0


@pytest.mark.parametrize(
    ("low", "high", "scale", "zero_point"), [(-1.0, 2.0, 0.2, 5), (1.0, 3.0, 0.2, 0), (-3.0, -1.0, 0.2, 15)]
)
def test_zero_point_keeps_zero_exact(low, high, scale, zero_point):
    found = scale_of_range(torch.tensor(low), torch.tensor(high), parse_tensor_format("UINT4+zp"))
    assert found[0].item() == pytest.approx(scale)
    assert found[1].item() == zero_point


def test_signed_zero_point_counts_from_the_lowest_level():
    _, zero_point = scale_of_range(torch.tensor(0.0), torch.tensor(3.0), parse_tensor_format("INT4+zp"))
    assert zero_point.item() == -8


def test_extremes_along_an_axis_equal_numpy():
    x = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0))
    for axis in range(3):
        others = tuple(i for i in range(3) if i != axis)
        low, high = extremes(x, axis)
        np.testing.assert_array_equal(low.numpy(), x.numpy().min(others))
        np.testing.assert_array_equal(high.numpy(), x.numpy().max(others))
    assert [v.tolist() for v in extremes(torch.zeros(0, 3), axis=1)] == [[0, 0, 0], [0, 0, 0]]


def test_moving_average():
    assert moving_average(torch.tensor(1.0), torch.tensor(2.0), 0.9).item() == pytest.approx(1.1)
