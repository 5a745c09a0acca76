"""LSQ+, TQT, APoT, DeepShift and normalised binary weights: golden vectors and autograd compositions.

Vectors: spec training.md 1.1 to 1.3.
"""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bitjoule.formats import parse_format, parse_tensor_format
from bitjoule.quant import METHODS, QuantizerConfig
from bitjoule.quant.apot import ReparametrisedClip
from bitjoule.quant.binary import Sign
from bitjoule.quant.deepshift import SignedShift
from bitjoule.quant.level_set import LevelSet
from bitjoule.quant.lsq_plus import LearnedStepAndOffset
from bitjoule.quant.sign_gradients import SIGN_GRADIENTS, eda, sharpness
from bitjoule.quant.tqt import LearnedThreshold
from bitjoule.quant.uniform import Bounds
from tests.quant import composition
from tests.quant.test_gradients import SIGN_X, G, V, arrays, close, scales, tensor

UPSTREAM = torch.tensor(G, dtype=torch.float64)


def test_lsq_plus_vector():
    x, s, b = tensor(V), tensor(0.2), tensor(-0.5)
    out = LearnedStepAndOffset.apply(x, s, b, None, Bounds.of(0, 7), 1.0)
    out.backward(UPSTREAM)
    close(out, [-0.5, -0.5, -0.5, -0.3, 0.1, 0.3, 0.7, 0.7, 0.9])
    close(x.grad, [0, 0, 0, 2, 1, -0.5, 1, 0.25, 0])
    close(s.grad, 6.55)
    close(b.grad, 1.5)


def test_tqt_vector():
    v, log2_t = tensor(V), tensor(-0.3)
    out = LearnedThreshold.apply(v, log2_t, Bounds.of(-8, 7), 8.0, 0)
    out.backward(UPSTREAM)
    close(out, [-1, -0.875, -0.5, -0.25, 0, 0.25, 0.625, 0.75, 0.875])
    close(v.grad, [0, -1, 0.5, 2, 1, -0.5, 1, 0.25, 0])
    close(log2_t.grad, -0.175019663, 1e-8)


def test_apot_vector():
    v, a = tensor(V), tensor(1.5)
    out = ReparametrisedClip.apply(v, a, LevelSet(parse_format("APOT4")), True)
    out.backward(UPSTREAM)
    close(out, [-1.2, -0.9, -0.6, -0.15, 0, 0.3, 0.6, 0.9, 1.5])
    close(v.grad, G)
    close(a.grad, 1.09)


def test_apot_activation_is_masked_beyond_the_clip():
    x, a = tensor([0.0, 0.5, 2.0, math.nextafter(2, 3), 9.0]), tensor(2.0)
    out = ReparametrisedClip.apply(x, a, LevelSet(parse_format("UAPOT2")), False)
    out.sum().backward()
    close(out, [0, 0.5, 2, 2, 2])
    close(x.grad, [1, 1, 1, 0, 0])
    close(a.grad, 2.0)


@given(arrays, arrays, scales, st.floats(-2, 2), st.sampled_from([(0, 15), (-8, 7), (0, 3)]))
@settings(max_examples=40, deadline=None)
def test_lsq_plus_equals_its_composition(values, upstream, scale, offset, bounds):
    upstream = torch.tensor(upstream, dtype=torch.float64)
    one, two = ([tensor(values), tensor(scale), tensor(offset)] for _ in range(2))
    LearnedStepAndOffset.apply(*one, None, Bounds.of(*bounds), 1.0).backward(upstream)
    composition.lsq_plus(*two, *bounds).backward(upstream)
    for a, b in zip(one, two, strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-9, atol=1e-9)


@given(arrays, arrays, st.floats(-3, 3), st.sampled_from([(-8, 7, 8), (-7, 7, 8), (0, 15, 16)]))
@settings(max_examples=40, deadline=None)
def test_tqt_equals_its_composition(values, upstream, log2_t, bounds):
    low, high, top = bounds
    upstream = torch.tensor(upstream, dtype=torch.float64)
    one, two = ([tensor(values), tensor(log2_t)] for _ in range(2))
    LearnedThreshold.apply(*one, Bounds.of(low, high), float(top), 0).backward(upstream)
    composition.tqt(*two, low, high, float(top)).backward(upstream)
    for a, b in zip(one, two, strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-9, atol=1e-9)


