"""Floats of 3 to 19 bits and FLOAT32, exactly: ``FP16``, ``BF16``, ``FP8_E4M3``, ``FP4_E2M1``, ...

A float rounds once, from the exact quotient, on the grid ``2**(max(e, emin) - m)`` of its binade e.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from bitjoule.formats.codes import check_codes, code_dtype, refuse_wide
from bitjoule.formats.format import Format, Kind
from bitjoule.formats.names import FormatFamily, register
from bitjoule.formats.quotient import divide, refuse_nan, refuse_zero_point
from bitjoule.formats.rounding import round_to_integer
from bitjoule.formats.traits import HardwareTraits

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["Flavour", "Minifloat", "Overflow", "minifloat"]

Flavour = Literal["IEEE", "FN", "FINITE"]
Overflow = Literal["saturate", "ieee"]

_NAMED = {(5, 10): "FP16", (8, 7): "BF16", (8, 23): "FLOAT32"}
_IEEE_BY_DEFAULT = (*_NAMED, (5, 2))
_EXPONENT = np.int64(0x7FF << 52)  # the exponent field of a float64
_BLOCK = 1 << 14  # elements worked on at a time, so that all temporaries stay in the cache


@dataclass(frozen=True)
class Minifloat(Format):
    """One sign, e exponent and m mantissa bits, bias ``2**(e-1) - 1``, gradual underflow.

    flavour
        ``IEEE``: an all-ones exponent is infinity or NaN. ``FN``: no infinity, NaN only where exponent and
        mantissa are all ones (OCP FP8 E4M3, Micikevicius et al. 2022, arXiv 2209.05433). ``FINITE``: every
        code is a number (OCP MX element formats).

    Levels are float64. The sign of zero is kept; ``levels()`` lists zero once. A tie goes to the even integer
    significand (without mantissa bits: to the larger power of two). Beyond the maximum, after rounding,
    ``quantize(overflow="saturate")`` gives the largest number, also for infinite input, and
    ``overflow="ieee"`` infinity (IEEE) or NaN (FN); FINITE always saturates. NaN becomes the positive quiet
    NaN, except in FINITE, which refuses it.

    >>> minifloat(4, 3).encode([1.0, 465.0, -2.6]), minifloat(4, 3).max_level
    (array([ 56, 126, 194], dtype=uint8), 448.0)
    """

    name: str
    exponent_bits: int = field(compare=False)
    mantissa_bits: int = field(compare=False)
    flavour: Flavour = field(compare=False)
    bits: int = field(compare=False, init=False)
    signed: bool = field(compare=False, default=True, init=False)
    has_zero: bool = field(compare=False, default=True, init=False)
    kind: Kind = field(compare=False, default="float", init=False)
    min_level: float = field(compare=False, init=False)
    max_level: float = field(compare=False, init=False)
    smallest_positive: float = field(compare=False, init=False)

    def __post_init__(self) -> None:
        largest = {"IEEE": self._all_ones_exponent - 1, "FN": self._all_ones - 1, "FINITE": self._all_ones}
        top = self._value(np.array([largest[self.flavour]]))[0]
        object.__setattr__(self, "bits", 1 + self.exponent_bits + self.mantissa_bits)
        object.__setattr__(self, "max_level", float(top))
        object.__setattr__(self, "min_level", -float(top))
        object.__setattr__(self, "smallest_positive", 2.0 ** (self.min_exponent - self.mantissa_bits))

    @property
    def min_exponent(self) -> int:
        """Exponent of the smallest normal number, ``1 - bias``."""
        return 2 - (1 << (self.exponent_bits - 1))

    @property
    def overflow(self) -> Overflow:
        """What happens beyond the maximum by default: ``saturate`` up to 8 bits, ``ieee`` above."""
        return "saturate" if self.bits <= 8 or self.flavour == "FINITE" else "ieee"

    def levels(self) -> NDArray[np.float64]:
        refuse_wide(self.name, self.bits)
        positive = self._value(np.arange(1, int(self.to_code(self.max_level)) + 1))
        return np.concatenate([-positive[::-1], [0.0], positive])

    def quantize(
        self,
        x: ArrayLike,
        scale: ArrayLike = 1.0,
        zero_point: ArrayLike = 0,
        *,
        rounding: str | None = None,
        rng: np.random.Generator | None = None,
        overflow: Overflow | None = None,
    ) -> NDArray[np.float64]:
        where = f"{self.name}.quantize"
        v = divide(where, x, scale)
        refuse_zero_point(where, zero_point)
        mode = self.overflow if overflow is None else overflow
        if mode not in ("saturate", "ieee"):
            raise ValueError(f"{where}: overflow must be saturate or ieee, not {overflow!r}")
        if self.flavour == "FINITE":
            refuse_nan(where, v)
        saturate = mode == "saturate" or self.flavour == "FINITE"
        level = np.empty(v.shape, np.float64)
        source, target = v.reshape(-1), level.reshape(-1)
        with np.errstate(all="ignore"):
            for start in range(0, v.size, _BLOCK):
                part = slice(start, start + _BLOCK)
                wide = source[part].astype(np.float64)
                target[part] = self._limit(self._round(where, wide, rounding, rng), wide, saturate)
        return level

    def to_code(self, level: ArrayLike) -> NDArray[Any]:
        where = f"{self.name}.to_code"
        a = np.asarray(level)
        if a.dtype.kind not in "iuf":
            raise TypeError(f"{where}: level must hold numbers, not {a.dtype}")
        v = a.astype(np.float64)
        code = np.empty(v.shape, code_dtype(self.bits))
        source, target = v.reshape(-1), code.reshape(-1)
        with np.errstate(all="ignore"):
            for start in range(0, v.size, _BLOCK):
                part = slice(start, start + _BLOCK)
                target[part] = self._pattern(where, source[part])
        return code

    def to_level(self, code: ArrayLike, *, strict: bool = True) -> NDArray[np.float64]:
        c = check_codes(f"{self.name}.to_level", code, self.bits)
        if c.size > 1 << self.bits:  # cheaper to list all values once
            return np.take(self._value(np.arange(1 << self.bits)), c)
        level = np.empty(c.shape, np.float64)
        source, target = c.reshape(-1), level.reshape(-1)
        for start in range(0, c.size, _BLOCK):
            target[start : start + _BLOCK] = self._value(source[start : start + _BLOCK])
        return level

    def traits(self) -> HardwareTraits:
        return HardwareTraits("float", 0, True, 0)

    @property
    def _all_ones(self) -> int:
        """Exponent and mantissa fields all ones."""
        return (1 << (self.exponent_bits + self.mantissa_bits)) - 1

    @property
    def _all_ones_exponent(self) -> int:
        """Exponent field all ones, mantissa field 0: infinity in IEEE."""
        return self._all_ones >> self.mantissa_bits << self.mantissa_bits

    def _binade(self, v: NDArray[np.float64]) -> NDArray[np.float64]:
        """``2**max(e, emin)`` of each number, held below the binade above the maximum."""
        power = (v.view(np.int64) & _EXPONENT).view(np.float64)
        top = 2.0 ** ((1 << (self.exponent_bits - 1)) + 1)
        return np.clip(power, 2.0**self.min_exponent, top, out=power)

    def _round(
        self, where: str, v: NDArray[np.float64], rounding: str | None, rng: np.random.Generator | None
    ) -> NDArray[np.float64]:
        """Each number on the grid of its binade."""
        power = self._binade(v)
        if rounding in (None, "half_even"):
            # v + 1.5 * 2**52 * step has no bits below the step: the addition itself rounds, half to even
            power *= 1.5 * 2.0 ** (52 - self.mantissa_bits)
            r = v + power
            r -= power
        else:
            step = power * 2.0**-self.mantissa_bits
            r = round_to_integer(where, v / step, rounding, rng) * step
        return np.copysign(r, v, out=r)

    def _limit(self, r: NDArray[np.float64], v: NDArray[np.float64], saturate: bool) -> NDArray[np.float64]:
        """Rounded numbers with overflow and NaN settled."""
        if saturate:
            np.clip(r, self.min_level, self.max_level, out=r)
        else:
            beyond = np.inf if self.flavour == "IEEE" else np.nan
            np.copyto(r, np.copysign(beyond, v), where=np.abs(r) > self.max_level)
        if self.flavour != "FINITE":
            np.copyto(r, np.nan, where=np.isnan(v))
        return r

    def _pattern(self, where: str, v: NDArray[np.float64]) -> NDArray[np.int64]:
        """Codes: exponent field and significand add up, ``((e - emin) << m) + |v| / 2**(e - m)``."""
        m = self.mantissa_bits
        magnitude = np.abs(v)
        power = self._binade(v)
        significand = magnitude * 2.0**m / power
        whole = significand.astype(np.int64)
        code = ((power.view(np.int64) >> 52) - (1023 + self.min_exponent) << m) + whole
        good = (magnitude <= self.max_level) & (whole == significand)
        if not good.all():
            special = np.isnan(v) if self.flavour != "FINITE" else np.zeros(v.shape, bool)
            quiet = self._all_ones if self.flavour == "FN" else self._all_ones_exponent | 1 << m >> 1
            code[special] = quiet
            if self.flavour == "IEEE":
                code[np.isinf(v)] = self._all_ones_exponent
                special = special | np.isinf(v)
            wrong = ~(good | special)
            if wrong.any():
                raise ValueError(
                    f"{where}: {float(v[wrong][0])} is not a level of {self.name}; quantize it first"
                )
        return code | (np.signbit(v).astype(np.int64) << (self.exponent_bits + m))

    def _value(self, code: NDArray[np.int64]) -> NDArray[np.float64]:
        """Float64 of codes, by the definition of the fields."""
        m = self.mantissa_bits
        fields = code & self._all_ones
        exponent = fields >> m
        significand = (fields & ((1 << m) - 1)) + np.where(exponent > 0, 1 << m, 0)
        power = np.maximum(exponent, 1) - 1 + self.min_exponent - m
        value = np.ldexp(significand.astype(np.float64), power)
        if self.flavour == "IEEE":
            value = np.where(fields == self._all_ones_exponent, np.inf, value)
            value = np.where(fields > self._all_ones_exponent, np.nan, value)
        elif self.flavour == "FN":
            value = np.where(fields == self._all_ones, np.nan, value)
        return np.asarray(np.copysign(value, np.where(code > self._all_ones, -1.0, 1.0)))


def minifloat(exponent_bits: int, mantissa_bits: int, flavour: Flavour | None = None) -> Minifloat:
    """The float of e = 2..8 exponent and m = 0..10 mantissa bits, or FLOAT32 (8, 23).

    Default flavours: FP16, BF16, FLOAT32 and E5M2 are IEEE, E4M3 is FN, all others FINITE.

    >>> str(minifloat(5, 10)), str(minifloat(4, 3, "IEEE")), minifloat(2, 1).max_level
    ('FP16', 'FP8_E4M3_IEEE', 6.0)
    """
    pair = (exponent_bits, mantissa_bits)
    if pair != (8, 23) and not (2 <= exponent_bits <= 8 and 0 <= mantissa_bits <= 10):
        raise ValueError("FP takes 2 to 8 exponent bits and 0 to 10 mantissa bits (8 and 23 are FLOAT32)")
    usual: Flavour = "IEEE" if pair in _IEEE_BY_DEFAULT else "FN" if pair == (4, 3) else "FINITE"
    chosen = usual if flavour is None else flavour
    if chosen not in ("IEEE", "FN", "FINITE"):
        raise ValueError(f"FP knows the flavours _IEEE, _FN and _FINITE, not _{chosen}")
    if chosen == "IEEE" and mantissa_bits == 0:
        raise ValueError("FP with _IEEE takes at least 1 mantissa bit, to tell NaN from infinity")
    general = f"FP{1 + exponent_bits + mantissa_bits}_E{exponent_bits}M{mantissa_bits}"
    name = _NAMED.get(pair, general) if chosen == usual else f"{general}_{chosen}"
    return Minifloat(name, exponent_bits, mantissa_bits, chosen)


def _parse(match: re.Match[str]) -> Minifloat:
    for (e, m), name in _NAMED.items():
        if match[0] == name:
            return minifloat(e, m)
    if not match["e"]:
        raise ValueError("FP is FP16 or FP<bits>_E<exponent bits>M<mantissa bits>, such as FP8_E4M3")
    n, e, m = int(match["n"]), int(match["e"]), int(match["m"])
    made = minifloat(e, m, match["flavour"])  # type: ignore[arg-type]  # minifloat refuses other flavours
    if n != made.bits:
        raise ValueError(f"1 sign, {e} exponent and {m} mantissa bits are {made.bits} bits, not {n}")
    return made


register(
    FormatFamily(
        "FP",
        r"FLOAT32|BF16|FP(?P<n>[0-9]{1,4})(_E(?P<e>[0-9]{1,4})M(?P<m>[0-9]{1,4})(_(?P<flavour>[A-Z]+))?)?",
        _parse,
        (
            *("FLOAT32", "FP16", "BF16", "FP8_E4M3", "FP8_E5M2", "FP6_E3M2", "FP6_E2M3", "FP4_E2M1"),
            *("FP8_E4M3_IEEE", "FP8_E4M3_FINITE", "FP8_E5M2_FN", "FP8_E3M4", "FP7_E3M3", "FP5_E2M2"),
            *("FP3_E2M0", "FP12_E5M6", "FP12_E5M6_IEEE", "FP16_E5M10_FN", "FP19_E8M10"),
        ),
        "IEEE-like floats: FP16, BF16, FLOAT32, FP<n>_E<e>M<m> with _IEEE, _FN or _FINITE",
    )
)
