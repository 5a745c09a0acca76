"""Pseudo-gradients of the sign: what is put in the place of d sign(x) / dx.

identity   1
clipped    1{|x| <= 1}                               (Hubara et al. 2016; larq `ste_sign`)
approx     max(0, 2 - 2|x|)                          (Bi-Real, Liu et al. 2018, arXiv 1808.00278)
swish      b (2 - b x tanh(b x / 2)) / (1 + cosh(b x)), b = 5   (BNN+, arXiv 1812.11800; larq `SwishSign`)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

__all__ = ["SIGN_GRADIENTS", "approx", "clipped", "identity", "swish"]

SWISH_BETA = 5.0
LARGEST_EXPONENT = 30.0
"""cosh overflows float32 above 89; from 30 on the gradient is below 1e-10."""


def identity(x: Tensor) -> Tensor:
    """1 everywhere."""
    return torch.ones_like(x)


def clipped(x: Tensor) -> Tensor:
    """1 for |x| <= 1, else 0."""
    return (x.abs() <= 1).to(x.dtype)


def approx(x: Tensor) -> Tensor:
    """max(0, 2 - 2|x|): the derivative of a piecewise quadratic approximation."""
    return x.abs().mul_(-2).add_(2).clamp_(min=0)


def swish(x: Tensor) -> Tensor:
    """The derivative of 2 s(bx) (1 + bx (1 - s(bx))) - 1, s the logistic function, b = 5."""
    bx = (SWISH_BETA * x).clamp_(-LARGEST_EXPONENT, LARGEST_EXPONENT)
    return SWISH_BETA * (2 - bx * torch.tanh(bx / 2)) / (1 + torch.cosh(bx))


SIGN_GRADIENTS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "identity": identity,
    "clipped": clipped,
    "approx": approx,
    "swish": swish,
}
"""By the name a QuantizerConfig uses."""
