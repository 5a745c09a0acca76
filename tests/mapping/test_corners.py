"""The optimum against full enumeration in the corners of the law (see `corners`)."""

from __future__ import annotations

import pytest

from tests.mapping.corners import corner_cases
from tests.mapping.test_optimum import check


def test_corners() -> None:
    assert sum(check(case) for case in corner_cases(50)) >= 40


@pytest.mark.slow
@pytest.mark.parametrize("batch", range(8))
def test_many_corners(batch: int) -> None:
    assert sum(check(case) for case in corner_cases(400, first=10_000 * (batch + 1))) >= 300


@pytest.mark.slow
def test_larger_corners() -> None:
    for case in corner_cases(60, first=200_000, lightest=3000, heaviest=20_000):
        check(case)
