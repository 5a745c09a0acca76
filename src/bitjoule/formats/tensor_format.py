"""A Format with its scaling: what one tensor of a network is stored as."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bitjoule.formats.block import BLOCK_SIZE, SCALE_BITS
from bitjoule.formats.format import Format
from bitjoule.formats.names import parse_format
from bitjoule.formats.quotient import check_scale
from bitjoule.formats.scaling import Scaling, parse_scaling

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["TensorFormat", "parse_tensor_format"]

_DEFAULT = Scaling()
_UNSCALED = ("FP16", "BF16", "FLOAT32")


@dataclass(frozen=True)
class TensorFormat:
    """A Format and a Scaling; prints canonically and parses back.

    >>> str(TensorFormat(parse_format("UINT8"), Scaling(zero_point=True)))
    'UINT8+zp'
    """

    format: Format
    scaling: Scaling = _DEFAULT

    def __post_init__(self) -> None:
        name, fixed = self.format.name, self.format.fixed_scale
        if self.scaling != _DEFAULT and fixed is not None:
            raise ValueError(f"{name} has the fixed scale {fixed}; drop '{self.scaling}'")
        if self.scaling != _DEFAULT and self.format.kind == "block":
            raise ValueError(f"{name} has a scale of its own per block; drop '{self.scaling}'")
        if self.scaling.zero_point and not self.format.affine:
            raise ValueError(f"{name} has no zero-point, only INT and UINT formats do; drop '+zp'")

    def overhead_bits(self, shape: tuple[int, ...], axis: int = 0) -> int:
        """Storage bits of scales and zero-points.

        None are stored for a fixed scale, nor for FP16, BF16 and FLOAT32 unless their scaling is named.
        """
        if self.format.kind == "block":
            rows = Scaling("group", BLOCK_SIZE).scale_shape(shape, axis)
            return SCALE_BITS * math.prod(rows)
        unscaled = self.format.fixed_scale is not None or self.format.name in _UNSCALED
        if unscaled and self.scaling == _DEFAULT:
            return 0
        return self.scaling.overhead_bits(shape, axis, self.format.bits)

    def bits_per_element(self, shape: tuple[int, ...], axis: int = 0, bits: float | None = None) -> float:
        """Storage bits of one element with its share of the scales.

        ``bits`` replaces the width of a code where it is packed more densely: ``TRIT_BITS`` for TERNARY.

        >>> parse_tensor_format("INT4/group128").bits_per_element((64, 256))
        4.25
        """
        size = math.prod(shape)
        if size == 0:
            raise ValueError(f"{self}: a tensor of shape {tuple(shape)} has no elements")
        return (self.format.bits if bits is None else bits) + self.overhead_bits(shape, axis) / size

    def scale_of(self, threshold: ArrayLike) -> NDArray[np.float64]:
        """The snapped scale at which ``threshold`` (a clipping value > 0) is the largest level.

        ``threshold / max_level``; for full-range signed INT under ``pot`` ``threshold / |min_level|``, as in
        TQT (Jain et al. 2020, arXiv 1903.08066), so that a threshold 2**k gives a scale 2**(k-b+1).

        >>> float(parse_tensor_format("INT8*pot").scale_of(1.0))
        0.0078125
        """
        f = self.format
        if f.kind == "block":
            raise ValueError(f"{self}: blocks choose their own scale; leave scale out of quantize")
        if f.fixed_scale is not None:
            return np.full(np.shape(threshold), f.fixed_scale)
        top = float(f.max_level)
        if f.kind == "integer" and self.scaling.kind == "pot":
            top = float(max(f.max_level, -f.min_level))
        if top <= 0:
            raise ValueError(f"{self}: {f.name} has no positive level to scale a threshold to; use BIPOLAR")
        return self.scaling.snap(check_scale(threshold, np.dtype(np.float64), "threshold") / top)

    def __str__(self) -> str:
        return f"{self.format}{self.scaling}"


def parse_tensor_format(text: str) -> TensorFormat:
    """The TensorFormat of ``format [/granularity] [*kind] [+zp]``, in any case; defaults may be written out.

    Raises ValueError with the reason.

    >>> str(parse_tensor_format("int8/CHANNEL*dyadic31"))
    'INT8/channel*dyadic'
    """
    if not isinstance(text, str):
        raise TypeError(f"parse_tensor_format takes a text such as 'INT8/channel', not {type(text).__name__}")
    cut = re.search(r"[/*+]", text)
    name, suffix = (text, "") if cut is None else (text[: cut.start()], text[cut.start() :])
    format_ = parse_format(name)
    try:
        return TensorFormat(format_, parse_scaling(suffix))
    except ValueError as error:
        raise ValueError(f"unknown tensor format {text!r}: {error}") from None
