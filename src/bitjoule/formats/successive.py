"""``SVAr``: successive vector approximation, whole rows as sums of signed powers of two of shared exponents.

Matching pursuit with generalised bit planes (MPGBP; da Silva, Lovisolo, Dutra and Diniz, IEEE TSP 62(15),
2014; on layers: Coelho, Diniz, Le Ruyet and Lovisolo, ISCAS 2025). The steps are in ``sva_kernel.py``.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from bitjoule.formats.codes import check_codes, check_levels, sign_extend
from bitjoule.formats.format import Format, Kind
from bitjoule.formats.names import FormatFamily, register
from bitjoule.formats.quotient import divide, refuse_nan, refuse_zero_point
from bitjoule.formats.rounding import only_nearest
from bitjoule.formats.sva_row import SvaRow, SvaStep
from bitjoule.formats.traits import HardwareTraits

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["SuccessiveVector", "TermCount", "approximate", "sva"]

TermCount = Literal["popcount", "csd"]

_FRACTION_BITS = 24
_BITS = _FRACTION_BITS + 2  # a sign and one bit above 1: an entry can pass the normaliser by less than a step
_EPS = 1e-6
_LARGEST_RATIO = 24.0


@dataclass(frozen=True)
class SuccessiveVector(Format):
    """Rows approximated with about ``ratio`` power-of-two terms per entry, spent where they help most.

    A row is one output channel: axis 0 of an array of two or more axes, or a whole array of one axis. Levels
    are integers; at ``scale = row_scale(x)`` they are in units of ``2**-24`` of the normaliser of the row
    and ``value = scale * level`` as in every format. At a coarser scale, steps below 1 do not happen.

    ``bits`` is the dense word before anything is packed; what storage takes is ``SvaRow.storage_bits()``.
    ``levels()`` refuses: which numbers an entry can be depends on its row.

    >>> f, x = sva(1.5), np.array([[3, -1.25, 0.5, 0.125]])
    >>> f.dequantize(f.quantize(x, f.row_scale(x)), f.row_scale(x))
    array([[ 3.  , -1.25,  0.5 ,  0.25]])
    """

    name: str
    ratio: float = field(compare=False)
    count: TermCount = field(compare=False, default="popcount")
    strict: bool = field(compare=False, default=False)
    bits: int = field(compare=False, default=_BITS, init=False)
    signed: bool = field(compare=False, default=True, init=False)
    has_zero: bool = field(compare=False, default=True, init=False)
    kind: Kind = field(compare=False, default="vector", init=False)
    min_level: int = field(compare=False, default=-(1 << (_BITS - 1)), init=False)
    max_level: int = field(compare=False, default=(1 << (_BITS - 1)) - 1, init=False)
    smallest_positive: int = field(compare=False, default=1, init=False)

    def levels(self) -> NDArray[np.int64]:
        raise ValueError(f"{self.name}.levels: a vector format has no levels of its own; quantize rows")

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
        v = divide(where, x, scale).astype(np.float64)
        refuse_nan(where, v)
        refuse_zero_point(where, zero_point)
        only_nearest(where, rounding)
        if v.ndim == 0:
            raise ValueError(f"{where}: x must be rows, not a single number; give it one axis at least")
        rows = np.ascontiguousarray(v.reshape(v.shape[0] if v.ndim > 1 else 1, -1) if v.size else v)
        if v.size == 0:
            return np.zeros(v.shape, np.int64)
        top = 2.0**_FRACTION_BITS
        np.clip(rows, -top, top, out=rows)
        exponents = _ceil_log2(np.abs(rows).max(axis=1))
        levels = np.zeros(rows.shape, np.int64)
        for low in np.unique(exponents[exponents >= 0]):  # below 1/2 a row has no step of at least 1
            part = exponents == low
            unit = np.ldexp(rows[part], -int(low))
            done = _kernel()(
                unit, _size(rows.shape[1]), self._budget(unit), -int(low), _EPS, *self._flags(), False
            )
            levels[part] = done[0]
        return levels.reshape(v.shape)

    def row_scale(self, x: ArrayLike) -> NDArray[np.float64]:
        """The scale of each row, ``2**(ceil(log2 max|row|) - 24)``, 1 for zeros; broadcasts to ``x``.

        >>> sva(1.0).row_scale([[3.0, 1.0], [0.0, 0.0]]) * 2.0**24
        array([[4.0000000e+00],
               [1.6777216e+07]])
        """
        a = np.abs(np.asarray(x, np.float64))
        rows = a.reshape(a.shape[0] if a.ndim > 1 else 1, -1)
        largest = rows.max(axis=1, initial=0.0)
        if not np.isfinite(largest).all():
            raise ValueError(f"{self.name}.row_scale: x must be finite")
        scale = np.where(largest > 0, np.ldexp(1.0, _ceil_log2(largest) - _FRACTION_BITS), 1.0)
        return scale.reshape((-1,) + (1,) * (a.ndim - 1)) if a.ndim > 1 else scale

    def rows(self, x: ArrayLike) -> tuple[SvaRow, ...]:
        """Every row with its steps, terms and storage."""
        a = np.asarray(x)
        flat = a.reshape(a.shape[0] if a.ndim > 1 else 1, -1)
        return tuple(approximate(row, self.ratio, count=self.count, strict=self.strict) for row in flat)

    def to_code(self, level: ArrayLike) -> NDArray[Any]:
        a = check_levels(f"{self.name}.to_code", level, int(self.min_level), int(self.max_level))
        return np.asarray(a & ((1 << _BITS) - 1)).astype(np.uint32)

    def to_level(self, code: ArrayLike, *, strict: bool = True) -> NDArray[np.int64]:
        return sign_extend(check_codes(f"{self.name}.to_level", code, _BITS), _BITS)

    def traits(self) -> HardwareTraits:
        return HardwareTraits("shift_add", (_BITS + 1) // 2, False, _BITS)

    def _budget(self, rows: NDArray[np.float64]) -> NDArray[np.int64]:
        return np.full(len(rows), int(self.ratio * rows.shape[1]), np.int64)

    def _flags(self) -> tuple[bool, bool]:
        return self.count == "csd", self.strict


def approximate(
    row: ArrayLike,
    ratio: float,
    *,
    count: TermCount = "popcount",
    strict: bool = False,
    fraction_bits: int = _FRACTION_BITS,
    eps: float = _EPS,
    terms_per_row: int | None = None,
) -> SvaRow:
    """One row, flattened to L entries, as a sum of vectors of ``P = floor(sqrt(L))`` entries +-2**k.

    The row is divided by ``N = 2**ceil(log2 max|row|)``. Each step takes the P largest residuals, of equal
    ones those that come first, and adds ``sign * 2**k`` to them with ``k = floor(log2(4/3 * their mean))``.
    The row is done at ``int(ratio * L)`` terms (``terms_per_row`` if given), at ``k < -fraction_bits`` or at
    a residual norm of ``eps``. ``terms`` counts one bits (``popcount``) or canonical signed digits (``csd``)
    of the sums. The last step may pass the budget, as in the published code; ``strict`` undoes it.

    Raises ValueError for NaN or infinite entries and numbers out of range.

    >>> done = approximate([3, -1.25, 0.5, 0.125], 1.5, count="csd")
    >>> done.values(), done.terms, [step.exponent for step in done.steps]
    (array([ 3.  , -1.25,  0.5 ,  0.25]), 6, [-1, -2, -3, -4])
    """
    a = np.asarray(row)
    if a.dtype.kind not in "iuf":
        raise TypeError(f"approximate: row must hold real numbers, not {a.dtype}")
    v = a.astype(np.float64).reshape(-1)
    if not np.isfinite(v).all():
        raise ValueError("approximate: row must hold finite values")
    if not (math.isfinite(ratio) and ratio > 0):
        raise ValueError(f"approximate: ratio must be finite and > 0, not {ratio}")
    if count not in ("popcount", "csd"):
        raise ValueError(f"approximate: count must be popcount or csd, not {count!r}")
    if not 0 <= fraction_bits <= 50:
        raise ValueError(f"approximate: fraction_bits must be 0 to 50, not {fraction_bits}")
    if terms_per_row is not None and terms_per_row < 0:
        raise ValueError(f"approximate: terms_per_row must be >= 0, not {terms_per_row}")
    largest = float(np.abs(v).max(initial=0.0))
    if largest == 0.0:
        return SvaRow(np.zeros(v.size, np.int64), 0, 0, (), 0)
    exponent = int(_ceil_log2(np.array([largest]))[0])
    most = int(ratio * v.size) if terms_per_row is None else terms_per_row
    unit = np.ldexp(v, -exponent)[None]
    integer, terms, _, exponents, members, signs = _kernel()(
        unit, _size(v.size), np.array([most]), -fraction_bits, eps, count == "csd", strict, True
    )
    steps = tuple(map(SvaStep, exponents.tolist(), members, signs))
    whole, unit_exponent = _smallest(integer[0], exponent - fraction_bits)
    return SvaRow(whole, unit_exponent, exponent, steps, int(terms[0]))


def sva(ratio: float, count: TermCount = "popcount", *, strict: bool = False) -> SuccessiveVector:
    """``SVAr``, with ``_CSD`` if terms are counted as signed digits, ``_STRICT`` if a budget is never passed.

    >>> str(sva(0.75)), str(sva(2.0, "csd", strict=True))
    ('SVA0.75', 'SVA2_CSD_STRICT')
    """
    if not 0 < ratio <= _LARGEST_RATIO:
        raise ValueError(f"SVA takes a ratio above 0 and at most {_LARGEST_RATIO:g}, such as SVA1 or SVA0.75")
    text = f"{ratio:.6f}".rstrip("0").rstrip(".")
    if float(text) != ratio:
        raise ValueError(f"SVA takes a ratio of at most 6 decimals, not {ratio!r}")
    name = f"SVA{text}{'_CSD' if count == 'csd' else ''}{'_STRICT' if strict else ''}"
    return SuccessiveVector(name, float(ratio), count, strict)


def _kernel() -> Any:
    from bitjoule.formats.sva_kernel import approximate_rows

    return approximate_rows


def _size(length: int) -> int:
    """P, the entries of a step."""
    return max(1, math.isqrt(length))


def _ceil_log2(a: NDArray[np.float64]) -> NDArray[np.int64]:
    """``ceil(log2 a)``, exact; below every exponent for 0."""
    fraction, exponent = np.frexp(a)
    return np.where(a > 0, exponent - (fraction == 0.5), -(1 << 20)).astype(np.int64)


def _smallest(integer: NDArray[np.int64], exponent: int) -> tuple[NDArray[np.int64], int]:
    """The same numbers without common factors of two."""
    together = int(np.bitwise_or.reduce(np.abs(integer), initial=0))
    if together == 0:
        return integer, 0
    common = (together & -together).bit_length() - 1
    return integer >> common, exponent + common


def _parse(match: re.Match[str]) -> SuccessiveVector:
    text = match["ratio"]
    if not re.fullmatch(r"[0-9]{1,2}(\.[0-9]{1,6})?", text):
        raise ValueError("SVA takes a ratio of terms per weight, such as SVA1 or SVA0.75")
    return sva(float(text), "csd" if match["csd"] else "popcount", strict=bool(match["strict"]))


register(
    FormatFamily(
        "SVA",
        r"SVA(?P<ratio>[0-9.]*)(?P<csd>_CSD)?(?P<strict>_STRICT)?",
        _parse,
        ("SVA0.75", "SVA1", "SVA1.5", "SVA2", "SVA3", "SVA1_CSD", "SVA1_STRICT", "SVA1.5_CSD_STRICT"),
        "rows as sums of signed powers of two, about r terms per weight (MPGBP)",
    )
)
