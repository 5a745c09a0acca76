"""Bootstrap of an iso-accuracy comparison: how far do max and median move with the training seed?

For each candidate, A's in order and then B's, the accuracies of its seeds are drawn again with replacement;
every replicate rebuilds both fronts. A candidate with one seed is drawn as Binomial(n_images, p) / n_images
instead: the noise of a finite test set, all that one seed can tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bitjoule.search.compare import Family, iso_accuracy_attained
from bitjoule.search.pareto import Point
from bitjoule.search.replicated_savings import Savings, replicated_savings

__all__ = ["Interval", "Replicates", "bootstrap"]

Floats = NDArray[np.float64]

QUANTILES = (0.025, 0.5, 0.975)
SPOKEN_SHARE = 0.05
"""More dropped replicates than this are said in `Interval.note`."""


@dataclass(frozen=True)
class Replicates:
    """One candidate: its energy in pJ and the accuracy of each of its seeds (fractions)."""

    energy_pj: float
    accuracies: tuple[float, ...]

    @property
    def mean(self) -> tuple[float, float]:
        """(energy, mean accuracy): the candidate as a point."""
        return self.energy_pj, float(np.mean(self.accuracies))


@dataclass(frozen=True)
class Interval:
    """Quantiles 0.025, 0.5 and 0.975 of the bootstrap replicates of max and median.

    `dropped` replicates had no common accuracy; `note` says so where they are more than 5 %.
    """

    max: tuple[float, float, float]
    median: tuple[float, float, float]
    n_boot: int
    dropped: int
    note: str


def bootstrap(
    a: tuple[str, Sequence[Replicates]],
    b: tuple[str, Sequence[Replicates]],
    *,
    n_boot: int = 1000,
    seed: int = 0,
    n_images: int | None = None,
    attained: bool = False,
) -> Interval | None:
    """Interval of the iso-accuracy saving of A over B; None when no replicate has a common accuracy.

    Args:
        a, b: (name, candidates) of the two families.
        n_images: images the accuracies were measured on; needed where a candidate has a single seed.
        attained: of the saving between real points, without interpolation.

    >>> few = [Replicates(10.0, (0.60, 0.61)), Replicates(20.0, (0.70, 0.71))]
    >>> bootstrap(("a", few), ("b", few), n_boot=50).median[1]
    1.0
    """
    if n_boot < 1:
        raise ValueError(f"n_boot must be at least 1, not {n_boot}")
    rng = np.random.default_rng(seed)
    sides = [_drawn(name, candidates, rng, n_boot, n_images) for name, candidates in (a, b)]
    maxima, medians = (_attained if attained else replicated_savings)(*sides)
    dropped = n_boot - len(maxima)
    if dropped == n_boot:
        return None
    note = ""
    if dropped > SPOKEN_SHARE * n_boot:
        note = f"{dropped} of {n_boot} replicates had no common accuracy and were dropped"
    return Interval(_quantiles(maxima), _quantiles(medians), n_boot, dropped, note)


def _drawn(
    name: str, candidates: Sequence[Replicates], rng: np.random.Generator, n_boot: int, n_images: int | None
) -> tuple[Floats, Floats]:
    """(energies, accuracies of shape (n_boot, candidates)) of one family."""
    accuracies = [_draw(candidate, rng, n_boot, n_images) for candidate in candidates]
    Family(name, tuple(candidate.mean for candidate in candidates))  # refuses what cannot be compared
    return np.array([candidate.energy_pj for candidate in candidates]), np.stack(accuracies, axis=1)


def _draw(candidate: Replicates, rng: np.random.Generator, n_boot: int, n_images: int | None) -> Floats:
    accuracies = np.asarray(candidate.accuracies, dtype=np.float64)
    if len(accuracies) == 0:
        raise ValueError("a candidate without accuracies cannot be drawn: leave it out")
    if len(accuracies) == 1 and n_images is not None:
        return rng.binomial(n_images, min(1.0, max(0.0, accuracies[0])), size=n_boot) / n_images
    chosen = rng.integers(0, len(accuracies), size=(n_boot, len(accuracies)))
    means: Floats = accuracies[chosen].mean(axis=1)
    return means


def _attained(a: tuple[Floats, Floats], b: tuple[Floats, Floats]) -> Savings:
    """Savings between real points, one replicate after the other."""
    maxima, medians = [], []
    for row_a, row_b in zip(a[1], b[1], strict=True):
        families = Family("a", _points(a[0], row_a)), Family("b", _points(b[0], row_b))
        if saving := iso_accuracy_attained(*families):
            maxima.append(saving.max)
            medians.append(saving.median)
    return Savings(np.array(maxima), np.array(medians))


def _points(energies: Floats, accuracies: Floats) -> tuple[Point, ...]:
    return tuple(zip(energies.tolist(), accuracies.tolist(), strict=True))


def _quantiles(values: Floats) -> tuple[float, float, float]:
    low, middle, high = np.quantile(values, QUANTILES)
    return float(low), float(middle), float(high)
