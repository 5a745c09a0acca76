"""Canonical signed digits against their definition."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitjoule.formats import csd_count, csd_terms


@given(st.integers(-(2**60), 2**60))
def test_terms_sum_up_are_not_adjacent_and_are_counted(n):
    terms = csd_terms(n)
    assert sum(sign << shift for sign, shift in terms) == n
    shifts = [shift for _, shift in terms]
    assert all(b - a >= 2 for a, b in pairwise(shifts))
    assert int(csd_count(n)) == len(terms)


def test_errors():
    with pytest.raises(TypeError, match="csd_count: n must hold integers, not float64"):
        csd_count([0.5])
    with pytest.raises(ValueError, match="must be below 2"):
        csd_count([1 << 61])
