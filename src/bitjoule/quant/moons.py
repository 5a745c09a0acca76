"""Quantizers of fixed scale of Moons et al. 2017 (arXiv 1711.00215, equations 1 and 2), Formats MOONSb.

    w_q = clip(R(m w), -m, m - 1) / m,  m = 2^(b-1);  ReLU: clip(R(m x), 0, m - 1) / m;  b = 1: the sign

Gradient `paper`: g 1{|w| <= 1}. Gradient `keras` (the authors' published code): g where the rounded level
lies inside the clip, that is w in [-1.0625, 0.9375) for b = 4. Latent weights are clipped to [-1, 1] after
each step.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bitjoule.formats import TensorFormat
from bitjoule.quant.config import Role
from bitjoule.quant.fake_quantizer import FakeQuantizer
from bitjoule.quant.uniform import Bounds, grid_, pass_inside

__all__ = ["MoonsQuantizer", "MoonsRounding", "MoonsSign", "glorot_factor"]

UNIT = Bounds.of(-1, 1)


class MoonsRounding(torch.autograd.Function):
    """Levels low .. high of step 1/m; `paper` chooses the gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, m: float, bounds: Bounds, paper: bool) -> Tensor:
        ctx.m, ctx.bounds, ctx.paper = m, bounds, paper
        ctx.save_for_backward(x)
        wide = x if x.dtype == torch.float64 else x.float()
        return grid_(wide * m, bounds.low, bounds.high).div_(m).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None, None, None]:
        (x,) = ctx.saved_tensors
        wide = x if x.dtype == torch.float64 else x.float()
        if ctx.paper:
            inside = pass_inside(g.to(wide.dtype), wide, UNIT.outer(wide.dtype))
        else:
            rounded = (wide * ctx.m).round_()
            inside = pass_inside(g.to(wide.dtype), rounded, ctx.bounds.outer(wide.dtype))
        return inside.to(x.dtype), None, None, None


class MoonsSign(torch.autograd.Function):
    """-1 for x <= 0, else +1; gradient 1{|x| <= 1} (hardtanh)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.clamp(0, 1).ceil_().mul_(2).sub_(1)  # NaN stays NaN

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        wide = x if x.dtype == torch.float64 else x.float()
        return pass_inside(g.to(wide.dtype), wide, UNIT.outer(wide.dtype)).to(x.dtype)


class MoonsQuantizer(FakeQuantizer):
    """MOONSb weights and activations; there is nothing to learn or to initialize.

    >>> from bitjoule.formats import parse_tensor_format
    >>> q = MoonsQuantizer(parse_tensor_format("MOONS4"), QuantizerConfig("moons"), "weight", name="conv1")
    >>> q(torch.tensor([-2.0, 0.0625, 0.1875, 3.0])).tolist()
    [-1.0, 0.0, 0.25, 0.875]
    """

    method = "moons"
    trains = "MOONS1 to MOONS16 and, for activations, MOONS2_RELU to MOONS16_RELU"

    def setup(self) -> None:
        self.bounds = Bounds.of(self.tensor_format.format.min_level, self.tensor_format.format.max_level)
        default = "paper" if self.role == "weight" else "keras"
        self.paper = (default if self.config.gradient == "default" else self.config.gradient) == "paper"

    @classmethod
    def accepts(cls, tensor_format: TensorFormat, role: Role) -> bool:
        name = tensor_format.format.name
        return name.startswith("MOONS") and not (role == "weight" and name.endswith("_RELU"))

    @property
    def has_range(self) -> bool:
        return False

    @property
    def latent_limit(self) -> float | None:
        return 1.0 if self.role == "weight" else None

    def quantize(self, x: Tensor) -> Tensor:
        if self.tensor_format.format.bits == 1:
            return MoonsSign.apply(x)  # type: ignore[no-any-return, no-untyped-call]
        m = float(1 << (self.tensor_format.format.bits - 1))
        return MoonsRounding.apply(x, m, self.bounds, self.paper)  # type: ignore[no-any-return, no-untyped-call]


def glorot_factor(shape: tuple[int, ...]) -> float:
    """What a weight's update is divided by, sqrt(1.5 / (fan_in + fan_out)) (BinaryConnect's public code).

    `shape` is (outputs, inputs, ...kernel).

    >>> round(glorot_factor((64, 64, 3, 3)), 6)
    0.036084
    """
    receptive = 1
    for size in shape[2:]:
        receptive *= size
    return float((1.5 / ((shape[0] + shape[1]) * receptive)) ** 0.5)
