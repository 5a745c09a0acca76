"""PReLU and its two-sloped kin, with a fast backward pass on processors.

    y = a_k min(x, 0) + b_k max(x, 0),  dx = g a_k or g b_k,  da_k = sum g min(x, 0),  db_k = sum g max(x, 0)

b = 1 is PReLU (He et al. 2015), b learned is DPReLU (PokeBNN). torch's own kernel of the backward pass goes
element by element on a processor and costs there as much as a convolution; these are whole passes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["DPReLU", "PReLU", "TwoSlopes"]

INFINITE = float("inf")
BELOW_ZERO = -(2.0**-149)
"""The largest float32 below 0: an exclusive bound that lets 0 in."""


class TwoSlopes(torch.autograd.Function):
    """The formulas above; `b` None is 1. At 0 the slope is a for PReLU, as in torch, and b for DPReLU."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, a: Tensor, b: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, a, b)
        if b is None:
            return torch.prelu(x, a)
        return x.clamp_min(0).mul_(_per_channel(b, x)).addcmul_(x.clamp_max(0), _per_channel(a, x))

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        x, a, b = ctx.saved_tensors
        above = torch.ops.aten.hardtanh_backward(g, x, 0.0 if b is None else BELOW_ZERO, INFINITE)
        below = g - above
        db = None
        if b is not None:
            db = _sum_per_channel(above * x) if ctx.needs_input_grad[2] else None
            above.mul_(_per_channel(b, x))
        dx = above.addcmul_(below, _per_channel(a, x))
        return dx, _sum_per_channel(below.mul_(x)) if ctx.needs_input_grad[1] else None, db


def _per_channel(slope: Tensor, x: Tensor) -> Tensor:
    return slope.view([-1 if i == 1 else 1 for i in range(x.dim())])


def _sum_per_channel(products: Tensor) -> Tensor:
    return products.sum([i for i in range(products.dim()) if i != 1])


class PReLU(nn.PReLU):
    """nn.PReLU with a slope per channel; same values and gradients, another way to them on processors.

    >>> PReLU(1)(torch.tensor([[-4.0], [4.0]])).tolist()
    [[-1.0], [4.0]]
    """

    def forward(self, input: Tensor) -> Tensor:
        if input.device.type != "cpu" or self.num_parameters == 1:
            return F.prelu(input, self.weight)
        return TwoSlopes.apply(input, self.weight.to(input.dtype), None)  # type: ignore[no-any-return, no-untyped-call]


class DPReLU(nn.Module):
    """Slope `weight` below 0 and `positive` from 0 on, per channel; 0.25 and 1 at the start (PokeBNN).

    >>> DPReLU(1)(torch.tensor([[-4.0], [4.0]])).tolist()
    [[-1.0], [4.0]]
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((channels,), 0.25))
        self.positive = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.weight.to(x.dtype), self.positive.to(x.dtype)
        return TwoSlopes.apply(x, a, b)  # type: ignore[no-any-return, no-untyped-call]
