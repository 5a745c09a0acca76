"""What each method does at its start and while training; golden numbers of spec training.md 1.2."""

import math

import numpy as np
import pytest
import torch

from bitjoule.formats import parse_tensor_format
from bitjoule.quant import METHODS, QuantizerConfig, QuantizerWarning, glorot_factor

EIGHT = torch.tensor([0.3, -0.2, 0.5, -0.7, 0.1, 0.0, 0.4, -0.1])


def make(method, text, role="weight", channels=1, **settings):
    return METHODS[method](
        parse_tensor_format(text), QuantizerConfig(method, **settings), role, name="x", channels=channels
    )


def test_lsq_starts_at_two_mean_magnitudes_over_root_p():
    q = make("lsq", "INT4")
    q.initialize(EIGHT)
    assert q.scale.item() == pytest.approx(0.2173295720, rel=1e-6)


def test_lsq_gradient_factor_is_one_over_root_n_p():
    q = make("lsq", "INT4")
    q.initialize(EIGHT)
    q(torch.full((8,), 100.0)).sum().backward()  # every element clips above: ds = G * 8 * 7
    assert q.scale.grad.item() == pytest.approx(8 * 7 * 0.1336306210, rel=1e-6)


def test_lsq_per_sample_counts_one_sample():
    grads = {}
    for per_sample in (False, True):
        q = make("lsq", "UINT4", "activation", per_sample=per_sample)
        x = torch.full((16, 2, 2, 2), 100.0)
        q.initialize(x / 100)
        q(x).sum().backward()
        grads[per_sample] = q.scale.grad.item()
    assert grads[True] == pytest.approx(grads[False] * 4, rel=1e-6)  # sqrt(16)


def test_lsq_scale_stays_positive_and_can_come_back():
    q = make("lsq", "INT4")
    q.initialize(EIGHT)
    with torch.no_grad():
        q.scale.fill_(-0.5)
    out = q(EIGHT)
    assert torch.isfinite(out).all()
    out.sum().backward()
    assert q.scale.grad.abs() > 0
    assert q.parameters_exported().scale == pytest.approx(1e-8)


def test_lsq_can_keep_its_first_scale():
    q = make("lsq", "INT4", learn_scale=False)
    q.initialize(EIGHT)
    x = EIGHT.clone().requires_grad_()
    q(x).sum().backward()
    assert q.scale.grad is None
    assert x.grad is not None


def test_lsq_warns_which_channels_are_empty():
    q = make("lsq", "INT4/channel", channels=2)
    with pytest.warns(
        QuantizerWarning, match=r"^x: all values are zero \(or there are none\) in 1 of 2 channels"
    ):
        q.initialize(torch.tensor([[0.0, 0.0], [1.0, 2.0]]))
    assert q.scale[0] == 1


def test_pact_starts_at_ten_and_decays():
    q = make("pact", "UINT4", "activation")
    assert q.clip.item() == 10
    assert q.decays
    assert not make("lsq", "UINT4", "activation").decays


def test_ste_moving_average_is_nine_parts_old():
    q = make("ste", "UINT8", "activation").train()
    q(torch.tensor([0.0, 255.0]))
    assert q.scale.item() == pytest.approx(1.0)
    q(torch.tensor([0.0, 510.0]))
    assert q.scale.item() == pytest.approx(1.1)
    q.eval()
    q(torch.tensor([0.0, 9999.0]))
    assert q.scale.item() == pytest.approx(1.1)


def test_ste_minmax_only_widens():
    q = make("ste", "INT8", "activation", range="minmax").train()
    for top, wanted in ((12.7, 0.1), (25.4, 0.2), (1.0, 0.2)):
        q(torch.tensor([-0.5, top]))
        assert q.scale.item() == pytest.approx(wanted)


def test_ste_weights_follow_the_weight_as_it_is():
    q = make("ste", "INT8_NARROW/channel", channels=2).train()
    q(torch.tensor([[1.27, 0.0], [0.0, -2.54]]))
    torch.testing.assert_close(q.scale, torch.tensor([0.01, 0.02]))
    q(torch.tensor([[0.127, 0.0], [0.0, -2.54]]))
    torch.testing.assert_close(q.scale, torch.tensor([0.001, 0.02]))


