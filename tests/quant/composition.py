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


def lsq_plus(x: Tensor, s: Tensor, b: Tensor, low: float, high: float) -> Tensor:
    """Bhalgat 2020, equation 2."""
    u = torch.clamp((x - b) / s, low, high)
    return straight(u, u.round()) * s + b


def tqt(v: Tensor, log2_t: Tensor, low: float, high: float, top: float) -> Tensor:
    """Jain 2020, equations 4 to 8: round and ceil straight through, the clamp after rounding."""
    s = 2.0 ** straight(log2_t, log2_t.ceil()) / top
    u = v / s
    return torch.clamp(straight(u, u.round()), low, high) * s


def apot_weight(w: Tensor, a: Tensor, levels: Tensor) -> Tensor:
    """Li 2020: weight normalisation, then levels (positive and negative, at most 1) under the clip; by
    distance to every level. The gradient of w passes everywhere, as in the public code.
    """
    normal = (w - w.mean()) / w.std()
    u = normal / a.detach()
    nearest = levels[(u.clamp(-1, 1)[..., None] - levels).abs().argmin(-1)]
    clip_part = torch.where(u.detach().abs() > 1, u.detach().sign(), nearest - u.detach())
    return straight(normal, nearest * a.detach()) + straight(clip_part * a, torch.zeros_like(u))


def xnor(w: Tensor) -> Tensor:
    """jiecaoyu/XNOR-Net-PyTorch: centred over the input channels, clamped; the scale has its gradient."""
    centred = (w - w.mean(1, keepdim=True)).clamp(-1, 1)
    a = centred.abs().mean([1, 2, 3], keepdim=True)
    ones = torch.where(centred >= 0, 1.0, -1.0).to(w)
    return straight(centred, ones) * a


def libra(w: Tensor) -> Tensor:
    """htqin/IR-Net, binary weights."""
    rows = w.view(w.shape[0], -1)
    rows = (rows - rows.mean(1, keepdim=True)) / rows.std(1, keepdim=True)
    power = torch.pow(2, rows.abs().mean(1, keepdim=True).log2().round()).detach()
    ones = torch.where(rows >= 0, 1.0, -1.0).to(w)
    hard = torch.nn.functional.hardtanh(rows)
    return (straight(hard, ones) * power).view_as(w)
