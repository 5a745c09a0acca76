"""Block formats of OCP Microscaling 1.0: ``MXFP4_E2M1``, ``MXFP8_E4M3``, ``MXINT8``, ...

Blocks of 32 elements along the last axis share one power of two, stored as E8M0 (8 bits, 0xFF is NaN).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from bitjoule.formats.format import Format, Kind
from bitjoule.formats.integer import Integer, signed_integer
from bitjoule.formats.minifloat import Minifloat, minifloat
from bitjoule.formats.names import FormatFamily, register
from bitjoule.formats.quotient import divide, refuse_zero_point
from bitjoule.formats.traits import HardwareTraits

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["BLOCK_SIZE", "SCALE_BITS", "BlockFormat", "mx"]

BLOCK_SIZE = 32
SCALE_BITS = 8
_BIAS = 127
_NAN_SCALE = 0xFF
_INT_UNIT = 2.0**-6  # MXINT8: one bit before the point, six behind it


@dataclass(frozen=True)
class BlockFormat(Format):
    """Elements of a small format and one scale ``2**k`` per block, ``k = floor(log2 max|x|) - emax``.

    ``emax`` is the exponent of the largest element; k is held within -127 .. 127 and is -127 for zeros.
    Elements saturate. A NaN makes its whole block NaN. The levels are those of the element; leave ``scale``
    out and ``quantize`` takes ``block_scale(x)``, with which ``value = scale * level`` as everywhere.

    >>> f, x = mx("MXFP4_E2M1"), [0.1, -3.0, 7.0, 0.3, 100.0, 0.0]
    >>> f.quantize(x), f.block_exponents(x)
    (array([ 0. , -0. ,  0.5,  0. ,  6. ,  0. ]), array([4]))
    """

    name: str
    element: Minifloat | Integer = field(compare=False)
    bits: int = field(compare=False, init=False)
    signed: bool = field(compare=False, default=True, init=False)
    has_zero: bool = field(compare=False, default=True, init=False)
    kind: Kind = field(compare=False, default="block", init=False)
    min_level: float = field(compare=False, init=False)
    max_level: float = field(compare=False, init=False)
    smallest_positive: float = field(compare=False, init=False)

    def __post_init__(self) -> None:
        for key in ("bits", "min_level", "max_level", "smallest_positive"):
            value = getattr(self.element, key)
            object.__setattr__(self, key, value if key == "bits" else float(value * self._unit))

    @property
    def bits_per_element(self) -> float:
        """Storage of an element of a full block, its share of the scale included.

        >>> mx("MXFP4_E2M1").bits_per_element
        4.25
        """
        return self.bits + SCALE_BITS / BLOCK_SIZE

    def levels(self) -> NDArray[np.float64]:
        return np.asarray(self.element.levels() * self._unit, np.float64)

    def block_exponents(self, x: ArrayLike) -> NDArray[np.int64]:
        """k of every block, (..., blocks); a last block may be shorter. 128 stands for NaN."""
        v = divide(f"{self.name}.block_exponents", x, 1.0).astype(np.float64)
        if v.ndim == 0:
            raise ValueError(f"{self.name}: blocks lie along an axis; x is a single number")
        count = -(-v.shape[-1] // BLOCK_SIZE)
        padded = np.zeros((*v.shape[:-1], count * BLOCK_SIZE))
        padded[..., : v.shape[-1]] = np.abs(v)
        largest = padded.reshape(*v.shape[:-1], count, BLOCK_SIZE).max(axis=-1)
        exponent = np.where(np.isinf(largest), 1 << 12, np.frexp(largest)[1] - 1)
        top = math.frexp(self.max_level)[1] - 1
        k = np.where(largest == 0, -_BIAS, np.clip(exponent - top, -_BIAS, _BIAS))
        return np.where(np.isnan(largest), _NAN_SCALE - _BIAS, k).astype(np.int64)

    def block_scale(self, x: ArrayLike) -> NDArray[np.float64]:
        """``2**k`` of the block of every element, the shape of ``x``; NaN in a block with NaN."""
        return self._spread(self.block_exponents(x), np.shape(x)[-1])

    def quantize(
        self,
        x: ArrayLike,
        scale: ArrayLike | None = None,
        zero_point: ArrayLike = 0,
        *,
        rounding: str | None = None,
        rng: np.random.Generator | None = None,
    ) -> NDArray[np.float64]:
        where = f"{self.name}.quantize"
        refuse_zero_point(where, zero_point)
        v = divide(where, x, 1.0).astype(np.float64)
        s = self.block_scale(v) if scale is None else np.asarray(scale, np.float64)
        lost = np.broadcast_to(np.isnan(s), v.shape) | (np.isnan(v) if scale is not None else False)
        safe = np.where(np.isnan(s), 1.0, s)
        level = self.element.quantize(np.where(lost, 0.0, v), safe * self._unit, rounding=rounding, rng=rng)
        return np.where(lost, np.nan, level * self._unit)

    def to_code(self, level: ArrayLike) -> NDArray[Any]:
        if isinstance(self.element, Minifloat):
            return self.element.to_code(level)
        whole = np.asarray(level, np.float64) / self._unit
        if (whole != np.rint(whole)).any():
            raise ValueError(
                f"{self.name}.to_code: a level is no multiple of {self._unit}; quantize it first"
            )
        return self.element.to_code(whole.astype(np.int64))

    def to_level(self, code: ArrayLike, *, strict: bool = True) -> NDArray[np.float64]:
        return np.asarray(self.element.to_level(code, strict=strict) * self._unit, np.float64)

    def encode(
        self,
        x: ArrayLike,
        scale: ArrayLike | None = None,
        zero_point: ArrayLike = 0,
        *,
        rounding: str | None = None,
        rng: np.random.Generator | None = None,
    ) -> NDArray[Any]:
        """Codes of the elements; those of a NaN block are 0, its scale says NaN (``scale_codes``)."""
        level = self.quantize(x, scale, zero_point, rounding=rounding, rng=rng)
        return self.to_code(np.where(np.isnan(level), 0.0, level))

    def scale_codes(self, x: ArrayLike) -> NDArray[np.uint8]:
        """E8M0 codes of the blocks of ``x``, ``k + 127``, 0xFF for NaN."""
        return (self.block_exponents(x) + _BIAS).astype(np.uint8)

    def decode_blocks(self, code: ArrayLike, scale_code: ArrayLike) -> NDArray[np.float64]:
        """Values of element codes (..., n) and scale codes (..., blocks).

        >>> f = mx("MXFP4_E2M1")
        >>> f.decode_blocks(f.encode([0.5, 3.0]), f.scale_codes([0.5, 3.0]))
        array([0.5, 3. ])
        """
        level = self.to_level(code)
        blocks = np.asarray(scale_code)
        if blocks.shape != (*level.shape[:-1], -(-level.shape[-1] // BLOCK_SIZE)):
            raise ValueError(
                f"{self.name}.decode_blocks: codes {level.shape} have a scale per {BLOCK_SIZE} along "
                f"the last axis, not {blocks.shape}"
            )
        return level * self._spread(blocks.astype(np.int64) - _BIAS, level.shape[-1])

    def traits(self) -> HardwareTraits:
        return self.element.traits()

    @property
    def _unit(self) -> float:
        return _INT_UNIT if isinstance(self.element, Integer) else 1.0

    def _spread(self, k: NDArray[np.int64], length: int) -> NDArray[np.float64]:
        scale = np.where(k + _BIAS == _NAN_SCALE, np.nan, np.ldexp(1.0, k))
        return np.repeat(scale, BLOCK_SIZE, axis=-1)[..., :length]


def mx(name: str) -> BlockFormat:
    """``MXINT8``, or ``MXFPn_EeMm`` of up to 8 bits; OCP defines E2M1, E3M2, E2M3, E4M3 and E5M2."""
    if name == "MXINT8":
        return BlockFormat(name, signed_integer(8, narrow=True))
    match = re.fullmatch(r"MXFP([0-9]{1,4})_E([0-9]{1,4})M([0-9]{1,4})", name)
    if match is None:
        raise ValueError("MX is MXINT8 or MXFP<bits>_E<exponent bits>M<mantissa bits>, such as MXFP4_E2M1")
    n, e, m = map(int, match.groups())
    element = minifloat(e, m)
    if n != element.bits or n > 8:
        raise ValueError(
            f"1 sign, {e} exponent and {m} mantissa bits are {element.bits} bits, MX takes up to 8"
        )
    return BlockFormat(f"MXFP{n}_E{e}M{m}", element)


register(
    FormatFamily(
        "MX",
        r"MX[A-Z0-9_]*",
        lambda match: mx(match[0]),
        ("MXFP4_E2M1", "MXFP6_E3M2", "MXFP6_E2M3", "MXFP8_E4M3", "MXFP8_E5M2", "MXINT8"),
        "blocks of 32 small floats or int8 with a shared power of two (OCP Microscaling)",
        self_scaling=True,
    )
)
