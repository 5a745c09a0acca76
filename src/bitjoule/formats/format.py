"""The contract every number format keeps: values, integer levels and storage codes.

Three spaces. A *value* is a real number, ``value = scale * (level - zero_point)``. A *level* is an unscaled
number: an integer (int64) in every fixed-point family, a float64 in float families. A *code* is the storage
bit pattern, an unsigned integer below ``2**bits``.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import numpy as np

from bitjoule.formats.quotient import multiply

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, DTypeLike, NDArray

    from bitjoule.formats.traits import HardwareTraits

__all__ = ["Format", "Kind"]

Kind = Literal["integer", "levels", "float", "block", "vector"]


@runtime_checkable
class Format(Protocol):
    """A number format. Implementations are frozen dataclasses, hashable, equal by name.

    ``kind`` is ``integer`` for uniform levels of step 1, ``levels`` for any other set of integer levels,
    ``float``, ``block`` (a shared scale per block) or ``vector`` (encodes whole rows). ``affine`` tells
    whether it takes a zero-point; ``fixed_scale`` is the only scale it takes, None for any.

    >>> from bitjoule.formats import parse_format
    >>> parse_format("INT4").quantize([0.26, -9.0], scale=0.1)
    array([ 3, -8])
    """

    name: str
    bits: int
    signed: bool
    has_zero: bool
    kind: Kind
    min_level: int | float
    max_level: int | float
    smallest_positive: int | float
    affine: bool = False
    fixed_scale: float | None = None

    @abstractmethod
    def levels(self) -> NDArray[Any]:
        """All levels, ascending and unique. Refuses formats above 16 bits."""

    @abstractmethod
    def quantize(
        self,
        x: ArrayLike,
        scale: ArrayLike = 1.0,
        zero_point: ArrayLike = 0,
        *,
        rounding: str | None = None,
        rng: np.random.Generator | None = None,
    ) -> NDArray[Any]:
        """Value to level. ``scale`` and ``zero_point`` broadcast against ``x``; ``x`` is never modified.

        ``x / scale`` is one IEEE division, in float32 for float16 and float32 ``x``, else in float64.
        """

    @abstractmethod
    def to_code(self, level: ArrayLike) -> NDArray[Any]:
        """Level to storage code, in the smallest unsigned dtype. Refuses numbers that are no levels."""

    @abstractmethod
    def to_level(self, code: ArrayLike, *, strict: bool = True) -> NDArray[Any]:
        """Storage code to level. Unused codes are refused, or decoded as hardware would if not ``strict``."""

    @abstractmethod
    def traits(self) -> HardwareTraits:
        """What hardware must know of this format."""

    def dequantize(
        self,
        level: ArrayLike,
        scale: ArrayLike = 1.0,
        zero_point: ArrayLike = 0,
        dtype: DTypeLike = np.float64,
    ) -> NDArray[Any]:
        """Level to value: ``scale * (level - zero_point)`` in float64, rounded once to ``dtype``."""
        return multiply(level, scale, zero_point, dtype)

    def encode(
        self,
        x: ArrayLike,
        scale: ArrayLike = 1.0,
        zero_point: ArrayLike = 0,
        *,
        rounding: str | None = None,
        rng: np.random.Generator | None = None,
    ) -> NDArray[Any]:
        """Value to code: ``to_code(quantize(x))``."""
        return self.to_code(self.quantize(x, scale, zero_point, rounding=rounding, rng=rng))

    def decode(
        self,
        code: ArrayLike,
        scale: ArrayLike = 1.0,
        zero_point: ArrayLike = 0,
        dtype: DTypeLike = np.float64,
    ) -> NDArray[Any]:
        """Code to value: ``dequantize(to_level(code))``."""
        return self.dequantize(self.to_level(code), scale, zero_point, dtype)

    def __str__(self) -> str:
        return self.name
