"""The optimum against full enumeration in the corners of the law (see `corners`).

On most small problems the incomplete first search finds the optimum, whatever the complete one drops. Here
the first search is off where that matters, and there are cases in which one label per tile does not do.
"""

from __future__ import annotations

import pytest

from bitjoule.mapping import incumbent
from tests.mapping.corners import corner_case, corner_cases
from tests.mapping.test_optimum import check
from tests.mapping.toy import random_case

SEVERAL_LABELS = {
    corner_case: (700_011, 700_260, 700_284, 700_301, 700_420, 700_525, 700_582, 700_585, 700_731, 701_013),
    random_case: (700_382, 700_672, 700_799),
}
"""Cases whose optimum is lost when the first label at a tile is taken to dominate all others there."""


@pytest.fixture
def complete(monkeypatch: pytest.MonkeyPatch) -> None:
    """The complete search alone, without an incumbent from the incomplete one."""
    monkeypatch.setattr(incumbent, "FIRST", 0)


@pytest.mark.usefixtures("complete")
def test_one_label_per_tile_does_not_do() -> None:
    for generate, seeds in SEVERAL_LABELS.items():
        for seed in seeds:
            assert check(generate(seed))


@pytest.mark.usefixtures("complete")
def test_corners() -> None:
    assert sum(check(case) for case in corner_cases(50)) >= 40


@pytest.fixture
def thorough(monkeypatch: pytest.MonkeyPatch) -> None:
    """The better bounds always, against an incumbent from a poor first search."""
    monkeypatch.setattr(incumbent, "EASY", 1)
    monkeypatch.setattr(incumbent, "BEAM", 1)
    monkeypatch.setattr(incumbent, "SCAN", 1)


@pytest.mark.usefixtures("thorough")
def test_bounds_from_outside_lose_no_optimum() -> None:
    assert sum(check(case) for case in corner_cases(60, first=300_000)) >= 45


@pytest.mark.slow
@pytest.mark.usefixtures("thorough")
@pytest.mark.parametrize("batch", range(8))
def test_bounds_from_outside_lose_no_optimum_of_many(batch: int) -> None:
    assert sum(check(case) for case in corner_cases(400, first=400_000 + 10_000 * batch)) >= 300


@pytest.mark.slow
@pytest.mark.usefixtures("complete")
@pytest.mark.parametrize("batch", range(8))
def test_many_corners(batch: int) -> None:
    assert sum(check(case) for case in corner_cases(400, first=10_000 * (batch + 1))) >= 300


@pytest.mark.slow
@pytest.mark.usefixtures("complete")
def test_larger_corners() -> None:
    for case in corner_cases(60, first=200_000, lightest=3000, heaviest=20_000):
        check(case)
