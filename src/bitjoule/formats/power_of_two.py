"""Powers of two: ``POTb`` with its flavours ``_INQ``, ``_DS``, ``_ZF``, and unsigned ``UPOTb``.

A magnitude code c is 0 for zero and 1 .. E for ``2**(c-1)``; the sign bit is on top. The largest level is
``2**(E-1)``, so with a power-of-two scale a product is a shift.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from bitjoule.formats.float_bits import Buckets, exponent_buckets
from bitjoule.formats.format import Kind
from bitjoule.formats.level_set import LevelSet
from bitjoule.formats.names import FormatFamily, register
from bitjoule.formats.traits import HardwareTraits

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["PotFlavour", "PowerOfTwo", "inq_exponents", "power_of_two", "unsigned_power_of_two"]

PotFlavour = Literal["", "INQ", "DS", "ZF"]


@dataclass(frozen=True)
class PowerOfTwo(LevelSet):
    """The levels 0 (unless zero-free) and ``2**0 .. 2**(E-1)``, with both signs unless unsigned.

    log
        rounds the logarithm: thresholds ``sqrt(2) * 2**k``; else to the nearest level: 0.5, 1.5, 3, 6, ...
    never_zero
        a value other than 0 becomes at least +-1 (DeepShift).

    ``quantize`` takes ``rounding="nearest"`` and ``"log"``; with ``never_zero`` only ``"log"``.

    >>> power_of_two(4).quantize([0.49, 0.5, 1.5, -24.0, 1e9])
    array([  0,   1,   2, -32,  64])
    """

    name: str
    bits: int = field(compare=False)
    exponents: int = field(compare=False)
    signed: bool = field(compare=False, default=True)
    has_zero: bool = field(compare=False, default=True)
    log: bool = field(compare=False, default=False)
    never_zero: bool = field(compare=False, default=False)
    kind: Kind = field(compare=False, default="levels", init=False)
    min_level: int = field(compare=False, init=False)
    max_level: int = field(compare=False, init=False)
    smallest_positive: int = field(compare=False, default=1, init=False)

    def __post_init__(self) -> None:
        top = 1 << (self.exponents - 1)
        object.__setattr__(self, "max_level", top)
        object.__setattr__(self, "min_level", -top if self.signed else 0)
        order = ("log",) if self.never_zero else ("log", "nearest") if self.log else ("nearest", "log")
        object.__setattr__(self, "roundings", order)

    def magnitudes(self) -> NDArray[np.int64]:
        powers = np.int64(1) << np.arange(self.exponents, dtype=np.int64)
        return np.concatenate([[0], powers]).astype(np.int64) if self.has_zero else powers

    def all_codes(self, level: NDArray[np.int64]) -> NDArray[np.int64]:
        magnitude = np.searchsorted(self.magnitudes(), np.abs(level))
        return np.asarray(magnitude | (level < 0) * np.int64(self._sign), np.int64)

    def all_levels(self, code: NDArray[np.int64]) -> NDArray[np.int64]:
        c = code & (self._sign - 1) if self.signed else code
        power = np.int64(1) << np.maximum(c - self.has_zero, 0)
        magnitude = np.where((c == 0) & self.has_zero, 0, power)
        return np.where((code & self._sign > 0) & self.signed, -magnitude, magnitude).astype(np.int64)

    def buckets(self, rounding: str, itemsize: int) -> Buckets:
        return _log_buckets(self, itemsize) if rounding == "log" else super().buckets(rounding, itemsize)

    def round(self, v: NDArray[Any], rounding: str) -> NDArray[np.int64]:
        level = super().round(v, rounding)
        if self.never_zero:
            lost = (level == 0) & (v != 0)
            level[lost] = np.where(v[lost] < 0, -1, 1)
        return level

    def encode_rounded(self, v: NDArray[Any], rounding: str) -> NDArray[Any]:
        code = super().encode_rounded(v, rounding)
        if self.never_zero:
            lost = (code == 0) & (v != 0)
            code[lost] = np.where(v[lost] < 0, self._sign | 1, 1)
        return code

    def traits(self) -> HardwareTraits:
        return HardwareTraits("shift", 1, True, self.exponents + self.signed)

    @property
    def _sign(self) -> int:
        return 1 << (self.bits - 1)


@cache
def _log_buckets(f: PowerOfTwo, itemsize: int) -> Buckets:
    buckets = exponent_buckets(f.exponents, itemsize)
    if f.has_zero:
        return buckets
    rank = np.maximum(buckets.rank - 1, 0)
    return Buckets(itemsize, buckets.offset, buckets.shift, buckets.first, rank)


def power_of_two(bits: int, flavour: PotFlavour = "", *, log: bool = False) -> PowerOfTwo:
    """``POTb``, ``POTb_INQ``, ``POTb_DS``, ``POTb_ZF``, with ``log`` those with ``_LOG``.

    plain
        E = 2**(b-1) - 1 exponents and zero: the plain power-of-two levels of Li et al. 2020
        (arXiv 1909.13144).
    INQ
        E = 2**(b-2): one bit is spent on zero (Zhou et al. 2017, arXiv 1702.03044); see ``inq_exponents``.
    DS
        levels as plain, rounds the logarithm, never to zero (DeepShift-Q, Elhoushi et al. 2019,
        arXiv 1905.13298).
    ZF
        E = 2**(b-1), zero-free; 0 becomes +1 (DenseShift, Li et al. 2023, arXiv 2208.09708).

    >>> power_of_two(3, "ZF").levels()
    array([-8, -4, -2, -1,  1,  2,  4,  8])
    """
    most = 7 if flavour == "INQ" else 6
    if flavour not in ("", "INQ", "DS", "ZF"):
        raise ValueError(f"POT knows the flavours _INQ, _DS, _ZF and _LOG, not _{flavour}")
    if not 2 <= bits <= most:
        raise ValueError("POT takes 2 to 6 bits (7 with _INQ)")
    exponents = {"": (1 << (bits - 1)) - 1, "DS": (1 << (bits - 1)) - 1, "INQ": 1 << (bits - 2)}
    name = f"POT{bits}{'_' + flavour if flavour else ''}{'_LOG' if log and flavour != 'DS' else ''}"
    return PowerOfTwo(
        name,
        bits,
        exponents.get(flavour, 1 << (bits - 1)),
        has_zero=flavour != "ZF",
        log=log or flavour == "DS",
        never_zero=flavour == "DS",
    )


def unsigned_power_of_two(bits: int, *, log: bool = False) -> PowerOfTwo:
    """``UPOTb``: zero and 2**b - 1 powers, activations of LogNet (Miyashita et al. 2016, arXiv 1603.01025).

    LogNet rounds the logarithm: ``UPOTb_LOG``. Values below 0 become 0.

    >>> unsigned_power_of_two(2).levels()
    array([0, 1, 2, 4])
    """
    if not 2 <= bits <= 5:
        raise ValueError("UPOT takes 2 to 5 bits")
    return PowerOfTwo(f"UPOT{bits}{'_LOG' if log else ''}", bits, (1 << bits) - 1, signed=False, log=log)


def inq_exponents(largest: float, bits: int) -> tuple[int, int]:
    """The exponents n1 (largest level) and n2 (smallest, the scale ``2**n2``) of INQ weights.

    ``n1 = floor(log2(4 s / 3))`` for the largest magnitude s > 0, ``n2 = n1 + 1 - 2**(bits - 2)``: the upper
    edge ``1.5 * 2**n1`` lies above s, so no weight is clipped by more than it is rounded.

    >>> inq_exponents(0.83, 4)
    (0, -3)
    """
    if not (math.isfinite(largest) and largest > 0):
        raise ValueError(f"inq_exponents: the largest magnitude must be finite and > 0, not {largest}")
    if not 2 <= bits <= 7:
        raise ValueError(f"inq_exponents: POT with _INQ takes 2 to 7 bits, not {bits}")
    fraction, exponent = math.frexp(largest)
    n1 = exponent if fraction >= 0.75 else exponent - 1
    return n1, n1 + 1 - (1 << (bits - 2))


def _parse(match: re.Match[str]) -> PowerOfTwo:
    flavour, log = match["flavour"] or "", bool(match["log"])
    return power_of_two(int(match["bits"] or 0), flavour.removeprefix("_"), log=log)  # type: ignore[arg-type]


register(
    FormatFamily(
        "POT",
        r"POT(?P<bits>[0-9]{0,4})(?P<flavour>_(?!LOG(?:_|$))[A-Z]+)?(?P<log>_LOG)?",
        _parse,
        (
            *(f"POT{b}{flavour}" for flavour in ("", "_LOG", "_DS", "_ZF") for b in range(2, 7)),
            *(f"POT{b}_INQ" for b in range(2, 8)),
            *("POT4_INQ_LOG", "POT4_ZF_LOG"),
        ),
        "powers of two and zero; _INQ, _DS (DeepShift), _ZF (zero-free), _LOG rounds the logarithm",
    )
)
register(
    FormatFamily(
        "UPOT",
        r"UPOT(?P<bits>[0-9]{0,4})(?P<log>_LOG)?",
        lambda match: unsigned_power_of_two(int(match["bits"] or 0), log=bool(match["log"])),
        tuple(f"UPOT{b}{log}" for log in ("", "_LOG") for b in range(2, 6)),
        "zero and powers of two, unsigned (LogNet activations)",
    )
)
