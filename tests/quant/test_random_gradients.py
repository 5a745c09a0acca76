"""Gradients on random tensors, layouts and axes against formulas written out: what `test_gradients.py` and
`test_learned_gradients.py` have no composition of.
"""

import math

import pytest
import torch

from bitjoule.formats import parse_tensor_format
from bitjoule.quant import METHODS, QuantizerConfig

SEEDS = range(4)


def tensors(seed):
    """x and the gradient from above, in float64; x in either layout."""
    generator = torch.Generator().manual_seed(seed)
    shape = [(4, 3, 3, 3), (6, 5), (2, 8, 4, 4), (3, 4, 2, 2)][seed % 4]
    x = torch.randn(shape, generator=generator, dtype=torch.float64) * [0.3, 1.0, 3.0][seed % 3]
    if seed % 2 and x.dim() == 4:
        x = x.contiguous(memory_format=torch.channels_last)
    return x.requires_grad_(), torch.randn(shape, generator=generator, dtype=torch.float64)


def made(method, text, role, x, axis=0, **settings):
    config = QuantizerConfig(method, **settings)
    q = METHODS[method](
        parse_tensor_format(text), config, role, name="q", axis=axis, channels=x.shape[axis]
    ).double()
    q.initialize(x.detach())
    return q.train()


def along(values, x, axis):
    return values.view([-1 if i == axis else 1 for i in range(x.dim())]) if values.dim() else values


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("normalize", ["none", "center", "standardize"])
@pytest.mark.parametrize("gradient", ["identity", "clipped", "approx", "swish", "eda"])
@pytest.mark.parametrize("bound", [None, 0.7])
def test_signs(seed, normalize, gradient, bound):
    x, g = tensors(seed)
    axis, magnitude = seed % 2, seed % 3 == 0
    settings = {"gradient": gradient, "bound": bound, "normalize": normalize, "magnitude": magnitude}
    q = made("binary", "BIPOLAR/channel", "weight", x, axis, **settings)
    out = q(x)
    out.backward(g)
    y = x.detach().clone().requires_grad_()
    dims = [i for i in range(x.dim()) if i != axis]
    w = y if normalize == "none" else y - y.mean(dims, keepdim=True)
    w = w / w.std(dims, keepdim=True) if normalize == "standardize" else w
    v, t = w.detach(), float(torch.tensor(0.1))
    slope = {
        "identity": torch.ones_like(v),
        "clipped": (v.abs() <= (bound or 1)).double(),
        "approx": torch.where(v.abs() < 1, 2 - 2 * v.abs(), torch.zeros_like(v)),
        "swish": 5 * (2 - 5 * v * torch.tanh(5 * v / 2)) / (1 + torch.cosh(5 * v)),
        "eda": (1 / t) * t * (1 - torch.tanh(t * v).square()),
    }[gradient]
    if bound is not None:
        slope = slope * (v.abs() <= bound)
    (w * (slope * g)).sum().backward()
    scale = v.abs().mean(dims, keepdim=True) if magnitude else 1.0
    close(out.detach(), torch.where(v >= 0, 1.0, -1.0).double() * scale)
    torch.testing.assert_close(x.grad, y.grad, rtol=1e-7, atol=1e-8)  # swish clamps its exponent


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("text", ["UINT4+zp", "INT3+zp"])
def test_a_snapped_offset(seed, text):
    x, g = tensors(seed)
    q = made("lsq+", text, "activation", x)
    with torch.no_grad():
        q.scale.mul_(0.63)
    q.begin_epoch(9, 10, None)
    s, low, high = q.scale.detach().clone(), q.bounds.low, q.bounds.high
    z = (-q.offset.detach() / s).round().clamp(low, high)
    q(x).backward(g)
    u = x.detach() / s
    level = (u.round() + z).clamp(low, high) - z
    inside = (u + z >= low) & (u + z <= high)
    close(x.grad, g * inside)
    factor = 1 / math.sqrt(x.numel() * high)
    close(q.scale.grad, (g * torch.where(inside, level - u, level)).sum() * factor)
    assert q.offset.grad is None


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("gradient", ["identity", "clipped"])
def test_ternary_weights(seed, gradient):
    x, g = tensors(seed)
    axis = seed % 2
    out = made("twn", "TERNARY/channel", "weight", x, axis, gradient=gradient)(x)
    out.backward(g)
    w = x.detach()
    dims = [i for i in range(x.dim()) if i != axis]
    kept = (w.abs() > 0.7 * w.abs().mean(dims, keepdim=True)).double()
    scale = (w.abs() * kept).sum(dims, keepdim=True) / kept.sum(dims, keepdim=True)
    close(out.detach(), w.sign() * kept * scale)
    close(x.grad, g if gradient == "identity" else g * (w.abs() <= 1))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("text", "role"), [("APOT4", "weight"), ("APOT3/channel", "weight"), ("UAPOT4", "activation")]
)
def test_sums_of_powers_under_a_clip(seed, text, role):
    x, g = tensors(seed)
    axis = seed % 2
    q = made("apot", text, role, x, axis, **({"detach_stats": True} if role == "weight" else {}))
    with torch.no_grad():
        q.clip.mul_(0.37)
    out = q(x)
    out.backward(g)
    v = x.detach()
    n, deviation = (v, 1.0) if role == "activation" else ((v - v.mean()) / v.std(), v.std())
    a = along(q.clip.detach(), x, axis)
    levels = torch.from_numpy(q.tensor_format.format.levels()).double()
    levels = levels / levels[-1]
    u = n / a
    low = -1.0 if role == "weight" else 0.0
    nearest = levels[(u.clamp(low, 1)[..., None] - levels).abs().argmin(-1)]
    close(out.detach(), nearest * a)
    beyond = (u > 1) | (u < low)
    slope = g * torch.where(beyond, u.clamp(low, 1), nearest - u)
    dims = [i for i in range(x.dim()) if i != axis]
    close(q.clip.grad, slope.sum(dims) if q.clip.dim() else slope.sum())
    close(x.grad, g / deviation if role == "weight" else g * ~beyond)


@pytest.mark.parametrize("seed", SEEDS)
def test_shifts_and_signs(seed):
    x, g = tensors(seed)
    q = made("deepshift_ps", "POT4_DS", "weight", x)
    out = q(x)
    out.backward(g)
    expected = x.detach().sign() * 2.0 ** x.detach().abs().log2().clamp(-6, 0).round()
    close(out.detach(), expected)
    close(q.shift.grad, g * expected * math.log(2))
    close(q.sign.grad, g)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("text", ["UINT4+zp", "POT4", "FP8_E4M3", "UINT4*dyadic8", "SPOT2_5"])
def test_straight_through_inside_an_observed_range(seed, text):
    x, g = tensors(seed)
    q = made("ste", text, "weight" if text.startswith("SPOT") else "activation", x, range="minmax").eval()
    q.scale.mul_(0.5)
    out = q(x)
    out.backward(g)
    fmt, s, z = q.tensor_format.format, q.scale.numpy(), int(q.zero_point)
    code = fmt.encode(x.detach().numpy(), s, z)
    close(out.detach(), torch.as_tensor(fmt.decode(code, s, z)))
    u = x.detach() / q.scale + z
    close(x.grad, g * ((u >= fmt.min_level) & (u <= fmt.max_level)))
