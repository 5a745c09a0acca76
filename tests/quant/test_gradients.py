"""Forward values and gradients of every method: golden vectors, autograd compositions, finite differences.

Vectors: spec training.md 1.1 and 1.2 (v, g below), each checked there against autograd.
"""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bitjoule.quant.binary import Sign
from bitjoule.quant.dorefa import MidriseRounding, UnitClip
from bitjoule.quant.lsq import LearnedStep
from bitjoule.quant.moons import MoonsRounding, MoonsSign
from bitjoule.quant.pact import LearnedClip
from bitjoule.quant.sign_gradients import SIGN_GRADIENTS
from bitjoule.quant.ste import StraightThrough
from bitjoule.quant.uniform import Bounds
from tests.quant import composition

V = (-1.3, -0.9, -0.55, -0.2, 0.05, 0.31, 0.62, 0.8, 2.0)
G = (1.0, -1.0, 0.5, 2.0, 1.0, -0.5, 1.0, 0.25, 1.0)


def tensor(values) -> Tensor:
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


def close(found: Tensor, wanted, tolerance: float = 1e-9) -> None:
    torch.testing.assert_close(
        found.detach(), torch.tensor(wanted, dtype=torch.float64), rtol=tolerance, atol=tolerance
    )


def test_lsq_vector():
    v, s = tensor(V), tensor(0.25)
    out = LearnedStep.apply(v, s, Bounds.of(-4, 3), 1.0, 0)
    out.backward(torch.tensor(G, dtype=torch.float64))
    close(out, [-1, -1, -0.5, -0.25, 0, 0.25, 0.5, 0.75, 0.75])
    close(v.grad, [0, -1, 0.5, 2, 1, -0.5, 1, 0, 0])
    close(s.grad, -0.71)


def test_lsq_factor_scales_the_step_gradient_only():
    v, s = tensor(V), tensor(0.25)
    factor = 1 / math.sqrt(9 * 3)
    LearnedStep.apply(v, s, Bounds.of(-4, 3), factor, 0).backward(torch.tensor(G, dtype=torch.float64))
    close(s.grad, -0.71 * factor)
    close(v.grad, [0, -1, 0.5, 2, 1, -0.5, 1, 0, 0])


def test_pact_vector():
    x, a = tensor(V), tensor(1.5)
    out = LearnedClip.apply(x, a, 3.0)
    out.backward(torch.tensor(G, dtype=torch.float64))
    close(out, [0, 0, 0, 0, 0, 0.5, 0.5, 1, 1.5])
    close(a.grad, 1.0)
    close(x.grad, [0, 0, 0, 0, 1, -0.5, 1, 0.25, 0])


def test_pact_mask_is_open_at_the_clip_and_closed_at_zero():
    below = math.nextafter(1.7, 0)
    x, a = tensor([0.0, below, 1.7]), tensor(1.7)
    LearnedClip.apply(x, a, 15.0).sum().backward()
    close(x.grad, [1, 1, 0])
    close(a.grad, 1.0)


@pytest.mark.parametrize(("x", "dx", "da"), [(-math.inf, 0, 0), (math.inf, 0, 2), (-1e30, 0, 0)])
def test_pact_at_infinity_moves_the_clip_only_from_above(x, dx, da):
    v, a = tensor([x]), tensor(1.5)
    LearnedClip.apply(v, a, 3.0).backward(torch.tensor([2.0], dtype=torch.float64))
    close(v.grad, [dx])
    close(a.grad, da)


def test_dorefa_vector():
    v = torch.tensor(V)
    t = torch.tanh(v)
    out = MidriseRounding.apply(t / t.abs().max(), torch.tensor(1 / 3), 3.0)
    torch.testing.assert_close(out, torch.tensor([-3, -3, -1, -1, 1, 1, 1, 3, 3]) / 3)


SIGN_X = (-1.5, -1, -0.5, 0, 0.25, 0.75, 1.2)
SIGN_WANTED = {
    "identity": (1, 1, 1, 1, 1, 1, 1),
    "clipped": (0, 1, 1, 1, 1, 1, 0),
    "approx": (0, 0, 1, 2, 1.5, 0.5, 0),
    "swish": (-0.03034, -0.194992, -0.084622, 5, 2.262047, -0.354178, -0.097929),
    "eda": (0.977833, 0.990066, 0.997504, 1, 0.999375, 0.994396, 0.985737),  # t = 0.1
}


