"""Additive powers of two: ``APOTb`` and ``UAPOTb``, sums of one entry of each of a few small tables.

Li et al. 2020 (arXiv 1909.13144): 2**B evenly used codes whose decoder is wires and one or two adders. Tables
are in integer units; the published code multiplies them by a power of two and divides by the largest.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from bitjoule.formats.format import Kind
from bitjoule.formats.level_set import LevelSet
from bitjoule.formats.names import FormatFamily, register
from bitjoule.formats.traits import HardwareTraits

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["AdditivePowers", "apot", "uapot"]

_TABLES: dict[int, tuple[tuple[int, ...], ...]] = {
    1: ((0, 1),),
    2: ((0, 4, 2, 1),),
    3: ((0, 8, 4, 1), (0, 2)),
    4: ((0, 32, 8, 2), (0, 16, 4, 1)),
    5: ((0, 64, 16, 2), (0, 32, 8, 1), (0, 4)),
    6: ((0, 256, 32, 4), (0, 128, 16, 2), (0, 64, 8, 1)),
}
"""Magnitude bits: the tables a, b, c; a has the lowest bits of the code."""


@dataclass(frozen=True)
class AdditivePowers(LevelSet):
    """All sums of one entry per table, ``2**B`` different magnitudes, with both signs unless unsigned.

    The scale is the clipping threshold over the largest level, which is no power of two from B = 3 on.

    >>> apot(4).levels()[7:]
    array([ 0,  1,  2,  3,  4,  6,  8, 10])
    """

    name: str
    bits: int = field(compare=False)
    signed: bool = field(compare=False, default=True)
    has_zero: bool = field(compare=False, default=True, init=False)
    kind: Kind = field(compare=False, default="levels", init=False)
    min_level: int = field(compare=False, init=False)
    max_level: int = field(compare=False, init=False)
    smallest_positive: int = field(compare=False, default=1, init=False)

    def __post_init__(self) -> None:
        top = sum(max(table) for table in self.tables)
        object.__setattr__(self, "max_level", top)
        object.__setattr__(self, "min_level", -top if self.signed else 0)

    @property
    def magnitude_bits(self) -> int:
        """B: bits without the sign."""
        return self.bits - self.signed

    @property
    def tables(self) -> tuple[tuple[int, ...], ...]:
        """What is added: one entry of each, the first chosen by the lowest bits of the code."""
        return _TABLES[self.magnitude_bits]

    def magnitudes(self) -> NDArray[np.int64]:
        return np.sort(self._sums(np.arange(1 << self.magnitude_bits, dtype=np.int64)))

    def all_codes(self, level: NDArray[np.int64]) -> NDArray[np.int64]:
        sums = self._sums(np.arange(1 << self.magnitude_bits, dtype=np.int64))
        order = np.argsort(sums)
        magnitude = order[np.searchsorted(sums, np.abs(level), sorter=order)]
        return np.asarray(magnitude | (level < 0) * np.int64(1 << self.magnitude_bits), np.int64)

    def all_levels(self, code: NDArray[np.int64]) -> NDArray[np.int64]:
        half = 1 << self.magnitude_bits
        magnitude = self._sums(code & (half - 1))
        return np.where(code >= half, -magnitude, magnitude)

    def traits(self) -> HardwareTraits:
        return HardwareTraits("shift_add", len(self.tables), True, self.max_level.bit_length() + self.signed)

    def _sums(self, magnitude_code: NDArray[np.int64]) -> NDArray[np.int64]:
        total, rest = np.zeros_like(magnitude_code), magnitude_code
        for table in self.tables:
            total = total + np.array(table, np.int64)[rest % len(table)]
            rest = rest // len(table)
        return total


def apot(bits: int) -> AdditivePowers:
    """``APOTb``, 2 to 7 bits with the sign; ``APOT2`` is {-1, 0, 1}.

    >>> apot(5).max_level
    48
    """
    if not 2 <= bits <= 7:
        raise ValueError("APOT takes 2 to 7 bits")
    return AdditivePowers(f"APOT{bits}", bits)


def uapot(bits: int) -> AdditivePowers:
    """``UAPOTb``, 2 to 6 bits, for activations; values below 0 become 0.

    >>> uapot(3).levels()
    array([ 0,  1,  2,  3,  4,  6,  8, 10])
    """
    if not 2 <= bits <= 6:
        raise ValueError("UAPOT takes 2 to 6 bits")
    return AdditivePowers(f"UAPOT{bits}", bits, signed=False)


def _parse_signed(match: re.Match[str]) -> AdditivePowers:
    return apot(int(match["bits"] or 0))


def _parse_unsigned(match: re.Match[str]) -> AdditivePowers:
    return uapot(int(match["bits"] or 0))


register(
    FormatFamily(
        "APOT",
        r"APOT(?P<bits>[0-9]{0,4})",
        _parse_signed,
        tuple(f"APOT{b}" for b in range(2, 8)),
        "sums of 1 to 3 powers of two from small tables",
    )
)
register(
    FormatFamily(
        "UAPOT",
        r"UAPOT(?P<bits>[0-9]{0,4})",
        _parse_unsigned,
        tuple(f"UAPOT{b}" for b in range(2, 7)),
        "the same, unsigned, for activations",
    )
)
