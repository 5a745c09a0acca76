"""Pareto mathematics: golden vectors of search.md section 9 and a brute-force oracle."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitjoule.search.pareto import Point, crowding, dominates, front, hypervolume, ranks

A = [(20.0, 0.62), (35.0, 0.66), (60.0, 0.70), (110.0, 0.72), (90.0, 0.69)]
B = [(45.0, 0.60), (70.0, 0.65), (130.0, 0.69), (250.0, 0.715), (400.0, 0.713)]

# few distinct values, so that ties and duplicates are common
points = st.lists(
    st.tuples(st.integers(1, 9).map(float), st.integers(0, 9).map(lambda a: a / 10)), min_size=1, max_size=24
)


def brute_front(pts: list[Point]) -> list[int]:
    """Quadratic: nobody dominates it, and no earlier point equals it."""
    kept = [i for i, p in enumerate(pts) if p not in pts[:i] and not any(dominates(q, p) for q in pts)]
    return sorted(kept, key=lambda i: pts[i][0])


def brute_ranks(pts: list[Point]) -> list[int]:
    ranked: dict[int, int] = {}
    rank = 0
    while len(ranked) < len(pts):
        left = [i for i in range(len(pts)) if i not in ranked]
        peeled = [i for i in left if not any(dominates(pts[j], pts[i]) for j in left)]
        ranked |= dict.fromkeys(peeled, rank)
        rank += 1
    return [ranked[i] for i in range(len(pts))]


def test_golden_fronts_ranks_crowding() -> None:
    assert front(A) == [0, 1, 2, 3]
    assert front(B) == [0, 1, 2, 3]
    assert ranks(A + B) == [0, 0, 0, 0, 1, 1, 1, 2, 1, 2]
    expected = [math.inf, 1.4444425975133797, 1.2717310959412085, math.inf]
    assert crowding([A[i] for i in front(A)]) == pytest.approx(expected, rel=1e-9)


def test_golden_hypervolume() -> None:
    reference = (500.0, 0.1)
    assert hypervolume(A, reference) == pytest.approx(0.8231091794505401, rel=1e-9)
    assert hypervolume(B, reference) == pytest.approx(0.5964991594691924, rel=1e-9)
    assert hypervolume(A + B, reference) == pytest.approx(0.8231091794505401, rel=1e-9)
    assert hypervolume([], reference) == 0
    assert hypervolume([(500.0, 0.9), (400.0, 0.1)], reference) == 0


@given(points)
def test_front_equals_brute_force(pts: list[Point]) -> None:
    kept = front(pts)
    assert kept == brute_front(pts)
    accuracies = [pts[i][1] for i in kept]
    assert accuracies == sorted(set(accuracies))


@given(points)
def test_ranks_equal_peeling(pts: list[Point]) -> None:
    assert ranks(pts) == brute_ranks(pts)


@given(points)
def test_hypervolume_equals_cells(pts: list[Point]) -> None:
    """Oracle: add up the dominated cells of the grid of all coordinates."""
    reference = (10.0, 0.0)
    energies = sorted({e for e, _ in pts} | {reference[0]})
    accuracies = sorted({a for _, a in pts} | {reference[1]})
    area = sum(
        (math.log10(e1) - math.log10(e0)) * (a1 - a0)
        for e0, e1 in pairwise(energies)
        for a0, a1 in pairwise(accuracies)
        if any(e <= e0 and a >= a1 for e, a in pts)
    )
    assert hypervolume(pts, reference) == pytest.approx(area, abs=1e-12)


@given(points)
def test_crowding_is_infinite_at_the_ends(pts: list[Point]) -> None:
    kept = [pts[i] for i in front(pts)]
    distances = crowding(kept)
    assert distances[0] == distances[-1] == math.inf
    assert all(d >= 0 for d in distances)


def test_nan_is_refused() -> None:
    for call in (front, ranks, crowding):
        with pytest.raises(ValueError, match=r"point 1 is .*NaN is not a point"):
            call([(1.0, 0.5), (2.0, math.nan)])
    with pytest.raises(ValueError, match="hypervolume needs energies > 0"):
        hypervolume([(0.0, 0.5)], (1.0, 0.0))
    assert crowding([]) == []