def test_apot_weights_equal_their_composition():
    fmt = parse_format("APOT4")
    levels = torch.from_numpy(fmt.levels() / fmt.max_level)
    generator = torch.Generator().manual_seed(1)
    w = torch.randn(4, 3, 3, 3, dtype=torch.float64, generator=generator)
    g = torch.randn(w.shape, dtype=torch.float64, generator=generator)
    q = METHODS["apot"](parse_tensor_format("APOT4"), QuantizerConfig("apot"), "weight", name="x")
    q.double().initialize(w)
    with torch.no_grad():
        q.clip.fill_(1.7)
    v, u, a = w.clone().requires_grad_(), w.clone().requires_grad_(), tensor(1.7)
    out, wanted = q(v), composition.apot_weight(u, a, levels)
    torch.testing.assert_close(out, wanted)
    out.backward(g)
    wanted.backward(g)
    torch.testing.assert_close(v.grad, u.grad)
    torch.testing.assert_close(q.clip.grad, a.grad)


@pytest.mark.parametrize("how", ["xnor", "libra"])
def test_normalised_binary_weights_equal_their_composition(how):
    generator = torch.Generator().manual_seed(2)
    w = torch.randn(4, 3, 3, 3, dtype=torch.float64, generator=generator)
    g = torch.randn(w.shape, dtype=torch.float64, generator=generator)
    config = QuantizerConfig("binary", normalize=how)
    q = METHODS["binary"](parse_tensor_format("BIPOLAR/channel"), config, "weight", name="x", channels=4)
    q.double().initialize(w)
    v, u = w.clone().requires_grad_(), w.clone().requires_grad_()
    out, wanted = q.train()(v), getattr(composition, how)(u)
    torch.testing.assert_close(out, wanted)
    out.backward(g)
    wanted.backward(g)
    torch.testing.assert_close(v.grad, u.grad)


def test_eda_sharpens():
    x = torch.tensor(SIGN_X, dtype=torch.float64)
    wanted = torch.tensor([0, 0, 0.001816, 10, 0.265922, 0.000012, 0], dtype=torch.float64)
    torch.testing.assert_close(eda(x, 10.0), wanted, rtol=0, atol=6e-7)
    assert (sharpness(0), sharpness(0.5), sharpness(1)) == pytest.approx((0.1, 1, 10))
    q = METHODS["binary"](
        parse_tensor_format("BIPOLAR"), QuantizerConfig("binary", gradient="eda"), "activation", name="x"
    )
    assert q.follows_training
    q.begin_epoch(5, 10, None)
    y = torch.tensor(SIGN_X, requires_grad=True)
    q(y).sum().backward()
    torch.testing.assert_close(y.grad, eda(y.detach(), 1.0))


@pytest.mark.parametrize("name", SIGN_GRADIENTS)
def test_bounded_gradients_are_zero_beyond(name):
    x = tensor(SIGN_X)
    Sign.apply(x, torch.ones((), dtype=torch.float64), 0, name, 0.6).sum().backward()
    free = SIGN_GRADIENTS[name](x.detach())
    if name == "clipped":
        free = torch.ones_like(free)
    torch.testing.assert_close(x.grad, torch.where(x.detach().abs() <= 0.6, free, 0.0))


def test_shift_and_sign_are_trained():
    shift, sign, g = tensor([-0.4, -1.6, -9.0, 3.0]), tensor([0.8, -2.0, 1.0, 0.2]), tensor([1.0, 2, 3, 4])
    out = SignedShift.apply(shift, sign, -6.0)
    out.backward(g.detach())
    close(out, [1, -0.25, 2.0**-6, 0])
    close(shift.grad, [math.log(2), -0.5 * math.log(2), 3 / 64 * math.log(2), 0])
    close(sign.grad, [1, 2, 3, 4])
