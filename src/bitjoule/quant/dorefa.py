"""DoReFa: weights on a mid-rise grid through tanh (Zhou et al. 2016, arXiv 1606.06160).

    t = tanh(w),  m = t / (2 max|t|) + 1/2,  q = 2 R(m (2^k - 1)) / (2^k - 1) - 1      (equation 9)

which is MIDRISEk of 2m - 1 = t / max|t| at scale 1/(2^k - 1). One bit: mean|w| sign(w), gradient 1. Gradient
otherwise through tanh and the maximum, straight through R. Activations: UINTk of clip(x, 0, 1), gradient
inside.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bitjoule.formats import TensorFormat
from bitjoule.quant.binary import Sign
from bitjoule.quant.config import Role
from bitjoule.quant.fake_quantizer import FakeQuantizer
from bitjoule.quant.uniform import Bounds, floored, grid_, pass_inside, quotient, smallest_scale

__all__ = ["DorefaQuantizer", "MidriseRounding", "UnitClip"]

UNIT = Bounds.of(0, 1)


class MidriseRounding(torch.autograd.Function):
    """Nearest odd level of v / scale, ties to the larger magnitude, 0 to +1; straight through."""

    @staticmethod
    def forward(ctx: Any, v: Tensor, scale: Tensor, top: float) -> Tensor:
        u = quotient(v, scale)
        magnitude = u.abs().div_(2).floor_().mul_(2).add_(1).clamp_(max=top)
        return torch.where(u < 0, -magnitude, magnitude).mul_(scale).to(v.dtype)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None, None]:
        return g, None, None


class UnitClip(torch.autograd.Function):
    """UINTk of x at scale 1/(2^k - 1), which clips to [0, 1]; g 1{0 <= x <= 1}."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, top: float) -> Tensor:
        ctx.save_for_backward(x)
        return grid_(quotient(x, scale), 0.0, top).mul_(scale).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None, None]:
        (x,) = ctx.saved_tensors
        wide = x if x.dtype == torch.float64 else x.float()
        return pass_inside(g.to(wide.dtype), wide, UNIT.outer(wide.dtype)).to(x.dtype), None, None


class DorefaQuantizer(FakeQuantizer):
    """MIDRISEk weights, UINTk activations.

    >>> from bitjoule.formats import parse_tensor_format
    >>> q = DorefaQuantizer(
    ...     parse_tensor_format("UINT2"), QuantizerConfig("dorefa"), "activation", name="relu")
    >>> [round(v, 3) for v in q(torch.tensor([-1.0, 0.5, 2.0])).tolist()]
    [0.0, 0.667, 1.0]
    """

    method = "dorefa"
    trains = "MIDRISE1 to MIDRISE8 weights and UINT1 to UINT16 activations, one float scale per tensor"

    scale: Tensor

    def setup(self) -> None:
        self.top = float(self.tensor_format.format.max_level)
        self.one_bit = self.role == "weight" and self.tensor_format.format.bits == 1
        self.register_buffer("scale", torch.tensor(1 / self.top))

    @classmethod
    def accepts(cls, tensor_format: TensorFormat, role: Role) -> bool:
        scaling = tensor_format.scaling
        wanted = "MIDRISE" if role == "weight" else "UINT"
        return tensor_format.format.name.startswith(wanted) and (
            scaling.granularity,
            scaling.kind,
            scaling.zero_point,
        ) == ("tensor", "float", False)

    @property
    def has_range(self) -> bool:
        return self.role == "weight"

    def start(self, x: Tensor) -> None:
        if self.role == "weight":
            magnitude = x.abs().mean() if x.numel() else torch.zeros(())
            positive = self.positive_or_one(magnitude.to(self.scale.dtype))
            if self.one_bit:
                self.scale.copy_(positive)

    def transform(self, x: Tensor) -> Tensor:
        if self.role == "activation" or self.one_bit or x.numel() == 0:
            return x
        t = torch.tanh(x if x.dtype == torch.float64 else x.float())
        return t / t.abs().amax().clamp_min(torch.finfo(t.dtype).tiny)

    def quantize(self, x: Tensor) -> Tensor:
        if self.role == "activation":
            return UnitClip.apply(x, self.scale, self.top)  # type: ignore[no-any-return, no-untyped-call]
        if self.one_bit:
            if self.training and x.numel():
                with torch.no_grad():
                    self.scale.copy_(floored(x.abs().mean(), smallest_scale(self.scale.dtype)))
            return Sign.apply(x, self.scale, 0, "identity")  # type: ignore[no-any-return, no-untyped-call]
        rounded: Tensor = MidriseRounding.apply(self.transform(x), self.scale, self.top)  # type: ignore[no-untyped-call]
        return rounded.to(x.dtype)

    def scale_now(self) -> Tensor:
        return self.scale
