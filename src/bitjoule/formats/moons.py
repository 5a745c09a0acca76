"""Formats of fixed scale of Moons et al. 2017 (arXiv 1711.00215): ``MOONSb`` and ``MOONSb_RELU``."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from bitjoule.formats.codes import check_codes, check_levels, code_dtype, refuse_codes, sign_extend
from bitjoule.formats.format import Format, Kind
from bitjoule.formats.midrise import check_odd
from bitjoule.formats.names import FormatFamily, register
from bitjoule.formats.quotient import check_scale, divide, refuse_nan, refuse_zero_point
from bitjoule.formats.rounding import only_nearest, round_to_integer
from bitjoule.formats.traits import HardwareTraits

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, DTypeLike, NDArray

__all__ = ["Moons", "moons"]


@dataclass(frozen=True)
class Moons(Format):
    """Two's complement of fixed scale 1/m, m = 2**(b-1): ``clip(round(m w), -m, m - 1) / m``, half even.

    ``relu`` keeps the levels 0 .. m - 1 only: half of the codes are unused by intention, int2 ReLU is
    {0, 0.5}. The published code writes it as clip(2 round(hs(x) 2**b) / 2**b - 1, 0, 1 - 2**(1-b)) with the
    hard sigmoid hs; the two are equal over the reals, and the form here rounds only once. ``MOONS1`` is
    {-1, +1} of scale 1 with 0 -> -1, as in the published code (BIPOLAR sends 0 to +1).

    The scale may be left out; any other than ``fixed_scale`` is refused.

    >>> moons(4).quantize([-0.5625, 0.1875, 3.0])
    array([-4,  2,  7])
    """

    name: str
    bits: int = field(compare=False)
    relu: bool = field(compare=False, default=False)
    kind: Kind = field(compare=False, default="integer", init=False)
    signed: bool = field(compare=False, init=False)
    has_zero: bool = field(compare=False, init=False)
    min_level: int = field(compare=False, init=False)
    max_level: int = field(compare=False, init=False)
    smallest_positive: int = field(compare=False, default=1, init=False)
    fixed_scale: float = field(compare=False, init=False)

    def __post_init__(self) -> None:
        m = 1 << (self.bits - 1)
        one_bit = self.bits == 1
        object.__setattr__(self, "kind", "levels" if one_bit else "integer")
        object.__setattr__(self, "signed", not self.relu)
        object.__setattr__(self, "has_zero", not one_bit)
        object.__setattr__(self, "min_level", 0 if self.relu else -m)
        object.__setattr__(self, "max_level", 1 if one_bit else m - 1)
        object.__setattr__(self, "fixed_scale", 1 / m)

    def levels(self) -> NDArray[np.int64]:
        return np.arange(self.min_level, self.max_level + 1, 2 if self.bits == 1 else 1, dtype=np.int64)

    def quantize(
        self,
        x: ArrayLike,
        scale: ArrayLike | None = None,
        zero_point: ArrayLike = 0,
        *,
        rounding: str | None = None,
        rng: np.random.Generator | None = None,
    ) -> NDArray[np.int64]:
        where = f"{self.name}.quantize"
        v = divide(where, x, self._scale(scale))
        refuse_nan(where, v)
        refuse_zero_point(where, zero_point)
        if self.bits == 1:
            only_nearest(where, rounding)
            return np.asarray(2 * (v > 0).astype(np.int64) - 1)
        v = round_to_integer(where, v, rounding, rng)
        return np.clip(v, self.min_level, self.max_level, out=v).astype(np.int64)

    def dequantize(
        self,
        level: ArrayLike,
        scale: ArrayLike | None = None,
        zero_point: ArrayLike = 0,
        dtype: DTypeLike = np.float64,
    ) -> NDArray[Any]:
        return super().dequantize(level, self._scale(scale), zero_point, dtype)

    def encode(
        self,
        x: ArrayLike,
        scale: ArrayLike | None = None,
        zero_point: ArrayLike = 0,
        *,
        rounding: str | None = None,
        rng: np.random.Generator | None = None,
    ) -> NDArray[Any]:
        return super().encode(x, self._scale(scale), zero_point, rounding=rounding, rng=rng)

    def decode(
        self,
        code: ArrayLike,
        scale: ArrayLike | None = None,
        zero_point: ArrayLike = 0,
        dtype: DTypeLike = np.float64,
    ) -> NDArray[Any]:
        return super().decode(code, self._scale(scale), zero_point, dtype)

    def to_code(self, level: ArrayLike) -> NDArray[Any]:
        where = f"{self.name}.to_code"
        a = check_levels(where, level, self.min_level, self.max_level)
        code = (check_odd(where, a) + 1) >> 1 if self.bits == 1 else a & ((1 << self.bits) - 1)
        return np.asarray(code).astype(code_dtype(self.bits))

    def to_level(self, code: ArrayLike, *, strict: bool = True) -> NDArray[np.int64]:
        where = f"{self.name}.to_level"
        c = check_codes(where, code, self.bits)
        if self.bits == 1:
            return 2 * c - 1
        level = sign_extend(c, self.bits)
        if strict:
            refuse_codes(where, c, np.asarray(level < self.min_level))
        return level

    def traits(self) -> HardwareTraits:
        if self.bits == 1:
            return HardwareTraits("xnor", 1, True, 2)
        return HardwareTraits("integer", (self.bits + 1) // 2, True, self.bits)

    def _scale(self, scale: ArrayLike | None) -> float:
        if scale is not None:
            s = check_scale(scale, np.dtype(np.float64))
            other = s[s != self.fixed_scale]
            if other.size:
                raise ValueError(
                    f"{self.name} has the fixed scale {self.fixed_scale}, not {other.flat[0]}: "
                    "leave scale out, or use an INT format for a scale of your own"
                )
        return self.fixed_scale


def moons(bits: int, *, relu: bool = False) -> Moons:
    """``MOONSb`` (1 to 16 bits) or ``MOONSb_RELU`` (2 to 16 bits).

    >>> moons(2, relu=True).levels() * moons(2, relu=True).fixed_scale
    array([0. , 0.5])
    """
    if not 1 <= bits <= 16:
        raise ValueError("MOONS takes 1 to 16 bits")
    if relu and bits == 1:
        raise ValueError("MOONS1_RELU could only hold 0; use MOONS1 (the symmetric hardtanh) there")
    return Moons(f"MOONS{bits}{'_RELU' if relu else ''}", bits, relu)


def _parse(match: re.Match[str]) -> Moons:
    flavour = match["flavour"] or ""
    if flavour not in ("", "_RELU"):
        raise ValueError(f"MOONS knows the flavour _RELU, not {flavour}")
    return moons(int(match["bits"] or 0), relu=bool(flavour))


register(
    FormatFamily(
        "MOONS",
        r"MOONS(?P<bits>[0-9]{0,4})(?P<flavour>_[A-Z]+)?",
        _parse,
        (*(f"MOONS{b}" for b in range(1, 17)), *(f"MOONS{b}_RELU" for b in range(2, 17))),
        "two's complement of fixed scale 2**(1-b)",
    )
)
