"""Integer formats: ``INTb``, ``INTb_NARROW``, ``INT24``, ``INT32``, ``UINTb`` and ``TERNARY``."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from bitjoule.formats.codes import (
    check_codes,
    check_levels,
    code_dtype,
    refuse_codes,
    refuse_wide,
    sign_extend,
)
from bitjoule.formats.format import Format, Kind
from bitjoule.formats.names import FormatFamily, register
from bitjoule.formats.quotient import divide, refuse_nan, refuse_zero_point
from bitjoule.formats.rounding import round_to_integer
from bitjoule.formats.traits import HardwareTraits, Multiplier

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["Integer", "OneBitIntegerWarning", "signed_integer", "ternary", "unsigned_integer"]

_FLOAT32_WHOLE_BITS = 24  # float32 holds every integer up to 2**24


class OneBitIntegerWarning(UserWarning):
    """``INT1`` was parsed: it holds -1 and 0, which is rarely meant; binary networks use ``BIPOLAR``."""


@dataclass(frozen=True)
class Integer(Format):
    """Uniform integer levels ``min_level .. max_level``: ``clamp(round(x / scale) + zero_point)``.

    Build it by name (``parse_format``) or by ``signed_integer``, ``unsigned_integer``, ``ternary``. Rounds
    half to even unless told otherwise. Only INT and UINT take a zero-point (``affine``).

    >>> signed_integer(4).quantize([-9.0, 0.5, 1.5])
    array([-8,  0,  2])
    """

    name: str
    bits: int = field(compare=False)
    min_level: int = field(compare=False)
    max_level: int = field(compare=False)
    affine: bool = field(compare=False, default=True)
    multiplier: Multiplier = field(compare=False, default="integer")
    has_zero: bool = field(compare=False, default=True, init=False)
    kind: Kind = field(compare=False, default="integer", init=False)
    signed: bool = field(compare=False, init=False)
    smallest_positive: int = field(compare=False, init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "signed", self.min_level < 0)
        object.__setattr__(self, "smallest_positive", min(1, self.max_level))  # INT1 has none: 0

    def levels(self) -> NDArray[np.int64]:
        refuse_wide(self.name, self.bits)
        return np.arange(self.min_level, self.max_level + 1, dtype=np.int64)

    def quantize(
        self,
        x: ArrayLike,
        scale: ArrayLike = 1.0,
        zero_point: ArrayLike = 0,
        *,
        rounding: str | None = None,
        rng: np.random.Generator | None = None,
    ) -> NDArray[np.int64]:
        return self._round(x, scale, zero_point, rounding, rng).astype(np.int64)

    def encode(
        self,
        x: ArrayLike,
        scale: ArrayLike = 1.0,
        zero_point: ArrayLike = 0,
        *,
        rounding: str | None = None,
        rng: np.random.Generator | None = None,
    ) -> NDArray[Any]:
        level = self._round(x, scale, zero_point, rounding, rng)
        dtype = code_dtype(self.bits)
        if not self.signed:
            return level.astype(dtype)
        code = level.astype(dtype.str.replace("u", "i")).view(dtype)
        if self.bits < 8 * dtype.itemsize:
            code &= dtype.type((1 << self.bits) - 1)
        return code

    def to_code(self, level: ArrayLike) -> NDArray[Any]:
        a = check_levels(f"{self.name}.to_code", level, self.min_level, self.max_level)
        return np.asarray(a & ((1 << self.bits) - 1)).astype(code_dtype(self.bits))

    def to_level(self, code: ArrayLike, *, strict: bool = True) -> NDArray[np.int64]:
        where = f"{self.name}.to_level"
        c = check_codes(where, code, self.bits)
        level = sign_extend(c, self.bits) if self.signed else c
        if strict:
            refuse_codes(where, c, np.asarray((level < self.min_level) | (level > self.max_level)))
        return level.copy() if level is code else level

    def traits(self) -> HardwareTraits:
        magnitude_bits = max(self.max_level, -self.min_level).bit_length()
        if self.max_level < -self.min_level:
            magnitude_bits -= 1  # the most negative level is a power of two: one term
        return HardwareTraits(self.multiplier, (magnitude_bits + 2) // 2, True, self.bits)

    def _round(
        self,
        x: ArrayLike,
        scale: ArrayLike,
        zero_point: ArrayLike,
        rounding: str | None,
        rng: np.random.Generator | None,
    ) -> NDArray[Any]:
        """The level as whole numbers in a float dtype that holds them exactly."""
        where = f"{self.name}.quantize"
        v = divide(where, x, scale)
        refuse_nan(where, v)
        v = np.rint(v, out=v) if rounding is None else round_to_integer(where, v, rounding, rng)
        if self.bits > _FLOAT32_WHOLE_BITS:
            v = v.astype(np.float64, copy=False)
        z = self._check_zero_point(where, zero_point)
        if z is not None:
            v = np.asarray(v + z.astype(v.dtype))
        return np.clip(v, self.min_level, self.max_level, out=v)

    def _check_zero_point(self, where: str, zero_point: ArrayLike) -> NDArray[Any] | None:
        """The zero-point as an integer array, None if it is 0 everywhere."""
        z = np.asarray(zero_point)
        if not z.any():
            return None
        if not self.affine:
            refuse_zero_point(where, z)
        whole = z.dtype.kind in "iu" or (z.dtype.kind == "f" and bool((z == np.rint(z)).all()))
        if not whole or z.min() < self.min_level or z.max() > self.max_level:
            bad = z[(z < self.min_level) | (z > self.max_level)] if whole else z
            raise ValueError(
                f"{where}: zero_point must be an integer in {self.min_level} .. {self.max_level}, "
                f"not {bad.flat[0]}"
            )
        return z


def signed_integer(bits: int, *, narrow: bool = False) -> Integer:
    """``INTb`` (1..16, 24, 32) or ``INTb_NARROW`` (2..16), symmetric, with the most negative code unused.

    >>> signed_integer(8, narrow=True).min_level
    -127
    """
    if bits not in (*range(1, 17), 24, 32):
        raise ValueError("INT takes 1 to 16 bits (24 and 32 for accumulators and biases)")
    if narrow and not 2 <= bits <= 16:
        raise ValueError("INT with _NARROW takes 2 to 16 bits")
    half = 1 << (bits - 1)
    return Integer(f"INT{bits}{'_NARROW' if narrow else ''}", bits, narrow - half, half - 1)


def unsigned_integer(bits: int) -> Integer:
    """``UINTb``, 1 to 16 bits; ``UINT1`` = {0, 1}.

    >>> unsigned_integer(4).max_level
    15
    """
    if not 1 <= bits <= 16:
        raise ValueError("UINT takes 1 to 16 bits")
    return Integer(f"UINT{bits}", bits, 0, (1 << bits) - 1)


def ternary() -> Integer:
    """``TERNARY``: -1, 0, +1 in two bits, two's complement with 0b10 unused, rounded half to even (0.5 -> 0).

    ``packing.pack_trits`` stores five of them in a byte. TWN-type thresholds belong to a quantizer, not here.
    """
    return Integer("TERNARY", 2, -1, 1, affine=False, multiplier="gate")


def _parse_signed(match: re.Match[str]) -> Integer:
    flavour = match["flavour"] or ""
    if flavour not in ("", "_NARROW"):
        raise ValueError(f"INT knows the flavour _NARROW, not {flavour}")
    made = signed_integer(int(match["bits"] or 0), narrow=bool(flavour))
    if made.bits == 1:
        warnings.warn(
            "INT1 holds the levels -1 and 0; for -1 and +1 use BIPOLAR", OneBitIntegerWarning, stacklevel=4
        )
    return made


register(
    FormatFamily(
        "INT",
        r"INT(?P<bits>[0-9]{0,4})(?P<flavour>_[A-Z]+)?",
        _parse_signed,
        (*(f"INT{b}" for b in (*range(2, 17), 24, 32)), *(f"INT{b}_NARROW" for b in range(2, 17))),
        "two's complement; _NARROW leaves the most negative code unused",
    )
)
register(
    FormatFamily(
        "UINT",
        r"UINT(?P<bits>[0-9]{0,4})",
        lambda match: unsigned_integer(int(match["bits"] or 0)),
        tuple(f"UINT{b}" for b in range(1, 17)),
        "unsigned binary",
    )
)
register(FormatFamily("TERNARY", "TERNARY", lambda match: ternary(), ("TERNARY",), "-1, 0, +1 in two bits"))
