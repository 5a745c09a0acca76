"""TWN: ternary weights by a threshold of their own (Li et al. 2016, arXiv 1605.04711).

    D = 0.7 mean|W|,  a = mean of |W| over |W| > D,  out = a sign(W) where |W| > D, else 0

D and a are of the tensor or of each output channel and carry no gradient; gradient g (`identity`), or
g 1{|W| <= 1} (`clipped`), which also clips the latent weights.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bitjoule.formats import TensorFormat
from bitjoule.quant.config import Role
from bitjoule.quant.fake_quantizer import FakeQuantizer
from bitjoule.quant.uniform import Bounds, floored, pass_inside, scale_axis, smallest_scale

__all__ = ["TernaryWeights", "TwnQuantizer", "ternary"]

PART = 0.7
UNIT = Bounds.of(-1, 1)


def ternary(w: Tensor, axis: int | None = None) -> tuple[Tensor, Tensor]:
    """Signs -1, 0, +1 and the scale a, of the tensor or of each index of `axis`.

    >>> signs, a = ternary(torch.tensor([0.83, -0.61, 0.42, 0.27, -0.19, 0.11, 0.06, -0.04, 0.02, 0.0]))
    >>> signs.tolist(), round(a.item(), 6)
    ([1.0, -1.0, 1.0, 1.0, -1.0, 0.0, 0.0, 0.0, 0.0, 0.0], 0.464)
    """
    if w.numel() == 0:
        return w.clone(), w.new_zeros(() if axis is None else (w.shape[axis],))
    dims = list(range(w.dim())) if axis is None else [i for i in range(w.dim()) if i != axis]
    magnitude = w.abs()
    threshold = PART * magnitude.mean(dims, keepdim=True)
    kept = (magnitude > threshold).to(w.dtype)
    a = (magnitude * kept).sum(dims) / kept.sum(dims).clamp_min(1)
    return torch.where(w == w, torch.sign(w) * kept + 0.0, w), a


class TernaryWeights(torch.autograd.Function):
    """sign times scale, straight through (inside [-1, 1] where `clipped`)."""

    @staticmethod
    def forward(ctx: Any, w: Tensor, signs: Tensor, scale: Tensor, axis: int, clipped: bool) -> Tensor:
        ctx.clipped = clipped
        ctx.save_for_backward(w)
        return (signs * scale_axis(scale, w.dim(), axis)).to(w.dtype)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None, None, None, None]:
        (w,) = ctx.saved_tensors
        if not ctx.clipped:
            return g, None, None, None, None
        wide = w if w.dtype == torch.float64 else w.float()
        inside = pass_inside(g.to(wide.dtype), wide, UNIT.outer(wide.dtype))
        return inside.to(w.dtype), None, None, None, None


class TwnQuantizer(FakeQuantizer):
    """TERNARY weights."""

    method = "twn"
    trains = "TERNARY weights with float scales, per tensor or channel"

    scale: Tensor

    def setup(self) -> None:
        self.clipped = self.config.gradient == "clipped"
        self.register_buffer("scale", torch.ones(self.scale_shape))

    @classmethod
    def accepts(cls, tensor_format: TensorFormat, role: Role) -> bool:
        scaling = tensor_format.scaling
        return (
            role == "weight"
            and tensor_format.format.name == "TERNARY"
            and scaling.kind == "float"
            and scaling.granularity in ("tensor", "channel")
        )

    def start(self, x: Tensor) -> None:
        self.scale.copy_(self.positive_or_one(self._ternary(x)[1].to(self.scale.dtype)))

    def transform(self, x: Tensor) -> Tensor:
        return self._ternary(x)[0] * scale_axis(self.scale, x.dim(), self.axis)

    def quantize(self, x: Tensor) -> Tensor:
        signs, a = self._ternary(x.detach())
        if self.training:
            with torch.no_grad():
                self.scale.copy_(floored(a, smallest_scale(self.scale.dtype)))
        return TernaryWeights.apply(x, signs, self.scale, self.axis, self.clipped)  # type: ignore[no-any-return, no-untyped-call]

    def _ternary(self, x: Tensor) -> tuple[Tensor, Tensor]:
        wide = x if x.dtype == torch.float64 else x.float()
        return ternary(wide, self.axis if self.scale_shape else None)

    @property
    def latent_limit(self) -> float | None:
        return 1.0 if self.clipped else None

    def scale_now(self) -> Tensor:
        return self.scale
