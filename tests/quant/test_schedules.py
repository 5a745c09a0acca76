"""What quantizers do over a training: oscillations, INQ's shares, TQT's freeze, LSQ+'s snap, SVA's refit."""

import pytest
import torch

from bitjoule.formats import inq_exponents, parse_tensor_format
from bitjoule.quant import METHODS, QuantizerConfig, QuantizerError
from bitjoule.quant.oscillations import Oscillation, cosine, dampening, freeze_threshold, track
from bitjoule.quant.twn import ternary
from bitjoule.quant.uniform import Bounds


def make(method, text, role="weight", **settings):
    config = QuantizerConfig(method, **settings)
    return METHODS[method](parse_tensor_format(text), config, role, name="x", channels=2)


def test_oscillation_vector():
    q = torch.tensor([2, 3, 2, 3, 3, 2, 2, 3, 2, 3, 2], dtype=torch.float64)
    state, frequency, average = Oscillation.of(q[:1]), [], []
    for value in q[1:]:
        state = track(state, value.view(1), 0.1)
        frequency.append(round(state.frequency.item(), 6))
        average.append(round(state.average.item(), 6))
    assert frequency == [0, 0.1, 0.19, 0.171, 0.2539, 0.22851, 0.305659, 0.375093, 0.437584, 0.493825]
    wanted = [2.1, 2.09, 2.181, 2.2629, 2.23661, 2.212949, 2.291654, 2.262489, 2.33624, 2.302616]
    assert average == wanted


def test_thresholds_follow_a_cosine():
    assert freeze_threshold(4, 0.5) == pytest.approx(0.055)
    assert freeze_threshold(2, 1.0) == pytest.approx(0.011)
    assert cosine(0.0, 0.1, 1.0) == pytest.approx(0.1)


def test_a_weight_that_oscillates_is_frozen_on_its_average_level():
    q = make("lsq", "INT4", freeze_oscillations=True)
    q.initialize(torch.tensor([0.5, -0.25, 0.75]))
    with torch.no_grad():
        q.scale.fill_(0.25)
    weight = torch.nn.Parameter(torch.tensor([0.5, 0.25, -0.5]))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    for step in range(60):
        with torch.no_grad():
            weight[0] = 0.75 if step % 3 == 1 else 0.5  # flips between levels 2 and 3, mostly 2
        q.after_step(weight, optimizer, 1.0)
    assert q.oscillation_frozen.tolist() == [True, False, False]
    assert weight.tolist() == [0.5, 0.25, -0.5]
    with torch.no_grad():
        weight.copy_(torch.tensor([9.0, 9.0, 9.0]))
    q.after_step(weight, optimizer, 1.0)
    assert weight.tolist() == [0.5, 9.0, 9.0]
    fresh = make("lsq", "INT4", freeze_oscillations=True)
    fresh.load_state_dict(q.state_dict())
    assert fresh.oscillation_frozen.tolist() == [True, False, False]


def test_dampening_pulls_to_the_middle_inside_the_range_only():
    w = torch.tensor([0.3, -9.0, 0.25], dtype=torch.float64, requires_grad=True)
    loss = dampening(w, torch.tensor(0.25, dtype=torch.float64), Bounds.of(-4, 3), 0)
    loss.backward()
    assert loss.item() == pytest.approx(0.05**2)
    torch.testing.assert_close(w.grad, torch.tensor([0.1, 0, 0], dtype=torch.float64))
    q = make("lsq", "INT4", dampen_oscillations=True)
    q.initialize(w)
    assert q.penalty(w, 0.0).item() == 0
    assert q.penalty(w, 1.0).item() == pytest.approx(0.1 * dampening(w, q.scale, q.bounds, 0).item())
    assert make("lsq", "INT4").penalty(w, 1.0) is None


def test_oscillations_are_for_few_bits():
    with pytest.raises(QuantizerError, match=r"^x: freeze_oscillations and dampen_.* at most 4 bits, not 8$"):
        make("lsq", "INT8", freeze_oscillations=True)
    with pytest.raises(
        QuantizerError, match=r"^x: freeze_oscillations is for lsq and lsq\+ weights, not for"
    ):
        make("lsq", "UINT4", "activation", freeze_oscillations=True)


def test_inq_fixes_the_largest_and_holds_them_against_decay_and_momentum():
    generator = torch.Generator().manual_seed(0)
    weight = torch.nn.Parameter(torch.randn(8, 4, generator=generator))
    q = make("inq", "POT5_INQ")
    q.initialize(weight)
    assert q.scale.item() == 2.0 ** inq_exponents(float(weight.detach().abs().max()), 5)[1]
    optimizer = torch.optim.SGD([weight], lr=0.1, momentum=0.9, weight_decay=0.1)
    counts = []
    for epoch in range(8):
        q.begin_epoch(epoch, 8, weight)
        counts.append(int(q.fixed.sum()))
        before, held = weight.detach().clone(), q.fixed.clone()
        if epoch == 0:
            order = before[~held].abs().max() <= weight.detach()[held].abs().min() * 1.5
            assert order
        for _ in range(3):
            optimizer.zero_grad()
            out = q(weight)
            out.square().sum().backward()
            assert (weight.grad[held] == 0).all()
            optimizer.step()
            q.after_step(weight, optimizer, 0.0)
        assert torch.equal(weight.detach()[held], before[held])
        assert (optimizer.state[weight]["momentum_buffer"][held] == 0).all()
        assert epoch > 5 or not torch.equal(weight.detach(), before)
    assert counts == [16, 16, 24, 24, 28, 28, 32, 32]
    assert torch.equal(q.eval()(weight), weight)


