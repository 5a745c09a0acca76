"""The look-up by bits against a search, at every border and its neighbours."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitjoule.formats.float_bits import exponent_buckets, threshold_buckets


@given(st.sets(st.integers(1, 4000), min_size=1, max_size=40), st.sampled_from([np.float32, np.float64]))
def test_thresholds_of_any_halves(halves, dtype):
    thresholds = np.array(sorted(halves)) / 2
    x = thresholds.astype(dtype)
    x = np.concatenate([x, np.nextafter(x, dtype(0)), np.nextafter(x, dtype(np.inf)), [0, 5e-324, np.inf]])
    x = x.astype(dtype)
    rank = np.arange(len(thresholds) + 1)
    buckets = threshold_buckets(thresholds, x.itemsize)
    expected = np.searchsorted(thresholds, x.astype(np.float64), side="right")
    np.testing.assert_array_equal(buckets.look_up(x, rank, -rank), expected)
    below = -x[x > 0]
    np.testing.assert_array_equal(buckets.look_up(below, rank, -rank), -expected[x > 0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_border_of_the_logarithm_is_exact(dtype):
    roots = np.sqrt(np.longdouble(2)) * 2.0 ** np.arange(-1, 30)
    at = roots.astype(dtype)
    x = np.concatenate([at, np.nextafter(at, dtype(0)), np.nextafter(at, dtype(np.inf))])
    got = exponent_buckets(31, x.itemsize).look_up(x, np.arange(32), -np.arange(32))
    squares = [Fraction(float(v)) ** 2 for v in x]
    above = [sum(2 * square > 4**k for k in range(31)) for square in squares]
    assert got.tolist() == above
