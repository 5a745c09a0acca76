"""``SPOTk_n``: integers of at most k signed powers of two with exponents 0 .. n-1.

ShiftCNN (Gudovskiy and Rigazio 2017, arXiv 1706.02393) is the greedy choice of the terms.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from bitjoule.formats.format import Kind
from bitjoule.formats.level_set import LevelSet
from bitjoule.formats.names import FormatFamily, register
from bitjoule.formats.signed_digits import csd_count, csd_terms
from bitjoule.formats.traits import HardwareTraits

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["SignedPowers", "greedy_powers", "spot"]

_EXPONENTS = 7


@dataclass(frozen=True)
class SignedPowers(LevelSet):
    """The integers v with ``|v| <= 2**(n-1)`` and at most k canonical signed digits.

    Within this bound every level has one canonical and minimal decomposition. Code: k fields of a sign above
    an index, index 0 no term and j the power ``2**(j-1)``, the largest exponent in the lowest field.
    ``quantize`` gives the nearest level, with ``rounding="greedy"`` that of ShiftCNN's residual search.

    >>> spot(2).quantize([11.0, 13.0, 70.0]), spot(2).quantize(13.0, rounding="greedy")
    (array([12, 14, 64]), array(12))
    """

    name: str
    terms: int = field(compare=False)
    exponents: int = field(compare=False)
    bits: int = field(compare=False, init=False)
    signed: bool = field(compare=False, default=True, init=False)
    has_zero: bool = field(compare=False, default=True, init=False)
    kind: Kind = field(compare=False, default="levels", init=False)
    min_level: int = field(compare=False, init=False)
    max_level: int = field(compare=False, init=False)
    smallest_positive: int = field(compare=False, default=1, init=False)

    roundings = ("nearest", "greedy")

    def __post_init__(self) -> None:
        object.__setattr__(self, "bits", self.terms * self._field_bits)
        object.__setattr__(self, "max_level", 1 << (self.exponents - 1))
        object.__setattr__(self, "min_level", -self.max_level)

    def row_scale(self, largest: ArrayLike) -> NDArray[np.float64]:
        """The scale of rows whose largest magnitudes are given: ``2**ceil(log2 largest) / 2**(n-1)``.

        1 for a row of zeros.

        >>> spot(2).row_scale([0.3, 64.0])
        array([0.0078125, 1.       ])
        """
        a = np.asarray(largest, np.float64)
        if not np.isfinite(a).all() or (a < 0).any():
            raise ValueError(f"{self.name}.row_scale: the largest magnitudes must be finite and >= 0")
        fraction, exponent = np.frexp(a)
        power = np.ldexp(1.0, exponent - (fraction == 0.5) - self.exponents + 1)
        return np.where(a == 0, 1.0, power)

    def magnitudes(self) -> NDArray[np.int64]:
        v = np.arange(self.max_level + 1, dtype=np.int64)
        return v[csd_count(v) <= self.terms]

    def all_codes(self, level: NDArray[np.int64]) -> NDArray[np.int64]:
        code = np.zeros(level.shape, np.int64)
        for index, v in np.ndenumerate(level):
            for place, (sign, shift) in enumerate(reversed(csd_terms(int(v)))):
                term = (shift + 1) | (sign < 0) << (self._field_bits - 1)
                code[index] |= term << place * self._field_bits
        return code

    def all_levels(self, code: NDArray[np.int64]) -> NDArray[np.int64]:
        level, sign = np.zeros_like(code), 1 << (self._field_bits - 1)
        for place in range(self.terms):
            term = code >> place * self._field_bits
            index = term & (sign - 1)
            power = np.where(index > 0, np.int64(1) << np.maximum(index - 1, 0), 0)
            level += np.where(term & sign > 0, -power, power)
        return level

    def round(self, v: NDArray[Any], rounding: str) -> NDArray[np.int64]:
        if rounding == "nearest":
            return super().round(v, rounding)
        return greedy_powers(v, self.terms, self.exponents)

    def encode_rounded(self, v: NDArray[Any], rounding: str) -> NDArray[Any]:
        if rounding == "nearest":
            return super().encode_rounded(v, rounding)
        return self.to_code(self.round(v, rounding))

    def traits(self) -> HardwareTraits:
        return HardwareTraits("shift_add", self.terms, True, self.exponents + 1)

    @property
    def _field_bits(self) -> int:
        return 1 + self.exponents.bit_length()  # ceil(log2(n + 1)) is the bit length of n


def greedy_powers(v: NDArray[Any], terms: int, exponents: int) -> NDArray[np.int64]:
    """ShiftCNN's residual search: ``terms`` times the power of two nearest to what is left.

    ``e = floor(log2(4 |r| / 3))`` held within 0 .. ``exponents`` - 1, until ``|r| < 1/2``; values beyond
    ``2**(exponents-1)`` saturate first. Exact: powers of two are subtracted in float64.

    >>> greedy_powers(np.array([13.0, 11.0, -0.4]), 2, 7)
    array([12, 12,  0])
    """
    top = 2.0 ** (exponents - 1)
    rest = np.clip(v.astype(np.float64), -top, top)
    level = np.zeros(v.shape)
    for _ in range(terms):
        fraction, exponent = np.frexp(np.abs(rest))
        power = np.ldexp(1.0, np.clip(exponent - (fraction < 0.75), 0, exponents - 1))
        step = np.where(np.abs(rest) < 0.5, 0.0, np.copysign(power, rest))
        level += step
        rest -= step
    return level.astype(np.int64)


@cache
def spot(terms: int, exponents: int = _EXPONENTS) -> SignedPowers:
    """``SPOTk_n``: k = 1 .. 4 terms, n = 2 .. 15 exponents (7 unless named).

    >>> spot(2).bits, len(spot(2).levels()), str(spot(2, 5))
    (8, 65, 'SPOT2_5')
    """
    if not (1 <= terms <= 4 and 2 <= exponents <= 15):
        raise ValueError("SPOT takes 1 to 4 terms and 2 to 15 exponents: SPOT2, SPOT3_9")
    return SignedPowers(f"SPOT{terms}{f'_{exponents}' if exponents != _EXPONENTS else ''}", terms, exponents)


def _parse(match: re.Match[str]) -> SignedPowers:
    n = match["n"]
    return spot(int(match["k"] or 0), _EXPONENTS if n is None else int(n or 0))


register(
    FormatFamily(
        "SPOT",
        r"SPOT(?P<k>[0-9]{0,4})(_(?P<n>[0-9]{0,4}))?",
        _parse,
        (
            *(f"SPOT{k}" for k in range(1, 5)),
            *("SPOT1_4", "SPOT2_2", "SPOT2_4", "SPOT2_5", "SPOT2_8", "SPOT3_8", "SPOT3_9", "SPOT4_8"),
            "SPOT4_15",
        ),
        "at most k signed powers of two with n exponents (ShiftCNN)",
    )
)
