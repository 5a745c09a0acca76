"""What each step of successive vector approximation costs and gains, row by row (`ptq.md` section 4.6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bitjoule.formats import approximate

__all__ = ["RowCurve", "row_curve"]


@dataclass(frozen=True, eq=False)
class RowCurve:
    """Terms and weighted squared error of a row after 0, 1, 2, ... steps, and the steps themselves.

    length
        entries of the row.
    members, signs, exponents
        `signs * 2**exponents` is added to `members` in each step; exponents are absolute.
    """

    terms: NDArray[np.int64]
    error: NDArray[np.float64]
    length: int
    members: NDArray[np.int64]
    signs: NDArray[np.int8]
    exponents: NDArray[np.int64]

    def hull(self) -> NDArray[np.int64]:
        """Numbers of steps on the lower convex hull, from 0 steps on: errors that fall ever less per term.

        >>> curve = row_curve(np.array([1.0, 0.5, 0.25, 0.1]), np.ones(4), most_terms=4)
        >>> curve.terms.tolist(), curve.hull().tolist()
        ([0, 2, 3], [0, 1, 2])
        """
        return np.asarray(_hull(self.terms, self.error))

    def values(self, steps: int) -> NDArray[np.float64]:
        """The row after so many steps, (L,)."""
        found = np.zeros(self.length)
        parts = self.signs[:steps] * 2.0 ** self.exponents[:steps, None]
        np.add.at(found, self.members[:steps], parts)
        return found


def row_curve(
    row: NDArray[np.float64],
    weight: NDArray[np.float64],
    *,
    count: Literal["popcount", "csd"] = "popcount",
    most_terms: int,
) -> RowCurve:
    """The curve of `row` (L,) up to `most_terms` terms; errors weighted by `weight` (L,), the diagonal of A.

    Steps are those of `formats.approximate`, which normalises a row by a power of two and does not see the
    weights.
    """
    done = approximate(row, 1.0, count=count, strict=True, terms_per_row=most_terms)
    steps = len(done.steps)
    size = len(done.steps[0].members) if steps else 0
    members = np.array([s.members for s in done.steps], np.int64).reshape(steps, size)
    signs = np.array([s.signs for s in done.steps], np.int8).reshape(steps, size)
    exponents = np.array([s.exponent for s in done.steps], np.int64)
    unit = np.ldexp(row.astype(np.float64), -done.normaliser_exponent)
    terms, error = _walk(unit, weight.astype(np.float64), members, signs, exponents, count == "csd")
    absolute = exponents + done.normaliser_exponent
    scaled = error * 4.0**done.normaliser_exponent
    return RowCurve(terms, scaled, len(row), members, signs, absolute)


@njit(cache=True)
def _walk(row: Any, weight: Any, members: Any, signs: Any, exponents: Any, csd: bool) -> Any:
    """Terms and errors after every step, of a row normalised to magnitudes <= 1."""
    steps = len(exponents)
    terms, error = np.zeros(steps + 1, np.int64), np.zeros(steps + 1)
    lowest = exponents.min() if steps else 0
    y = np.zeros(len(row), np.int64)
    r = row.copy()
    total = 0.0
    for i in range(len(row)):
        total += weight[i] * r[i] * r[i]
    error[0] = total
    used = 0
    for step in range(steps):
        size = 2.0 ** exponents[step]
        for j in range(members.shape[1]):
            i, sign = members[step, j], signs[step, j]
            used -= _ones(abs(y[i]), csd)
            y[i] += sign * (1 << (exponents[step] - lowest))
            used += _ones(abs(y[i]), csd)
            after = r[i] - sign * size
            total += weight[i] * (after * after - r[i] * r[i])
            r[i] = after
        terms[step + 1], error[step + 1] = used, max(total, 0.0)
    return terms, error


@njit(cache=True)
def _ones(m: int, csd: bool) -> int:
    bits = (m ^ (3 * m)) >> 1 if csd else m
    found = 0
    while bits:
        bits &= bits - 1
        found += 1
    return found


@njit(cache=True)
def _hull(terms: Any, error: Any) -> Any:
    kept = np.zeros(len(terms), np.int64)
    top = 0
    for i in range(1, len(terms)):
        if error[i] >= error[kept[top]]:
            continue
        if terms[i] <= terms[kept[top]]:  # cheaper and better
            while top > 0 and terms[i] <= terms[kept[top]]:
                top -= 1
            if terms[i] <= terms[kept[top]]:
                continue
        while top > 0:
            a, b = kept[top - 1], kept[top]
            before = (error[a] - error[b]) * (terms[i] - terms[b])
            if before > (error[b] - error[i]) * (terms[b] - terms[a]):
                break
            top -= 1
        top += 1
        kept[top] = i
    return kept[: top + 1]
