"""Pareto mathematics of one set of points (energy_pj, accuracy): least energy, greatest accuracy.

A point p dominates q when e_p <= e_q and a_p >= a_q with one of them strict. Functions take points in trial
order and return indices into that order, so the caller keeps whatever belongs to a point.
Ranks and crowding: Deb et al. 2002 (NSGA-II), with log10 of the energy as the first objective.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence

__all__ = ["Point", "crowding", "dominates", "front", "hypervolume", "ranks"]

Point = tuple[float, float]
"""(energy_pj, accuracy)"""


def dominates(p: Point, q: Point) -> bool:
    """True when `p` is at least as good as `q` in both and better in one.

    >>> dominates((10.0, 0.7), (10.0, 0.6)), dominates((10.0, 0.7), (10.0, 0.7))
    (True, False)
    """
    _check((p, q))
    return p[0] <= q[0] and p[1] >= q[1] and p != q


def front(points: Sequence[Point]) -> list[int]:
    """Indices of the points nobody dominates, energy ascending (accuracy then ascends strictly).

    Of exact duplicates the first is kept. O(n log n): in the order (e, -a, index) keep what exceeds the
    greatest accuracy so far.

    >>> front([(20.0, 0.62), (90.0, 0.69), (35.0, 0.66), (60.0, 0.70)])
    [0, 2, 3]
    """
    _check(points)
    kept: list[int] = []
    best = -math.inf
    for index in _cheapest_first(points):
        if points[index][1] > best:
            best = points[index][1]
            kept.append(index)
    return kept


def ranks(points: Sequence[Point]) -> list[int]:
    """The number of fronts to peel off before each point is on the front; duplicates share a rank.

    >>> ranks([(1.0, 0.5), (2.0, 0.4), (2.0, 0.6)])
    [0, 1, 0]
    """
    _check(points)
    ranked = [0] * len(points)
    negated_best: list[float] = []  # per rank -(greatest accuracy so far), ascending: later fronts are worse
    last: int | None = None
    for index in _cheapest_first(points):
        if last is not None and points[last] == points[index]:
            ranked[index] = ranked[last]
            continue
        accuracy = points[index][1]
        rank = bisect_right(negated_best, -accuracy)  # first rank with best < accuracy: a tie is dominated
        if rank == len(negated_best):
            negated_best.append(-accuracy)
        else:
            negated_best[rank] = -accuracy
        ranked[index], last = rank, index
    return ranked


def crowding(points: Sequence[Point]) -> list[float]:
    """Crowding distance of each point of one front: per objective (log10 e, a) the ends are infinite, the
    others (next - previous) / range, summed; a range of 0 adds 0.

    >>> crowding([(1.0, 0.1), (10.0, 0.2), (100.0, 0.3)])
    [inf, 2.0, inf]
    """
    _check(points)
    if any(energy <= 0 for energy, _ in points):
        raise ValueError("crowding needs energies > 0: it is measured in decades")
    distances = [0.0] * len(points)
    if not points:
        return distances
    for values in ([math.log10(energy) for energy, _ in points], [accuracy for _, accuracy in points]):
        order = sorted(range(len(points)), key=values.__getitem__)
        spread = values[order[-1]] - values[order[0]]
        distances[order[0]] = distances[order[-1]] = math.inf
        if spread > 0:
            for before, index, after in zip(order, order[1:], order[2:], strict=False):
                distances[index] += (values[after] - values[before]) / spread
    return distances


def hypervolume(points: Sequence[Point], reference: Point) -> float:
    """Area dominated by the front, in decades of energy times accuracy, up to `reference`.

    H = sum_k (log10 e_{k+1} - log10 e_k)(a_k - a_ref) over front points with e < e_ref and a > a_ref, and
    e_{K+1} = e_ref.

    >>> hypervolume([(10.0, 0.6)], (100.0, 0.1))
    0.5
    """
    _check((*points, reference))
    energy_limit, accuracy_floor = reference
    if energy_limit <= 0 or any(energy <= 0 for energy, _ in points):
        raise ValueError("hypervolume needs energies > 0: it is measured in decades")
    inside = [p for p in points if p[0] < energy_limit and p[1] > accuracy_floor]
    kept = [inside[index] for index in front(inside)]
    ends = [math.log10(energy) for energy, _ in kept[1:]] + [math.log10(energy_limit)]
    return math.fsum(
        (end - math.log10(energy)) * (accuracy - accuracy_floor)
        for (energy, accuracy), end in zip(kept, ends, strict=bool(kept))
    )


def _cheapest_first(points: Sequence[Point]) -> list[int]:
    return sorted(range(len(points)), key=lambda index: (points[index][0], -points[index][1], index))


def _check(points: Sequence[Point]) -> None:
    for index, point in enumerate(points):
        if math.isnan(point[0]) or math.isnan(point[1]):
            raise ValueError(f"point {index} is {tuple(point)}: NaN is not a point; leave failed trials out")
