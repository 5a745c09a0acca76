"""PACT: the clip of an activation is learned (Choi et al. 2018, arXiv 1805.06085).

    y = clip(x, 0, a),  q = R(y (2^k - 1) / a) a / (2^k - 1)      (equations 1 and 2)
    dx = g 1{0 <= x < a},  da = sum g 1{x >= a}                    (equation 3)

a starts at 10; unlike other quantizer parameters it has the weight decay of the network.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from bitjoule.formats import TensorFormat
from bitjoule.quant.config import Role
from bitjoule.quant.fake_quantizer import FakeQuantizer
from bitjoule.quant.uniform import Bounds, floored, grid_, pass_inside, quotient

__all__ = ["LearnedClip", "PactQuantizer"]

FIRST_CLIP = 10.0
SMALLEST = 1e-6
ZERO = Bounds.of(0, 0)


class LearnedClip(torch.autograd.Function):
    """The formulas above; `top` is 2^k - 1."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, clip: Tensor, top: float) -> Tensor:
        ctx.save_for_backward(x, clip)
        scale = floored(clip, SMALLEST) / top
        u = quotient(x, scale)
        return grid_(u, 0.0, top).mul_(scale).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor | None, None]:
        x, clip = ctx.saved_tensors
        v = quotient(x, floored(clip, SMALLEST))  # >= 1 exactly where x >= a
        v.clamp_(min=-1.0)  # pass_inside has open bounds, so -infinity must lie above the lower one
        g = g.to(v.dtype)
        below_clip = pass_inside(g, v, (-2.0, 1.0))
        dx = pass_inside(below_clip, v, (ZERO.outer(v.dtype)[0], 1.0))
        da = (g - below_clip).sum().to(clip.dtype) if ctx.needs_input_grad[1] else None
        return dx.to(x.dtype), da, None


class PactQuantizer(FakeQuantizer):
    """Unsigned activations under a learned clip.

    >>> from bitjoule.formats import parse_tensor_format
    >>> q = PactQuantizer(parse_tensor_format("UINT2"), QuantizerConfig("pact"), "activation", name="relu")
    >>> [round(v, 3) for v in q(torch.tensor([-1.0, 1.0, 4.0, 99.0])).tolist()]
    [0.0, 0.0, 3.333, 10.0]
    """

    method = "pact"
    trains = "UINT1 to UINT16 activations with one float scale; for weights use lsq or dorefa"
    decays = True

    def setup(self) -> None:
        self.top = float(self.tensor_format.format.max_level)
        self.clip = nn.Parameter(torch.tensor(FIRST_CLIP), requires_grad=self.config.learn_scale)

    @classmethod
    def accepts(cls, tensor_format: TensorFormat, role: Role) -> bool:
        scaling = tensor_format.scaling
        return (
            role == "activation"
            and tensor_format.format.name.startswith("UINT")
            and (scaling.granularity, scaling.kind, scaling.zero_point) == ("tensor", "float", False)
        )

    def start(self, x: Tensor) -> None:
        highest = x.amax().to(self.clip.dtype) if x.numel() else torch.zeros_like(self.clip)
        scale = self.positive_or_one(highest / self.top)
        if self.config.init == "minmax" or bool(highest <= 0):
            self.clip.copy_(scale * self.top)

    def quantize(self, x: Tensor) -> Tensor:
        return LearnedClip.apply(x, self.clip, self.top)  # type: ignore[no-any-return, no-untyped-call]

    def scale_now(self) -> Tensor:
        return floored(self.clip, SMALLEST) / self.top
