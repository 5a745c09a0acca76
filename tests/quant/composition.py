"""The quantizers composed from autograd primitives in float64: slow, obvious, independent of the
Functions.
"""

import torch
from torch import Tensor


def straight(x: Tensor, value: Tensor) -> Tensor:
    """`value` forward, the identity of `x` backward."""
    return x + (value - x).detach()


def lsq(v: Tensor, s: Tensor, low: float, high: float, factor: float = 1.0) -> Tensor:
    """Esser 2020, the pseudo-code of its appendix: gradscale, clamp, roundpass."""
    s = (s * factor) + (s - s * factor).detach()
    u = torch.clamp(v / s, low, high)
    return straight(u, u.round()) * s


def ste(v: Tensor, s: Tensor, low: float, high: float, zero_point: float = 0.0) -> Tensor:
    u = torch.clamp(v / s, low - zero_point, high - zero_point)
    return straight(u, u.round()) * s


def pact(x: Tensor, a: Tensor, top: float) -> Tensor:
    """Choi 2018, equation 1 as written there, with sign(0) arranged so that x = a belongs to the clip."""
    y = torch.where(x < 0, torch.zeros_like(x), torch.where(x >= a, a.expand_as(x), x))
    return straight(y, (y * (top / a)).round().detach() * (a / top).detach())


def dorefa(w: Tensor, k: int) -> Tensor:
    """Zhou 2016, equation 9."""
    n = 2**k - 1
    t = torch.tanh(w)
    m = t / (2 * t.abs().max()) + 0.5
    return 2 * straight(m, (m * n).round() / n) - 1