@pytest.mark.parametrize("name", SIGN_GRADIENTS)
def test_sign_gradients(name):
    x = tensor(SIGN_X)
    Sign.apply(x, torch.ones((), dtype=torch.float64), 0, name).sum().backward()
    torch.testing.assert_close(
        x.grad, torch.tensor(SIGN_WANTED[name], dtype=torch.float64), rtol=0, atol=6e-7
    )
    direct = SIGN_GRADIENTS[name](torch.tensor(SIGN_X, dtype=torch.float64))
    torch.testing.assert_close(x.grad, direct, rtol=0, atol=0)


def test_swish_is_the_derivative_of_its_curve_and_does_not_overflow():
    def curve(x: Tensor) -> Tensor:
        b = 5 * x
        return 2 * torch.sigmoid(b) * (1 + b * (1 - torch.sigmoid(b))) - 1

    x = torch.linspace(-3, 3, 61, dtype=torch.float64)
    step = 1e-6
    numeric = (curve(x + step) - curve(x - step)) / (2 * step)
    torch.testing.assert_close(SIGN_GRADIENTS["swish"](x), numeric, rtol=1e-6, atol=1e-8)
    assert torch.isfinite(SIGN_GRADIENTS["swish"](torch.tensor([-1e30, 1e30]))).all()


def test_sign_scale_and_forward():
    x = torch.tensor([[-0.5, 0.0], [-0.0, 2.0]])
    out = Sign.apply(x, torch.tensor([2.0, 3.0]), 0, "clipped")
    assert out.tolist() == [[-2, 2], [3, 3]]


@pytest.mark.parametrize(
    ("bits", "low", "high"), [(2, -1.25, 0.75), (4, -1.0625, 0.9375), (8, -1.0039, 0.9961)]
)
def test_moons_keras_passes_inside_the_rounded_clip(bits, low, high):
    m = 2 ** (bits - 1)
    low, high = -(m + 0.5) / m if bits == 8 else low, (m - 0.5) / m if bits == 8 else high
    eps = 1e-4
    x = tensor([low - eps, low, low + eps, 0.0, high - eps, high + eps])
    MoonsRounding.apply(x, float(m), Bounds.of(-m, m - 1), False).sum().backward()
    assert x.grad.tolist() == [0, 1, 1, 1, 1, 0]  # at `low` half-even rounds inwards


def test_moons_relu_keras_interval_of_four_bits():
    x = tensor([-0.0626, -0.0624, 0.0, 0.9374, 0.9376])
    MoonsRounding.apply(x, 8.0, Bounds.of(0, 7), False).sum().backward()
    assert x.grad.tolist() == [0, 1, 1, 1, 0]


def test_moons_paper_passes_up_to_one_inclusive():
    above = math.nextafter(1, 2)
    x = tensor([-above, -1.0, 0.99, 1.0, above])
    MoonsRounding.apply(x, 8.0, Bounds.of(-8, 7), True).sum().backward()
    assert x.grad.tolist() == [0, 1, 1, 1, 0]
    x = tensor([-above, -1.0, 0.0, 1.0, above])
    out = MoonsSign.apply(x)
    out.sum().backward()
    assert out.tolist() == [-1, -1, -1, 1, 1]
    assert x.grad.tolist() == [0, 1, 1, 1, 0]


def test_masks_are_inclusive_in_float32_to_the_last_bit():
    scale = torch.tensor(0.25)
    edge = torch.tensor([7 * 0.25, -8 * 0.25])
    x = torch.cat([edge, torch.nextafter(edge, edge * 2)]).requires_grad_()
    LearnedStep.apply(x, scale, Bounds.of(-8, 7), 1.0, 0).sum().backward()
    assert x.grad.tolist() == [1, 1, 0, 0]


numbers = st.floats(-4, 4, allow_nan=False, width=32)
scales = st.floats(2.0**-6, 2.0, width=32)
arrays = st.lists(numbers, min_size=8, max_size=8)


@given(arrays, arrays, scales, st.sampled_from([(-8, 7), (-7, 7), (0, 15), (0, 3), (-1, 1), (-128, 127)]))
@settings(max_examples=60, deadline=None)
def test_lsq_equals_its_composition(values, upstream, scale, bounds):
    upstream = torch.tensor(upstream, dtype=torch.float64)
    a, s = tensor(values), tensor(scale)
    b, t = tensor(values), tensor(scale)
    out = LearnedStep.apply(a, s, Bounds.of(*bounds), 0.3, 0)
    out.backward(upstream)
    wanted = composition.lsq(b, t, *bounds, factor=0.3)
    wanted.backward(upstream)
    torch.testing.assert_close(out, wanted)
    torch.testing.assert_close(a.grad, b.grad)
    torch.testing.assert_close(s.grad, t.grad, rtol=1e-9, atol=1e-9)


