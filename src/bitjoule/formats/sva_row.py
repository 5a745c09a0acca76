"""One row after successive vector approximation: its integers, its steps, what it takes to store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["SvaLayout", "SvaRow", "SvaStep"]

SvaLayout = Literal["dense", "steps", "terms"]

_EXPONENT_BITS = 8  # of the row


@dataclass(frozen=True, eq=False)
class SvaStep:
    """One step: ``signs * 2**exponent``, relative to the normaliser, is added to ``members``."""

    exponent: int
    members: NDArray[np.int64]
    signs: NDArray[np.int8]


@dataclass(frozen=True, eq=False)
class SvaRow:
    """``row ~ integer * 2**exponent``.

    integer
        int64 (L,), without a common factor of two.
    normaliser_exponent
        log2 of the power of two that the row was divided by; exponents of steps are relative to it.
    steps
        in the order taken; their sum is the row.
    terms
        signed powers of two of all entries, as counted while approximating.
    """

    integer: NDArray[np.int64]
    exponent: int
    normaliser_exponent: int
    steps: tuple[SvaStep, ...]
    terms: int

    def values(self) -> NDArray[np.float64]:
        """The row, float64 (L,)."""
        return np.ldexp(self.integer.astype(np.float64), self.exponent)

    def layouts(self) -> dict[SvaLayout, int]:
        """Storage bits of three layouts, each with 8 bits for the exponent of the row.

        dense
            a sign and the bits of the largest integer for every entry.
        steps
            for every step its exponent, and index and sign of its members.
        terms
            for every term its index, sign and exponent.

        A row of zeros has no words, steps and terms.
        """
        length, steps = len(self.integer), self.steps
        word = int(np.abs(self.integer).max(initial=0)).bit_length()
        shifts = [step.exponent for step in steps]
        shift_bits = (max(shifts) - min(shifts)).bit_length() if steps else 0  # ceil(log2(exponents))
        index_bits = max(length - 1, 0).bit_length()
        members = len(steps[0].members) if steps else 0
        return {
            "dense": _EXPONENT_BITS + (length * (1 + word) if word else 0),
            "steps": _EXPONENT_BITS + len(steps) * (shift_bits + members * (index_bits + 1)),
            "terms": _EXPONENT_BITS + self.terms * (index_bits + 1 + shift_bits),
        }

    @property
    def layout(self) -> SvaLayout:
        """The smallest of the three layouts, the first of equals."""
        sizes = self.layouts()
        return min(sizes, key=lambda layout: sizes[layout])

    def storage_bits(self) -> int:
        """Bits of the smallest layout."""
        return self.layouts()[self.layout]
