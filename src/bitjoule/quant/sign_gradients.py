"""Pseudo-gradients of the sign: what is put in the place of d sign(x) / dx.

identity   1
clipped    1{|x| <= 1}                               (Hubara et al. 2016; larq `ste_sign`)
approx     max(0, 2 - 2|x|)                          (Bi-Real, Liu et al. 2018, arXiv 1808.00278)
swish      b (2 - b x tanh(b x / 2)) / (1 + cosh(b x)), b = 5   (BNN+, arXiv 1812.11800; larq `SwishSign`)
eda        k t (1 - tanh(t x)^2), k = max(1/t, 1), t from 0.1 to 10 over the training (IR-Net, Qin et al.
           2020, arXiv 1909.10788; both ends assumed)

`bounded` makes any of them 0 beyond a limit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

__all__ = [
    "FIRST_SHARPNESS",
    "SIGN_GRADIENTS",
    "approx",
    "bounded",
    "clipped",
    "eda",
    "identity",
    "sharpness",
    "swish",
]

SWISH_BETA = 5.0
LARGEST_EXPONENT = 30.0
"""cosh overflows float32 above 89; from 30 on the gradient is below 1e-10."""

FIRST_SHARPNESS = 0.1
LAST_SHARPNESS = 10.0


def identity(x: Tensor) -> Tensor:
    """1 everywhere."""
    return torch.ones_like(x)


def clipped(x: Tensor, limit: float = 1.0) -> Tensor:
    """1 for |x| <= limit, else 0."""
    return (x.abs() <= limit).to(x.dtype)


def approx(x: Tensor) -> Tensor:
    """max(0, 2 - 2|x|): the derivative of a piecewise quadratic approximation."""
    return x.abs().mul_(-2).add_(2).clamp_(min=0)


def swish(x: Tensor) -> Tensor:
    """The derivative of 2 s(bx) (1 + bx (1 - s(bx))) - 1, s the logistic function, b = 5."""
    bx = (SWISH_BETA * x).clamp_(-LARGEST_EXPONENT, LARGEST_EXPONENT)
    return SWISH_BETA * (2 - bx * torch.tanh(bx / 2)) / (1 + torch.cosh(bx))


def sharpness(progress: float) -> float:
    """t of `eda` after a share `progress` of the training, 0..1: t0 (t1 / t0)^progress.

    >>> sharpness(0.0), sharpness(0.5), sharpness(1.0)
    (0.1, 1.0, 10.0)
    """
    return float(FIRST_SHARPNESS * (LAST_SHARPNESS / FIRST_SHARPNESS) ** progress)


def eda(x: Tensor, t: Tensor | float = FIRST_SHARPNESS) -> Tensor:
    """Error decay: nearly the identity for small t, the derivative of a steep tanh for large t."""
    t = torch.as_tensor(t, dtype=x.dtype, device=x.device)
    return (1 / t).clamp_min(1) * t * (1 - torch.tanh(t * x).square())


def bounded(gradient: Tensor, x: Tensor, limit: float) -> Tensor:
    """`gradient` for |x| <= limit, else 0."""
    return gradient * clipped(x, limit)


SIGN_GRADIENTS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "identity": identity,
    "clipped": clipped,
    "approx": approx,
    "swish": swish,
    "eda": eda,
}
"""By the name a QuantizerConfig uses."""