@given(arrays, arrays, st.lists(scales, min_size=4, max_size=4))
@settings(max_examples=30, deadline=None)
def test_lsq_per_channel_equals_its_composition(values, upstream, channel_scales):
    upstream = torch.tensor(upstream, dtype=torch.float64).view(4, 2)
    a, s = tensor(values), tensor(channel_scales)
    b, t = tensor(values), tensor(channel_scales)
    out = LearnedStep.apply(a.view(4, 2), s, Bounds.of(-8, 7), 1.0, 0)
    out.backward(upstream)
    wanted = composition.lsq(b.view(4, 2), t[:, None], -8, 7)
    wanted.backward(upstream)
    torch.testing.assert_close(out, wanted)
    torch.testing.assert_close(a.grad, b.grad)
    torch.testing.assert_close(s.grad, t.grad, rtol=1e-9, atol=1e-9)


hundredths = st.lists(st.integers(-400, 400).map(lambda i: i / 100), min_size=8, max_size=8)


@given(hundredths, arrays, scales, st.sampled_from([0, 3, 15]))
@settings(max_examples=40, deadline=None)
def test_ste_equals_its_composition(values, upstream, scale, zero_point):
    upstream = torch.tensor(upstream, dtype=torch.float64)
    a, b, s = tensor(values), tensor(values), torch.tensor(scale, dtype=torch.float64)
    out = StraightThrough.apply(a, s, torch.tensor(float(zero_point)), Bounds.of(0, 15), 0)
    out.backward(upstream)
    wanted = composition.ste(b, s, 0, 15, zero_point)
    wanted.backward(upstream)
    torch.testing.assert_close(out, wanted)
    torch.testing.assert_close(a.grad, b.grad)


@given(arrays, arrays, scales)
@settings(max_examples=40, deadline=None)
def test_pact_equals_its_composition(values, upstream, clip):
    upstream = torch.tensor(upstream, dtype=torch.float64)
    a, s, b, t = tensor(values), tensor(clip), tensor(values), tensor(clip)
    LearnedClip.apply(a, s, 15.0).backward(upstream)
    composition.pact(b, t, 15.0).backward(upstream)
    torch.testing.assert_close(a.grad, b.grad)
    torch.testing.assert_close(s.grad, t.grad)


@given(arrays.filter(lambda values: len(set(map(abs, values))) == 8), arrays, st.integers(2, 6))
@settings(max_examples=40, deadline=None)
def test_dorefa_gradient_goes_through_tanh_and_the_maximum(values, upstream, k):
    upstream = torch.tensor(upstream, dtype=torch.float64)
    a, b = tensor(values), tensor(values)
    t = torch.tanh(a)
    top = 2**k - 1
    MidriseRounding.apply(
        t / t.abs().amax(), torch.tensor(1 / top, dtype=torch.float64), float(top)
    ).backward(upstream)
    composition.dorefa(b, k).backward(upstream)
    torch.testing.assert_close(a.grad, b.grad, rtol=1e-8, atol=1e-9)


def test_dorefa_activation_passes_on_the_closed_unit_interval():
    x = tensor([-1e-9, 0.0, 0.5, 1.0, math.nextafter(1, 2)])
    UnitClip.apply(x, torch.tensor(1 / 15), 15.0).sum().backward()
    assert x.grad.tolist() == [0, 1, 1, 1, 0]


def test_straight_through_of_smooth_parts_by_finite_differences():
    """d out / d s of LSQ with q held: numeric slope of s * q outside the range, where q does not move."""
    v, s, h = torch.tensor([5.0, -5.0], dtype=torch.float64), 0.25, 1e-6
    out = [
        LearnedStep.apply(v, torch.tensor(s + d, dtype=torch.float64), Bounds.of(-4, 3), 1.0, 0)
        for d in (h, -h)
    ]
    numeric = ((out[0] - out[1]) / (2 * h)).sum()
    scale = tensor(s)
    LearnedStep.apply(v, scale, Bounds.of(-4, 3), 1.0, 0).sum().backward()
    torch.testing.assert_close(scale.grad, numeric, rtol=1e-6, atol=1e-8)