def test_ste_fixed_scale_represents_the_image_exactly():
    q = make("ste", "INT8", "activation", range="fixed", scale=2 / 255).eval()
    image = (torch.arange(256, dtype=torch.float32) - 128) * (2 / 255)
    assert torch.equal(q(image), image)


def test_moons_has_nothing_to_learn_and_clips_its_weights():
    q = make("moons", "MOONS4")
    assert list(q.parameters()) == []
    assert q.latent_limit == 1.0
    assert make("moons", "MOONS4_RELU", "activation").latent_limit is None
    assert make("lsq", "INT4").latent_limit is None


def test_binary_clips_its_weights_under_the_clipped_gradient_only():
    assert make("binary", "BIPOLAR").latent_limit == 1.0
    assert make("binary", "BIPOLAR", gradient="approx").latent_limit is None
    assert make("binary", "BIPOLAR", "activation").latent_limit is None


def test_binary_magnitude_is_detached():
    w = torch.tensor([[0.5, -1.5], [0.25, 3.0]], requires_grad=True)
    q = make("binary", "BIPOLAR/channel", channels=2, magnitude=True).train()
    out = q(w)
    assert out.tolist() == [[1.0, -1.0], [1.625, 1.625]]
    out.sum().backward()
    assert w.grad.tolist() == [[1.0, 0.0], [1.0, 0.0]]  # 1{|w| <= 1}, not times the magnitude (ReActNet)


def test_dorefa_one_bit_is_the_mean_magnitude():
    q = make("dorefa", "MIDRISE1")
    w = torch.tensor([0.5, -1.5, 0.0, 2.0])
    q.initialize(w)
    assert q(w).tolist() == [1.0, -1.0, 1.0, 1.0]


def test_glorot_factor():
    """BinaryConnect's `W_LR_scale` is its reciprocal; 3x3, 64 -> 128 channels: sqrt(1.5 / (576 + 1152))."""
    assert glorot_factor((128, 64, 3, 3)) == pytest.approx(math.sqrt(1.5 / (576 + 1152)))
    assert glorot_factor((10, 64)) == pytest.approx(math.sqrt(1.5 / 74))


@pytest.mark.parametrize(("text", "numpy_dtype"), [("FP16", np.float16)])
def test_float64_is_rounded_once(text, numpy_dtype):
    """NumPy rounds float64 to float16 in one step."""
    ties = 1 + (2 * torch.arange(50, dtype=torch.float64) + 1) * 2.0**-11
    x = torch.cat([sign * (ties + e) for sign in (1, -1) for e in (-(2.0**-40), 0.0, 2.0**-40)])
    x = torch.cat(
        [x, torch.tensor([1e300, -1e300, torch.inf, 1e-8, 65519.99999999, -0.0], dtype=torch.float64)]
    )
    q = METHODS["float_cast"](parse_tensor_format(text), QuantizerConfig("float_cast"), "weight", name="fc")
    q.initialize(x)
    with np.errstate(over="ignore"):
        wanted = x.numpy().astype(numpy_dtype).astype(np.float64)
    np.testing.assert_array_equal(q(x).numpy(), wanted)


@pytest.mark.parametrize(
    ("method", "text", "role"),
    [("lsq", "INT4", "weight"), ("pact", "UINT8", "activation"), ("dorefa", "MIDRISE1", "weight")],
)
def test_a_scale_in_float16_never_divides_by_zero(method, text, role):
    q = METHODS[method](parse_tensor_format(text), QuantizerConfig(method), role, name="fc")
    q.initialize(torch.ones(4))
    q.half()
    for parameter in q.parameters():
        parameter.data.zero_()
    x = torch.zeros(4, dtype=torch.float16, requires_grad=True)
    out = q.train()(x)
    out.sum().backward()
    assert torch.isfinite(out).all() and torch.isfinite(x.grad).all()
    assert (q.parameters_exported().scale > 0).all()
