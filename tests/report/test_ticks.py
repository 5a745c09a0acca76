"""Axis labels are round numbers inside the range, neither too few nor too many."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitjoule.report.ticks import linear_ticks, log_ticks


@given(st.floats(-6, 12), st.floats(0.02, 6))
def test_energy_axis(start: float, decades: float) -> None:
    low, high = 10**start, 10 ** (start + decades)
    ticks = log_ticks(low, high)
    assert 3 <= len(ticks) <= 24
    assert ticks == sorted(ticks)
    assert all(low * (1 - 1e-9) <= tick <= high * (1 + 1e-9) for tick in ticks)


@given(st.floats(-100, 100), st.floats(0.01, 100))
def test_accuracy_axis(low: float, length: float) -> None:
    ticks = linear_ticks(low, low + length)
    assert 2 <= len(ticks) <= 8
    assert all(low - 1e-6 <= tick <= low + length + 1e-6 for tick in ticks)


def test_an_empty_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^an axis needs low < high, not 1 and 1$"):
        linear_ticks(1.0, 1.0)
    with pytest.raises(ValueError, match=r"^a logarithmic axis needs 0 < low < high, not 0 and 1$"):
        log_ticks(0.0, 1.0)