def test_tqt_freezes_a_threshold_that_stays(monkeypatch):
    monkeypatch.setattr("bitjoule.quant.tqt.STEPS_TO_FREEZE", 3)
    q = make("tqt", "INT4*pot").train()
    x = torch.tensor([0.3, -0.7])
    q.initialize(x)
    assert q.log2_t.item() == pytest.approx(-0.514573, abs=1e-6)
    for _ in range(3):
        q(x)
    assert q.frozen
    with torch.no_grad():
        q.log2_t.fill_(5.0)
    assert q.scale_now().item() == 0.125
    q(x).sum().backward()
    assert q.log2_t.grad.item() == 0


def test_tqt_activation_starts_at_a_percentile():
    q = make("tqt", "UINT8*pot", "activation")
    x = torch.cat([torch.linspace(0, 1, 20001), torch.tensor([1000.0])])
    q.initialize(x)
    assert q.scale_now().item() == 1 / 256


def test_lsq_plus_starts_and_snaps():
    q = make("lsq+", "INT4")
    q.initialize(torch.tensor([0.3, -0.2, 0.5, -0.7, 0.1, 0.0, 0.4, -0.1]))
    assert q.scale.item() == pytest.approx(0.1398143935, rel=1e-6)
    q = make("lsq+", "UINT4+zp", "activation", init="minmax").train()
    x = torch.linspace(-1, 2, 31)
    q.initialize(x)
    assert (q.scale.item(), q.offset.item()) == pytest.approx((0.2, -1.0))
    with torch.no_grad():
        q.offset.fill_(-0.93)
    q.begin_epoch(8, 10, None)
    assert not q.snapped
    q.begin_epoch(9, 10, None)
    assert q.snapped and q.zero_point.item() == 5
    out = q(x)
    out.sum().backward()
    assert q.offset.grad is None and q.scale.grad is not None
    assert torch.equal(out, q.eval()(x))
    fresh = make("lsq+", "UINT4+zp", "activation", init="minmax")
    fresh.load_state_dict(q.state_dict())
    with torch.no_grad():
        fresh.offset.fill_(0.0)
    assert fresh.parameters_exported().zero_point == 5


def test_lsq_plus_search_beats_the_full_range_on_outliers():
    x = torch.cat([torch.randn(4000, generator=torch.Generator().manual_seed(0)), torch.tensor([40.0])])
    errors = {}
    for init in ("default", "minmax"):
        q = make("lsq+", "INT4+zp", "activation", init=init)
        q.initialize(x)
        errors[init] = (q.eval()(x) - x).square().mean().item()
    assert errors["default"] < 0.8 * errors["minmax"]


def test_twn_vector():
    w = torch.tensor([0.83, -0.61, 0.42, 0.27, -0.19, 0.11, 0.06, -0.04, 0.02, 0.0])
    signs, a = ternary(w)
    assert signs.tolist() == [1, -1, 1, 1, -1, 0, 0, 0, 0, 0]
    assert a.item() == pytest.approx(0.464)


def test_sva_is_refitted_every_epoch_and_straight_through():
    weight = torch.nn.Parameter(torch.tensor([[3.0, -1.25, 0.5, 0.125], [1.0, 0.5, 0.25, -0.125]]))
    q = make("sva", "SVA2_CSD/channel").train()
    q.initialize(weight)
    first = q(weight)
    first.sum().backward()
    assert (weight.grad == 1).all()
    with torch.no_grad():
        weight.mul_(1.1)
    assert torch.equal(q(weight), first)
    q.begin_epoch(1, 2, weight)
    assert not torch.equal(q(weight), first)
    with torch.no_grad():
        weight.mul_(1.1)
    assert (q.eval()(weight) - weight).abs().max() < 0.2


def test_deepshift_ps_trains_shift_and_sign_and_exports_levels():
    weight = torch.nn.Parameter(torch.tensor([[0.3, -0.4], [1e-9, 5.0]]))
    q = make("deepshift_ps", "POT4_DS")
    q.initialize(weight)
    out = q(weight)
    assert out.tolist() == [[0.25, -0.5], [0.015625, 1.0]]
    out.sum().backward()
    assert weight.grad is None and q.shift.grad is not None and q.sign.grad is not None
    exported = q.parameters_exported()
    codes = exported.format.encode(out.detach().numpy(), exported.scale)
    assert (exported.format.decode(codes, exported.scale) == out.detach().numpy()).all()
    fresh = make("deepshift_ps", "POT4_DS")
    fresh.load_state_dict(q.state_dict())
    assert torch.equal(fresh.eval()(weight), out)
