"""Arithmetic that the uniform quantizers share: one division, the grid, gradients that pass inside the range.

In-place on temporaries and free of masks: on a processor a float pass over an activation is several times
cheaper than one that makes or reads booleans.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

__all__ = [
    "Bounds",
    "difference",
    "floored",
    "grid_",
    "pass_inside",
    "quotient",
    "scale_axis",
    "smallest_scale",
    "sum_product",
]


@dataclass(frozen=True)
class Bounds:
    """Levels low .. high, and their outer neighbours in float32 and float64 (to make exclusive tests
    inclusive).

    >>> Bounds.of(-8, 7).outer32
    (-8.000000953674316, 7.000000476837158)
    """

    low: float
    high: float
    outer32: tuple[float, float]
    outer64: tuple[float, float]

    @classmethod
    def of(cls, low: float, high: float) -> Bounds:
        """The bounds of a level range."""
        outer = [
            (float(np.nextafter(t(low), t(-np.inf))), float(np.nextafter(t(high), t(np.inf))))
            for t in (np.float32, np.float64)
        ]
        return cls(float(low), float(high), outer[0], outer[1])

    def outer(self, dtype: torch.dtype) -> tuple[float, float]:
        """The neighbours just outside, in `dtype`."""
        return self.outer64 if dtype == torch.float64 else self.outer32


def quotient(x: Tensor, scale: Tensor) -> Tensor:
    """x / scale as a new tensor: one division, in float64 for float64 `x`, else in float32."""
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    return x.to(dtype) / scale.to(dtype)


def floored(scale: Tensor, smallest: float) -> Tensor:
    """max(scale, smallest) in at least float32: a 16-bit float would round the floor itself to 0.

    >>> floored(torch.zeros((), dtype=torch.float16), 1e-8).item() > 0
    True
    """
    return scale.to(torch.promote_types(scale.dtype, torch.float32)).clamp_min(smallest)


def grid_(u: Tensor, low: float, high: float) -> Tensor:
    """clamp(round half to even(u)), in place; -0.0 becomes +0.0, as no level is negative zero."""
    return u.clamp_(low, high).round_().add_(0.0)


def difference(a: Tensor, b: Tensor, into: Tensor) -> Tensor:
    """a - b in the memory of `into`, a tensor of their shape and of the wider dtype that is not needed any
    more; a new tensor under torch.compile, which has no use for memory given to it.
    """
    if torch.compiler.is_compiling() or not (a.dtype == b.dtype == into.dtype):
        return a.to(into.dtype) - b
    return torch.sub(a, b, out=into)


def pass_inside(g: Tensor, u: Tensor, outer: tuple[float, float]) -> Tensor:
    """g where outer[0] < u < outer[1], else 0."""
    return torch.ops.aten.hardtanh_backward(g, u, outer[0], outer[1])  # type: ignore[no-any-return]


def scale_axis(scale: Tensor, dims: int, axis: int) -> Tensor:
    """A scale per channel shaped to broadcast against a tensor of `dims` dimensions; one per tensor as it
    is.
    """
    if scale.dim() == 0:
        return scale
    return scale.view([-1 if i == axis else 1 for i in range(dims)])


def smallest_scale(dtype: torch.dtype) -> float:
    """The floor of a scale that is stored in `dtype`: 1e-8, or what a 16-bit float can hold."""
    return max(1e-8, torch.finfo(dtype).tiny)


def sum_product(a: Tensor, b: Tensor, scale: Tensor, axis: int) -> Tensor:
    """sum a b over all elements that share one scale, in the shape of `scale`.

    In eager mode one dot product in the order of memory. torch.compile fuses the plain sum, and may run with
    other strides than it traces, so nothing is asked of them there.
    """
    if scale.dim():
        return (a * b).sum([i for i in range(a.dim()) if i != axis])
    if a.stride() == b.stride() and not torch.compiler.is_compiling():
        if a.is_contiguous():
            return torch.dot(a.view(-1), b.view(-1))
        if a.dim() == 4 and a.is_contiguous(memory_format=torch.channels_last):
            return torch.dot(a.permute(0, 2, 3, 1).reshape(-1), b.permute(0, 2, 3, 1).reshape(-1))
    return (a * b).sum()
