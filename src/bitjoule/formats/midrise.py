"""Levels without a zero: ``BIPOLAR`` (-1, +1) and ``MIDRISEb`` (odd integers)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from bitjoule.formats.codes import check_codes, check_levels, code_dtype
from bitjoule.formats.format import Format, Kind
from bitjoule.formats.names import FormatFamily, register
from bitjoule.formats.quotient import divide, refuse_nan, refuse_zero_point
from bitjoule.formats.rounding import only_nearest
from bitjoule.formats.traits import HardwareTraits, Multiplier

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["Midrise", "bipolar", "check_odd", "midrise"]


@dataclass(frozen=True)
class Midrise(Format):
    """The odd integers ``-(2**b - 1) .. 2**b - 1``; ``level = 2 * code - (2**b - 1)``.

    Rounds to the nearest level, a tie to the larger magnitude, 0 and -0.0 to +1. ``MIDRISEb`` is the grid of
    DoReFa weights (Zhou et al. 2016, arXiv 1606.06160); ``BIPOLAR`` that of binary networks.

    >>> midrise(2).quantize([-9.0, -2.0, 0.0, 0.5])
    array([-3, -3,  1,  1])
    """

    name: str
    bits: int = field(compare=False)
    multiplier: Multiplier = field(compare=False, default="integer")
    signed: bool = field(compare=False, default=True, init=False)
    has_zero: bool = field(compare=False, default=False, init=False)
    kind: Kind = field(compare=False, default="levels", init=False)
    min_level: int = field(compare=False, init=False)
    max_level: int = field(compare=False, init=False)
    smallest_positive: int = field(compare=False, default=1, init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "max_level", (1 << self.bits) - 1)
        object.__setattr__(self, "min_level", -self.max_level)

    def levels(self) -> NDArray[np.int64]:
        return np.arange(self.min_level, self.max_level + 1, 2, dtype=np.int64)

    def quantize(
        self,
        x: ArrayLike,
        scale: ArrayLike = 1.0,
        zero_point: ArrayLike = 0,
        *,
        rounding: str | None = None,
        rng: np.random.Generator | None = None,
    ) -> NDArray[np.int64]:
        where = f"{self.name}.quantize"
        v = divide(where, x, scale)
        refuse_nan(where, v)
        refuse_zero_point(where, zero_point)
        only_nearest(where, rounding)
        if self.bits == 1:
            return np.asarray(2 * (v >= 0).astype(np.int64) - 1)
        magnitude = np.minimum(2 * np.floor(np.abs(v) / 2) + 1, self.max_level)
        return np.asarray(np.where(v < 0, -magnitude, magnitude).astype(np.int64))

    def to_code(self, level: ArrayLike) -> NDArray[Any]:
        where = f"{self.name}.to_code"
        a = check_odd(where, check_levels(where, level, self.min_level, self.max_level))
        return np.asarray((a + self.max_level) >> 1).astype(code_dtype(self.bits))

    def to_level(self, code: ArrayLike, *, strict: bool = True) -> NDArray[np.int64]:
        return 2 * check_codes(f"{self.name}.to_level", code, self.bits) - self.max_level

    def traits(self) -> HardwareTraits:
        return HardwareTraits(self.multiplier, (self.bits + 2) // 2, True, self.bits + 1)


def check_odd(where: str, level: NDArray[np.int64]) -> NDArray[np.int64]:
    """ValueError unless every level is odd."""
    even = np.asarray(level & 1 == 0)
    if even.any():
        index = tuple(int(i) for i in np.argwhere(even)[0])
        raise ValueError(
            f"{where}: level {level[index]} is even, the levels are odd (first at index {index})"
        )
    return level


def bipolar() -> Midrise:
    """``BIPOLAR``: code 0 is -1, code 1 is +1; x >= 0 (also -0.0) gives +1.

    >>> bipolar().encode([-0.1, 0.0])
    array([0, 1], dtype=uint8)
    """
    return Midrise("BIPOLAR", 1, "xnor")


def midrise(bits: int) -> Midrise:
    """``MIDRISEb``, 1 to 8 bits; ``MIDRISE1`` has the levels of ``BIPOLAR``.

    >>> midrise(2).levels()
    array([-3, -1,  1,  3])
    """
    if not 1 <= bits <= 8:
        raise ValueError("MIDRISE takes 1 to 8 bits")
    return Midrise(f"MIDRISE{bits}", bits)


def _parse(match: re.Match[str]) -> Midrise:
    return midrise(int(match["bits"] or 0))


register(FormatFamily("BIPOLAR", "BIPOLAR", lambda match: bipolar(), ("BIPOLAR",), "-1 and +1 in one bit"))
register(
    FormatFamily(
        "MIDRISE",
        r"MIDRISE(?P<bits>[0-9]{0,4})",
        _parse,
        tuple(f"MIDRISE{b}" for b in range(1, 9)),
        "odd integers, no zero",
    )
)
