"""Two families of points A and B: how much energy does one save at equal accuracy, and what does it gain at
equal energy?

On each family's front x = accuracy and y = ln energy are joined by straight lines. There is no extrapolation:
outside the common range the answer is `NoOverlap` with the reason. "Up to" in print is the maximum, which is
biased upwards; the median is the number to quote.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bitjoule.search.pareto import Point, front

__all__ = ["Family", "Gain", "NoOverlap", "Saving", "iso_accuracy", "iso_accuracy_attained", "iso_energy"]

GRID = 1001
"""Equally spaced places of which the median is taken."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Family:
    """Points of one family, by name; only their front is compared."""

    name: str
    points: tuple[Point, ...]

    def __post_init__(self) -> None:
        if not self.points:
            raise ValueError(f"family {self.name!r} has no finished trials to compare")
        if any(energy <= 0 for energy, _ in self.points):
            raise ValueError(f"family {self.name!r}: energies must be > 0 pJ")

    def front(self) -> tuple[Floats, Floats]:
        """(ln energy, accuracy) of the front; both ascend strictly."""
        kept = [self.points[index] for index in front(self.points)]
        return np.log([energy for energy, _ in kept]), np.array([accuracy for _, accuracy in kept])


@dataclass(frozen=True)
class NoOverlap:
    """Two families with nothing in common to compare; counts as False. `reason` says what each spans."""

    reason: str

    def __bool__(self) -> Literal[False]:
        return False


@dataclass(frozen=True)
class Saving:
    """Energy of B over energy of A on the common accuracies [lo, hi]: above 1, A is the cheaper.

    `max_at` and `min_at` are accuracies; of equal values the greater accuracy.
    """

    lo: float
    hi: float
    max: float
    max_at: float
    min: float
    min_at: float
    median: float


@dataclass(frozen=True)
class Gain:
    """Accuracy of A minus accuracy of B on the common energies [lo_pj, hi_pj]; `max_at_pj` is the least
    energy at which the maximum is reached."""

    lo_pj: float
    hi_pj: float
    max: float
    max_at_pj: float
    median: float


def iso_accuracy(a: Family, b: Family) -> Saving | NoOverlap:
    """Iso-accuracy saving of A over B, r(x) = e_B(x) / e_A(x), with log-energy interpolation.

    ln r is piecewise linear, so its extremes lie at the accuracies of either front; the median is numpy's
    over 1,001 equally spaced accuracies.

    >>> one, two = Family("a", ((10.0, 0.6), (20.0, 0.7))), Family("b", ((30.0, 0.6), (40.0, 0.7)))
    >>> round(iso_accuracy(one, two).max, 6)
    3.0
    """
    (y_a, x_a), (y_b, x_b) = a.front(), b.front()
    lo, hi = max(x_a[0], x_b[0]), min(x_a[-1], x_b[-1])
    if lo > hi:
        return _no_common_accuracy(a, b)
    places = _breakpoints(x_a, x_b, lo, hi)
    grid = np.linspace(lo, hi, GRID)

    def ratio(x: Floats) -> Floats:
        return np.asarray(np.exp(np.interp(x, x_b, y_b) - np.interp(x, x_a, y_a)))

    return _saving(places, ratio(places), float(np.median(ratio(grid))))


def iso_accuracy_attained(a: Family, b: Family) -> Saving | NoOverlap:
    """Iso-accuracy saving without interpolation: e_X(x) is the least energy that attains at least x.

    A step function; its median is weighted by the length of accuracy, the lower one of two.

    >>> one, two = Family("a", ((10.0, 0.7),)), Family("b", ((30.0, 0.7),))
    >>> iso_accuracy_attained(one, two).median
    3.0
    """
    (y_a, x_a), (y_b, x_b) = a.front(), b.front()
    lo, hi = max(x_a[0], x_b[0]), min(x_a[-1], x_b[-1])
    if lo > hi:
        return _no_common_accuracy(a, b)
    places = _breakpoints(x_a, x_b, lo, hi)
    e_a, e_b = np.exp(y_a), np.exp(y_b)
    values = e_b[np.searchsorted(x_b, places)] / e_a[np.searchsorted(x_a, places)]
    return _saving(places, values, _lower_median(values, np.diff(places, prepend=places[0])))


def iso_energy(a: Family, b: Family) -> Gain | NoOverlap:
    """Iso-energy gain of A over B, g(e) = a_A(e) - a_B(e), linear in ln e between front points.

    >>> one, two = Family("a", ((10.0, 0.6), (20.0, 0.7))), Family("b", ((10.0, 0.5), (20.0, 0.7)))
    >>> round(iso_energy(one, two).max, 6)
    0.1
    """
    (y_a, x_a), (y_b, x_b) = a.front(), b.front()
    lo, hi = max(y_a[0], y_b[0]), min(y_a[-1], y_b[-1])
    if lo > hi:
        return NoOverlap(
            f"no common energy: {a.name} spans {_uj(y_a[0])}-{_uj(y_a[-1])} uJ, "
            f"{b.name} spans {_uj(y_b[0])}-{_uj(y_b[-1])} uJ"
        )
    places = _breakpoints(y_a, y_b, lo, hi)

    def difference(y: Floats) -> Floats:
        return np.asarray(np.interp(y, y_a, x_a) - np.interp(y, y_b, x_b))

    values = difference(places)
    best = int(np.argmax(values))
    return Gain(
        lo_pj=_energy(a, b, lo),
        hi_pj=_energy(a, b, hi),
        max=float(values[best]),
        max_at_pj=_energy(a, b, places[best]),
        median=float(np.median(difference(np.linspace(lo, hi, GRID)))),
    )


def _saving(places: Floats, values: Floats, median: float) -> Saving:
    most = len(values) - 1 - int(np.argmax(values[::-1]))  # of ties the greater accuracy
    least = len(values) - 1 - int(np.argmin(values[::-1]))
    return Saving(
        lo=float(places[0]),
        hi=float(places[-1]),
        max=float(values[most]),
        max_at=float(places[most]),
        min=float(values[least]),
        min_at=float(places[least]),
        median=median,
    )


def _breakpoints(first: Floats, second: Floats, lo: float, hi: float) -> Floats:
    both = np.concatenate((first, second))
    return np.unique(np.concatenate(([lo], both[(both > lo) & (both < hi)], [hi])))


def _lower_median(values: Floats, weights: Floats) -> float:
    """The least value at which half of the weight is reached; a single place is the answer."""
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[order])
    return float(values[order[int(np.searchsorted(reached, reached[-1] / 2))]])


def _energy(a: Family, b: Family, log_energy: float) -> float:
    """The energy as it stands in a point, not exp(ln e) with its rounding."""
    energies = [energy for energy, _ in (*a.points, *b.points)]
    return float(min(energies, key=lambda energy: abs(math.log(energy) - log_energy)))


def _no_common_accuracy(a: Family, b: Family) -> NoOverlap:
    (_, x_a), (_, x_b) = a.front(), b.front()
    return NoOverlap(
        f"no common accuracy: {a.name} spans {_accuracies(x_a)}, {b.name} spans {_accuracies(x_b)}"
    )


def _accuracies(values: Sequence[float] | Floats) -> str:
    return f"{100 * values[0]:.1f}-{100 * values[-1]:.1f} %"


def _uj(log_energy: float) -> str:
    return f"{math.exp(log_energy) / 1e6:.4g}"
