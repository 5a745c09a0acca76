"""TQT: a learned threshold whose scale is a power of two (Jain et al. 2020, arXiv 1903.08066).

    s = 2^ceil(log2 t) / 2^(b-1) signed, / 2^b unsigned;  out = s clamp(R(u), n, p),  u = v / s
    dv = g 1{n <= R(u) <= p}                                  (inside by the rounded value)
    d log2 t = s ln 2 sum g (R(u) - u inside; n below; p above)

The parameter is log2 t; the paper trains it by Adam at 0.01. t starts at max|w| (`init="three_sigma"`: three
deviations) for weights, at the 99.99 percentile of |x| for activations. t is frozen when its log2 stayed
between the same two integers for 1000 training steps.
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
from bitjoule.quant.uniform import Bounds, grid_, pass_inside, quotient, scale_axis, sum_product

__all__ = ["LearnedThreshold", "TqtQuantizer"]

STEPS_TO_FREEZE = 1000
PERCENTILE = 0.9999


class LearnedThreshold(torch.autograd.Function):
    """The formulas above for one log2 t, or one per channel; `top` is 2^(b-1) or 2^b."""

    @staticmethod
    def forward(ctx: Any, v: Tensor, log2_t: Tensor, bounds: Bounds, top: float, axis: int) -> Tensor:
        ctx.bounds, ctx.top, ctx.axis = bounds, top, axis
        ctx.save_for_backward(v, log2_t)
        s = scale_axis(power_of_two(log2_t, top), v.dim(), axis)
        u = quotient(v, s)
        return grid_(u, bounds.low, bounds.high).mul_(s).to(v.dtype)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor | None, None, None, None]:
        v, log2_t = ctx.saved_tensors
        bounds: Bounds = ctx.bounds
        scale = power_of_two(log2_t, ctx.top)
        u = quotient(v, scale_axis(scale, v.dim(), ctx.axis))
        g = g.to(u.dtype)
        q = u.round()
        dv = pass_inside(g, q, bounds.outer(u.dtype))
        slope = None
        if ctx.needs_input_grad[1]:
            level = q.clamp(bounds.low, bounds.high)
            inside = sum_product(dv, q - u.clamp_(bounds.low - 1, bounds.high + 1), log2_t, ctx.axis)
            outside = sum_product(g - dv, level, log2_t, ctx.axis)
            slope = ((inside + outside) * scale * math.log(2)).to(log2_t.dtype)
        return dv.to(v.dtype), slope, None, None, None


def power_of_two(log2_t: Tensor, top: float) -> Tensor:
    """2^ceil(log2_t) / top, exact, kept among the normal float32.

    >>> power_of_two(torch.tensor(-0.3), 8.0).item()
    0.125
    """
    exponent = (log2_t.detach().double().ceil() - math.log2(top)).clamp(-126, 127)
    return torch.exp2(exponent).to(torch.promote_types(log2_t.dtype, torch.float32))


class TqtQuantizer(FakeQuantizer):
    """Power-of-two scales learned through their threshold: products are pure shifts.

    >>> from bitjoule.formats import parse_tensor_format
    >>> from bitjoule.quant import QuantizerConfig
    >>> q = TqtQuantizer(parse_tensor_format("INT4*pot"), QuantizerConfig("tqt"), "weight", name="fc")
    >>> q.initialize(torch.tensor([0.3, -0.7])); q.scale_now().item()
    0.125
    """

    method = "tqt"
    trains = (
        "INT2 to INT16 (also _NARROW), UINT1 to UINT16 and TERNARY with *pot scales, "
        "weights per tensor or channel"
    )

    bin: Tensor
    stayed: Tensor
    frozen: Tensor
    held: Tensor

    def setup(self) -> None:
        fmt = self.tensor_format.format
        self.bounds = Bounds.of(fmt.min_level, fmt.max_level)
        self.top = 2.0 ** (fmt.bits - 1 if fmt.signed else fmt.bits)
        self.log2_t = nn.Parameter(torch.zeros(self.scale_shape), requires_grad=self.config.learn_scale)
        self.register_buffer("bin", torch.zeros(self.scale_shape))
        self.register_buffer("stayed", torch.zeros(self.scale_shape))
        self.register_buffer("frozen", torch.zeros(self.scale_shape, dtype=torch.bool))
        self.register_buffer("held", torch.zeros(self.scale_shape))

    @classmethod
    def accepts(cls, tensor_format: TensorFormat, role: Role) -> bool:
        scaling = tensor_format.scaling
        fits = scaling.kind == "pot" and not scaling.zero_point
        return fits and uniform(tensor_format) and granular(tensor_format, role)

    def start(self, x: Tensor) -> None:
        threshold = self.positive_or_one(self._threshold(x.to(self.log2_t.dtype)) / self.top)
        self.log2_t.copy_(threshold.double().log2() + math.log2(self.top))
        self.bin.copy_(self.log2_t.ceil())

    def _threshold(self, x: Tensor) -> Tensor:
        if x.numel() == 0:
            return torch.zeros_like(self.log2_t)
        if self.role == "activation":
            magnitudes = x.abs().flatten() if self.tensor_format.format.signed else x.clamp(min=0).flatten()
            rank = max(1, math.ceil(PERCENTILE * magnitudes.numel()))
            return magnitudes.kthvalue(rank).values
        rows = (
            x.movedim(self.axis, 0).reshape(x.shape[self.axis], -1) if self.scale_shape else x.reshape(1, -1)
        )
        found = rows.abs().amax(1)
        if self.config.init == "three_sigma":
            found = torch.minimum(found, 3 * rows.std(1, correction=0))
        return found.view(self.scale_shape)

    def quantize(self, x: Tensor) -> Tensor:
        if self.training and torch.is_grad_enabled() and self.config.learn_scale:
            self._count()
        return LearnedThreshold.apply(x, self._used(), self.bounds, self.top, self.axis)  # type: ignore[no-any-return, no-untyped-call]

    def _used(self) -> Tensor:
        return torch.where(self.frozen, self.held, self.log2_t)

    @torch.no_grad()
    def _count(self) -> None:
        log2_t = self.log2_t.detach()
        now = log2_t.ceil()
        self.stayed.copy_(torch.where(now == self.bin, self.stayed + 1, torch.zeros_like(self.stayed)))
        self.bin.copy_(now)
        new = (self.stayed >= STEPS_TO_FREEZE) & ~self.frozen
        self.held.copy_(torch.where(new, log2_t, self.held))
        self.frozen.logical_or_(new)

    def scale_now(self) -> Tensor:
        return power_of_two(self._used(), self.top)
