"""LSQ: the step size is learned (Esser et al. 2020, arXiv 1902.08153).

    out = s clamp(R(u), n, p),  u = v / s,  R half to even
    dv  = g 1{n <= u <= p}
    ds  = G sum g (R(u) - u inside; n below; p above),  G = 1 / sqrt(N p)      (equations 3 and 5)

N counts the elements that share s. s starts at 2 mean|v| / sqrt(p). Weights have one s per tensor or per
output channel, activations one per tensor. s is kept above `SMALLEST` in the forward pass; its gradient
passes.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from bitjoule.formats import TensorFormat
from bitjoule.quant.accepted import granular, uniform
from bitjoule.quant.config import Role
from bitjoule.quant.fake_quantizer import FakeQuantizer
from bitjoule.quant.oscillations import OscillatingWeights
from bitjoule.quant.uniform import (
    Bounds,
    difference,
    floored,
    grid_,
    pass_inside,
    quotient,
    scale_axis,
    sum_product,
)

__all__ = ["LearnedStep", "LsqQuantizer"]

SMALLEST = 1e-8


class LearnedStep(torch.autograd.Function):
    """The formulas above as one node of the autograd graph.

    Saves v, s and the output, which the layer that reads it keeps anyway. Backward takes (out - v) for
    s (R(u) - u), so that levels are not computed again, and works in one temporary.
    """

    @staticmethod
    def forward(ctx: Any, v: Tensor, scale: Tensor, bounds: Bounds, factor: float, axis: int) -> Tensor:
        ctx.bounds, ctx.factor, ctx.axis = bounds, factor, axis
        s = scale_axis(floored(scale, SMALLEST), v.dim(), axis)
        u = quotient(v, s)
        out = grid_(u, bounds.low, bounds.high).mul_(s).to(v.dtype)
        ctx.save_for_backward(v, scale, out)
        return out

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor | None, None, None, None]:
        v, scale, out = ctx.saved_tensors
        bounds: Bounds = ctx.bounds
        floor = floored(scale, SMALLEST)
        s = scale_axis(floor, v.dim(), ctx.axis)
        u = quotient(v, s)
        g = g.to(u.dtype)
        dv = pass_inside(g, u, bounds.outer(u.dtype))
        ds = None
        if ctx.needs_input_grad[1]:
            if out.dtype != u.dtype:  # 16 bits hold too little of the output
                out = grid_(u.clone(), bounds.low, bounds.high).mul_(s)
            inside = sum_product(dv, difference(out, v, u), scale, ctx.axis)
            outside = sum_product(difference(g, dv, u), out, scale, ctx.axis)
            ds = inside.add_(outside).div_(floor).mul_(ctx.factor).to(scale.dtype)
        return dv.to(v.dtype), ds, None, None, None


class LsqQuantizer(OscillatingWeights, FakeQuantizer):
    """LSQ for weights and activations; `scale` is the learned parameter.

    >>> from bitjoule.formats import parse_tensor_format
    >>> q = LsqQuantizer(parse_tensor_format("INT4"), QuantizerConfig("lsq"), "weight", name="fc")
    >>> q.initialize(torch.tensor([0.3, -0.2, 0.5, -0.7, 0.1, 0.0, 0.4, -0.1]))
    >>> round(q.scale.item(), 6)
    0.21733
    """

    method = "lsq"
    trains = (
        "INT2 to INT16 (also _NARROW), UINT1 to UINT16 and TERNARY with float scales, "
        "weights per tensor or channel"
    )

    def setup(self) -> None:
        self.bounds = Bounds.of(self.tensor_format.format.min_level, self.tensor_format.format.max_level)
        self.scale = nn.Parameter(torch.ones(self.scale_shape), requires_grad=self.config.learn_scale)
        self.setup_oscillations()

    @classmethod
    def accepts(cls, tensor_format: TensorFormat, role: Role) -> bool:
        scaling = tensor_format.scaling
        fits = scaling.kind == "float" and not scaling.zero_point
        return fits and uniform(tensor_format) and granular(tensor_format, role)

    def start(self, x: Tensor) -> None:
        dims = [i for i in range(x.dim()) if i != self.axis] if self.scale_shape else None
        magnitude = x.abs().to(self.scale.dtype)
        if x.numel() == 0:
            found = torch.zeros_like(self.scale)
        elif self.config.init == "minmax":
            top = magnitude.amax() if dims is None else magnitude.amax(dims)
            found = top / self.bounds.high
        else:
            mean = magnitude.mean() if dims is None else magnitude.mean(dims)
            found = 2 * mean / math.sqrt(self.bounds.high)
        self.scale.copy_(self.positive_or_one(found).clamp_min(SMALLEST))

    def quantize(self, x: Tensor) -> Tensor:
        shared = x.numel() // max(1, self.scale.numel())
        if self.role == "activation" and self.config.per_sample:
            shared //= max(1, x.shape[0])
        factor = 1 / math.sqrt(max(1, shared) * self.bounds.high)
        return LearnedStep.apply(x, self.scale, self.bounds, factor, self.axis)  # type: ignore[no-any-return, no-untyped-call]

    def scale_now(self) -> Tensor:
        return floored(self.scale, SMALLEST)
