"""The width rule against torchvision's `_make_divisible`, written out, and at its edges."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitjoule.zoo.width import scaled


def make_divisible(v: float, divisor: int) -> int:
    """torchvision.models._utils._make_divisible, transcribed."""
    new_v = max(divisor, int(v + divisor / 2) // divisor * divisor)
    if new_v < 0.9 * v:
        new_v += divisor
    return new_v


@given(st.integers(1, 4096), st.floats(0.01, 8.0).filter(lambda w: w != 1.0))
def test_agrees_with_torchvision(channels: int, width: float) -> None:
    result = scaled(channels, width)
    assert result == make_divisible(channels * width, 8)
    assert result % 8 == 0 and result >= 0.9 * channels * width


@given(st.integers(1, 4096))
def test_width_one_changes_nothing(channels: int) -> None:
    assert scaled(channels, 1.0) == channels


@given(st.integers(1, 512), st.floats(0.01, 2.0), st.floats(0.01, 2.0))
def test_wider_is_never_fewer(channels: int, a: float, b: float) -> None:
    low, high = sorted((a, b))
    if 1.0 not in (low, high):
        assert scaled(8 * channels, low) <= scaled(8 * channels, high)


def test_golden_mobilenet_v2_widths() -> None:
    # torchvision mobilenet_v2(width_mult=0.35): stem 16, then 8 8 16 24 32 56 112
    assert [scaled(c, 0.35) for c in (32, 16, 24, 32, 64, 96, 160, 320)] == [16, 8, 8, 16, 24, 32, 56, 112]


@pytest.mark.parametrize("width", [0.0, -1.0, math.nan, math.inf])
def test_impossible_widths_are_refused(width: float) -> None:
    with pytest.raises(ValueError, match=r"width must be a positive number such as 0.25 or 1.0"):
        scaled(16, width)


def test_impossible_channels_are_refused() -> None:
    with pytest.raises(ValueError, match="channels must be at least 1, not 0"):
        scaled(0, 1.0)
