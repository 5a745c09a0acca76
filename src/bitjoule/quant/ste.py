"""STE: a fixed or an observed range, straight through inside it (Bengio et al. 2013, arXiv 1308.3432).

    out = s (clamp(R(v / s) + z, n, p) - z),  dv = g 1{n <= v / s + z <= p}

Also the quantizer of the network's input, whose scale is known exactly (1/255, 2/255).
"""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor

from bitjoule.formats import Format, Minifloat, TensorFormat
from bitjoule.quant.accepted import granular
from bitjoule.quant.config import Role
from bitjoule.quant.fake_quantizer import FakeQuantizer
from bitjoule.quant.float_grid import FloatGrid
from bitjoule.quant.level_set import LevelSet
from bitjoule.quant.observers import extremes, moving_average, scale_of_range
from bitjoule.quant.uniform import Bounds, grid_, pass_inside, quotient, scale_axis

__all__ = ["SteQuantizer", "StraightThrough"]

INTEGERS = re.compile(r"INT([2-9]|1[0-6])(_NARROW)?|UINT([1-9]|1[0-6])|TERNARY")
LEVEL_SETS = re.compile(r"U?POT[2-7].*|U?APOT[2-7]|SPOT[1-4].*|MIDRISE[1-8]")


class StraightThrough(torch.autograd.Function):
    """The formulas above; `zero_point` is None where the Format has none, `levels` where R is to integers."""

    @staticmethod
    def forward(
        ctx: Any,
        v: Tensor,
        scale: Tensor,
        zero_point: Tensor | None,
        bounds: Bounds,
        axis: int,
        levels: LevelSet | FloatGrid | None = None,
    ) -> Tensor:
        ctx.bounds, ctx.axis = bounds, axis
        ctx.save_for_backward(v, scale, zero_point)
        s = scale_axis(scale, v.dim(), axis)
        u = quotient(v, s)
        if levels is not None:
            return levels.nearest(u).mul_(s).to(v.dtype)
        if zero_point is None:
            return grid_(u, bounds.low, bounds.high).mul_(s).to(v.dtype)
        z = scale_axis(zero_point, v.dim(), axis)
        return u.round_().add_(z).clamp_(bounds.low, bounds.high).sub_(z).add_(0.0).mul_(s).to(v.dtype)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None, None, None, None, None]:
        v, scale, zero_point = ctx.saved_tensors
        u = quotient(v, scale_axis(scale, v.dim(), ctx.axis))
        if zero_point is not None:
            u.add_(scale_axis(zero_point, v.dim(), ctx.axis))
        dv = pass_inside(g.to(u.dtype), u, ctx.bounds.outer(u.dtype)).to(v.dtype)
        return dv, None, None, None, None, None


class SteQuantizer(FakeQuantizer):
    """Fixed scale, or a range observed while training: of the weight as it is, of activations over batches.

    >>> from bitjoule.formats import parse_tensor_format
    >>> q = SteQuantizer(parse_tensor_format("UINT8"), QuantizerConfig("ste", range="fixed", scale=1 / 255),
    ...     "activation", name="input")
    >>> [round(v * 255, 3) for v in q(torch.tensor([0.6, 2.0])).tolist()]
    [153.0, 255.0]
    """

    method = "ste"
    trains = (
        "INT2 to INT16 (also _NARROW), UINT1 to UINT16, TERNARY, POT, UPOT, APOT, UAPOT, SPOT, MIDRISE and "
        "small floats that saturate (FP8 and below) with any kind of scale, weights per tensor or channel, "
        "integer activations also with +zp"
    )

    scale: Tensor
    zero_point: Tensor
    low: Tensor
    high: Tensor

    def setup(self) -> None:
        self.bounds = Bounds.of(self.tensor_format.format.min_level, self.tensor_format.format.max_level)
        fmt = self.tensor_format.format
        self.levels: LevelSet | FloatGrid | None = None
        if isinstance(fmt, Minifloat):
            self.levels = FloatGrid(fmt)
        elif not INTEGERS.fullmatch(fmt.name):
            self.levels = LevelSet(fmt)
        first = 1.0 if self.config.scale is None else self.config.scale
        for key, value in (("scale", first), ("zero_point", 0.0), ("low", 0.0), ("high", 0.0)):
            self.register_buffer(key, torch.full(self.scale_shape, value))

    @classmethod
    def accepts(cls, tensor_format: TensorFormat, role: Role) -> bool:
        offset = role == "weight" and tensor_format.scaling.zero_point
        return _is_trainable(tensor_format.format) and granular(tensor_format, role) and not offset

    @property
    def has_range(self) -> bool:
        return self.config.range != "fixed"

    def start(self, x: Tensor) -> None:
        self.low, self.high = self._extremes(x)
        scale, zero_point = scale_of_range(self.low, self.high, self.tensor_format)
        self.scale, self.zero_point = self.positive_or_one(scale), zero_point

    def quantize(self, x: Tensor) -> Tensor:
        if self.training and self.config.range != "fixed":
            self._observe(x.detach())
        zero_point = self.zero_point if self.tensor_format.scaling.zero_point else None
        return StraightThrough.apply(x, self.scale, zero_point, self.bounds, self.axis, self.levels)  # type: ignore[no-any-return, no-untyped-call]

    @torch.no_grad()
    def _observe(self, x: Tensor) -> None:
        low, high = self._extremes(x)
        if self.role == "activation" and self.config.range == "minmax":
            low, high = torch.minimum(self.low, low), torch.maximum(self.high, high)
        elif self.role == "activation":
            low = moving_average(self.low, low, self.config.momentum)
            high = moving_average(self.high, high, self.config.momentum)
        scale, zero_point = scale_of_range(low, high, self.tensor_format)
        self.low.copy_(low)
        self.high.copy_(high)
        self.zero_point.copy_(zero_point)
        self.scale.copy_(torch.where(scale > 0, scale, self.scale))

    def _extremes(self, x: Tensor) -> tuple[Tensor, Tensor]:
        low, high = extremes(x, self.axis if self.scale_shape else None)
        return low.to(self.scale.dtype), high.to(self.scale.dtype)

    def scale_now(self) -> Tensor:
        return self.scale

    def zero_point_now(self) -> Tensor:
        return self.zero_point


def _is_trainable(fmt: Format) -> bool:
    """Integers, sets of levels, and small floats whose largest number stands for all above it: one that
    overflows to infinity cannot follow a range that is an average.
    """
    if isinstance(fmt, Minifloat):
        return FloatGrid.takes(fmt)
    return (INTEGERS.fullmatch(fmt.name) or LEVEL_SETS.fullmatch(fmt.name)) is not None
