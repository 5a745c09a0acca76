"""APoT: sums of powers of two under a learned clip, weights normalised (Li et al. 2020, arXiv 1909.13144).

    weights      w~ = (w - mean) / deviation, u = w~ / a, q = a nearest(clamp(u, -1, 1))
                 dw~ = g everywhere;  da = sum g (sgn(u) for |u| > 1, else q/a - u)
    activations  u = x / a in [0, 1];  dx = g 1{u <= 1};  da = sum g (1 for u > 1, else q/a - u)

The levels are those of the Format divided by the largest. Mean and deviation (unbiased) are of the whole
tensor and carry gradient, as in the code for ImageNet, or none (`detach_stats`, the code for CIFAR;
yhhhli/APoT_Quantization). The normalised weight is used as it is, which a batch norm after the layer absorbs.
a starts at 3 for weights and at 8 for activations, and decays; a Format with a scale per channel has an a per
channel.
"""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor, nn

from bitjoule.formats import TensorFormat
from bitjoule.quant.accepted import granular
from bitjoule.quant.config import Role
from bitjoule.quant.fake_quantizer import FakeQuantizer
from bitjoule.quant.level_set import LevelSet
from bitjoule.quant.observers import extremes
from bitjoule.quant.uniform import Bounds, floored, pass_inside, quotient, scale_axis, sum_product

__all__ = ["ApotQuantizer", "ReparametrisedClip"]

FIRST_CLIP = {"weight": 3.0, "activation": 8.0}
SMALLEST = 1e-6
TRAINABLE = re.compile(r"U?APOT[2-7]|U?POT[2-6](_ZF)?(_LOG)?")


class ReparametrisedClip(torch.autograd.Function):
    """The formulas above; `passes` lets the gradient through beyond the clip (weights)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, clip: Tensor, levels: LevelSet, passes: bool, axis: int = 0) -> Tensor:
        ctx.levels, ctx.passes, ctx.axis = levels, passes, axis
        ctx.save_for_backward(x, clip)
        scale = scale_axis(floored(clip, SMALLEST) / levels.high, x.dim(), axis)
        return levels.nearest(quotient(x, scale)).mul_(scale.to(_wide(x))).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor | None, None, None, None]:
        x, clip = ctx.saved_tensors
        levels: LevelSet = ctx.levels
        u = quotient(x, scale_axis(floored(clip, SMALLEST) / levels.high, x.dim(), ctx.axis))
        g = g.to(u.dtype)
        low = -levels.high if levels.low < 0 else 0.0
        inside = pass_inside(g, u, Bounds.of(low, levels.high).outer(u.dtype))
        da = None
        if ctx.needs_input_grad[1]:
            u.clamp_(low, levels.high)
            rounded = sum_product(g, levels.nearest(u), clip, ctx.axis)
            da = ((rounded - sum_product(inside, u, clip, ctx.axis)) / levels.high).to(clip.dtype)
        return (g if ctx.passes else inside).to(x.dtype), da, None, None, None


def _wide(x: Tensor) -> torch.dtype:
    return torch.float64 if x.dtype == torch.float64 else torch.float32


class ApotQuantizer(FakeQuantizer):
    """Weights and activations under a learned clip, in any set of sums of powers of two.

    >>> from bitjoule.formats import parse_tensor_format
    >>> from bitjoule.quant import QuantizerConfig
    >>> q = ApotQuantizer(parse_tensor_format("UAPOT2"), QuantizerConfig("apot"), "activation", name="relu")
    >>> q(torch.tensor([-1.0, 3.0, 9.0])).tolist()
    [0.0, 4.0, 8.0]
    """

    method = "apot"
    trains = "APOT2 to APOT7, UAPOT, POT and UPOT with float scales, weights per tensor or channel"
    decays = True

    def setup(self) -> None:
        self.levels = LevelSet(self.tensor_format.format)
        first = torch.full(self.scale_shape, FIRST_CLIP[self.role])
        self.clip = nn.Parameter(first, requires_grad=self.config.learn_scale)

    @classmethod
    def accepts(cls, tensor_format: TensorFormat, role: Role) -> bool:
        known = TRAINABLE.fullmatch(tensor_format.format.name) is not None
        return known and tensor_format.scaling.kind == "float" and granular(tensor_format, role)

    def start(self, x: Tensor) -> None:
        prepared = self.transform(x)
        low, high = extremes(prepared, self.axis if self.scale_shape else None)
        largest = torch.maximum(low.abs(), high.abs()).to(self.clip.dtype)
        clip = self.positive_or_one(largest / self.levels.high) * self.levels.high
        kept = (largest > 0) & (self.config.init == "default")
        self.clip.copy_(torch.where(kept, self.clip, clip))

    def transform(self, x: Tensor) -> Tensor:
        if self.role == "activation" or x.numel() < 2:
            return x
        wide = x.to(_wide(x))
        mean, deviation = wide.mean(), wide.std().clamp_min(torch.finfo(wide.dtype).tiny)
        if self.config.detach_stats:
            mean, deviation = mean.detach(), deviation.detach()
        return (wide - mean) / deviation

    def quantize(self, x: Tensor) -> Tensor:
        clipped: Tensor = ReparametrisedClip.apply(  # type: ignore[no-untyped-call]
            self.transform(x), self.clip, self.levels, self.role == "weight", self.axis
        )
        return clipped.to(x.dtype)

    def scale_now(self) -> Tensor:
        return floored(self.clip, SMALLEST) / self.levels.high
