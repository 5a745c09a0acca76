"""Rounding modes against exact decimal rounding."""

import decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitjoule.formats import round_to_integer

DECIMAL = {
    "half_even": decimal.ROUND_HALF_EVEN,
    "half_away": decimal.ROUND_HALF_UP,  # decimal's half up is away from zero
    "toward_zero": decimal.ROUND_DOWN,
    "floor": decimal.ROUND_FLOOR,
    "ceil": decimal.ROUND_CEILING,
}
near_halves = st.builds(
    lambda n, step: float(np.nextafter(n + 0.5, np.inf * step) if step else n + 0.5),
    st.integers(-1000, 1000),
    st.sampled_from([-1, 0, 1]),
)


@pytest.mark.parametrize("rounding", DECIMAL)
@given(x=st.one_of(near_halves, st.floats(-1e15, 1e15)))
def test_equals_exact_rounding(rounding, x):
    expected = int(decimal.Decimal(x).to_integral_value(DECIMAL[rounding]))
    assert float(round_to_integer("t", np.array([x]), rounding)[0]) == expected


@given(x=st.one_of(near_halves, st.floats(-1e15, 1e15)))
def test_half_up_is_the_exact_floor_of_x_plus_a_half(x):
    expected = (decimal.Decimal(x) + decimal.Decimal("0.5")).to_integral_value(decimal.ROUND_FLOOR)
    assert float(round_to_integer("t", np.array([x]), "half_up")[0]) == int(expected)


def test_half_up_does_not_add_a_half():
    np.testing.assert_array_equal(round_to_integer("t", np.array([0.49999999999999994]), "half_up"), [0])


def test_stochastic_keeps_integers_and_infinities():
    x = np.array([-3.0, 0.0, 7.0, np.inf, -np.inf])
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(round_to_integer("t", x, "stochastic", rng), x)
