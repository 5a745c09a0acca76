"""Successive vector approximation of a whole network within one budget of terms (`ptq.md` section 4.6).

Every row has a curve of error over terms. Steps are bought where the error falls most per term, across all
rows of all layers, along the lower convex hulls of the curves; when that ends with a greater error than the
same ratio of terms for every row, the equal ratio is returned.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bitjoule.formats import approximate, csd_count, parse_format
from bitjoule.quant.rounding.level_grid import RoundingError
from bitjoule.quant.rounding.sva_curve import RowCurve, row_curve

__all__ = ["SvaAllocation", "SvaLayer", "allocate_terms", "integer_terms"]

_RATIO = 6.0  # terms per weight up to which a row is followed


@dataclass(frozen=True, eq=False)
class SvaLayer:
    """Rows to approximate (rows, n), and how much an error in each column weighs (rows, n): the diagonal of
    A of the row's group.
    """

    name: str
    rows: NDArray[np.float64]
    weight: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SvaAllocation:
    """Approximated rows of each layer, terms of each row, terms asked and used, the weighted error, and
    whether terms were spread by `error` or by equal `ratio`.
    """

    values: tuple[NDArray[np.float64], ...]
    terms: tuple[NDArray[np.int64], ...]
    asked: int
    used: int
    error: float
    rule: Literal["error", "ratio"]


def integer_terms(rows: NDArray[np.float64], name: str = "INT4") -> int:
    """Signed digits that an integer format spends on `rows` (rows, n) with its extremes per row as range.

    >>> integer_terms(np.array([[7.0, 3.0, 4.0, 0.0]]))
    5
    """
    fmt = parse_format(name)
    top = np.abs(rows).max(axis=1, keepdims=True)
    levels = fmt.quantize(rows, np.where(top > 0, top, 1.0) / fmt.max_level)
    return int(csd_count(np.asarray(levels)).sum())


def allocate_terms(
    layers: Sequence[SvaLayer], budget: int, *, count: Literal["popcount", "csd"] = "csd"
) -> SvaAllocation:
    """Spends at most `budget` terms on all rows; RoundingError for a negative budget or odd shapes.

    The next cheapest drop of error is bought first; ties go to the lower layer, then to the lower row. A row
    whose next step does not fit in what is left stays as it is.
    """
    if budget < 0:
        raise RoundingError(f"allocate_terms: the budget must be >= 0 terms, not {budget}")
    for layer in layers:
        if layer.rows.ndim != 2 or layer.rows.shape != layer.weight.shape:
            raise RoundingError(
                f"{layer.name}: rows and weights of errors have one shape (rows, n), not "
                f"{layer.rows.shape} and {layer.weight.shape}"
            )
    by_error = _by_error(layers, budget, count)
    by_ratio = _by_ratio(layers, budget, count)
    return by_error if by_error.error <= by_ratio.error else by_ratio


def _by_error(layers: Sequence[SvaLayer], budget: int, count: Literal["popcount", "csd"]) -> SvaAllocation:
    curves: list[RowCurve] = []
    hulls: list[NDArray[np.int64]] = []
    heap: list[tuple[float, int, int]] = []  # the fall of the error, negative; row of all; place on its hull
    for layer in layers:
        for values, weight in zip(layer.rows, layer.weight, strict=True):
            most = min(budget, int(_RATIO * len(values)))
            curve = row_curve(values, weight, count=count, most_terms=most)
            hull = curve.hull()
            if len(hull) > 1:
                heap.append((-_fall(curve, hull, 0), len(curves), 0))
            curves.append(curve)
            hulls.append(hull)
    heapq.heapify(heap)
    steps = [0] * len(curves)
    left = budget
    while heap:
        _, row, place = heapq.heappop(heap)
        curve, hull = curves[row], hulls[row]
        cost = int(curve.terms[hull[place + 1]] - curve.terms[hull[place]])
        if cost > left:
            continue
        left -= cost
        steps[row] = int(hull[place + 1])
        if place + 2 < len(hull):
            heapq.heappush(heap, (-_fall(curve, hull, place + 1), row, place + 1))
    found = [(curve.values(k), int(curve.terms[k])) for curve, k in zip(curves, steps, strict=True)]
    return _allocation(layers, found, budget, "error")


def _fall(curve: RowCurve, hull: NDArray[np.int64], place: int) -> float:
    a, b = hull[place], hull[place + 1]
    return float((curve.error[a] - curve.error[b]) / (curve.terms[b] - curve.terms[a]))


def _by_ratio(layers: Sequence[SvaLayer], budget: int, count: Literal["popcount", "csd"]) -> SvaAllocation:
    ratio = budget / max(1, sum(layer.rows.size for layer in layers))
    found = []
    for layer in layers:
        most = int(ratio * layer.rows.shape[1])
        for row in layer.rows:
            done = approximate(row, 1.0, count=count, strict=True, terms_per_row=most)
            found.append((done.values(), done.terms))
    return _allocation(layers, found, budget, "ratio")


def _allocation(
    layers: Sequence[SvaLayer],
    found: Sequence[tuple[NDArray[np.float64], int]],
    asked: int,
    rule: Literal["error", "ratio"],
) -> SvaAllocation:
    values, terms, error, first = [], [], 0.0, 0
    for layer in layers:
        part = found[first : first + len(layer.rows)]
        first += len(layer.rows)
        rows = np.array([row for row, _ in part]).reshape(layer.rows.shape)
        values.append(rows)
        terms.append(np.array([count for _, count in part], np.int64))
        error += float((layer.weight * (layer.rows - rows) ** 2).sum())
    used = int(sum(t.sum() for t in terms))
    return SvaAllocation(tuple(values), tuple(terms), asked, used, error, rule)
