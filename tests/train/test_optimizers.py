"""Who trains what: Bop, Adam of quantizers and thresholds beside the network's optimizer."""

import pytest
import torch
from torch import nn

from bitjoule.formats import parse_tensor_format
from bitjoule.quant import QuantizerConfig
from bitjoule.quant.repairs import Bop
from bitjoule.quant.tqt import TqtQuantizer
from bitjoule.train import QatConfig, Stopped, prepare_qat, quantizers, recipe, train
from bitjoule.train.optimizers import Optimizers
from bitjoule.train.parameters import binary_weights, holds_weights
from bitjoule.train.start import quantized_for

APOT = "wAPOT4aUAPOT4"


def with_tqt(net):
    """The network with TQT in the place of the other quantizers of weights."""
    weights = dict(net.named_parameters())
    for path, q in quantizers(net).items():
        if q.role == "weight":
            fmt = parse_tensor_format("INT4*pot")
            tqt = TqtQuantizer(fmt, QuantizerConfig("tqt"), "weight", name=q.name, parameter=q.parameter)
            tqt.initialize(weights[q.parameter])
            net.module.set_submodule(path, tqt)
    return net


def names_of(net, optimizer):
    names = {id(p): name for name, p in net.named_parameters()}
    return {names[id(p)] for group in optimizer.param_groups for p in group["params"]}


def values(result):
    return {name: value.clone() for name, value in result.network.state_dict().items()}


def test_without_any_of_these_there_is_one_optimizer(conv):
    net = prepare_qat(conv, "w4a4")
    found = Optimizers(net, recipe("qat_default"), flips=False)
    assert found.others == {}
    assert names_of(net, found.network) == {name for name, p in net.named_parameters() if p.requires_grad}
    assert set(found.sections()) == {"optimizer"}


def test_bop_trains_binary_weights_and_adam_the_rest(conv):
    net = prepare_qat(conv, "w1a1+bop")
    found = Optimizers(net, recipe("binary_default"), flips=True)
    assert isinstance(found.network, torch.optim.Adam) and isinstance(found.others["flips"], Bop)
    flipped, rest = names_of(net, found.others["flips"]), names_of(net, found.network)
    assert flipped == {"blocks.block2.conv1.weight"}  # first and last layer have 8 bits
    assert not flipped & rest
    assert flipped | rest == {name for name, p in net.named_parameters() if p.requires_grad}
    assert set(binary_weights(net)[0].detach().unique().tolist()) == {-1.0, 1.0}


def test_bop_flips_some_weights_and_adam_moves_batch_norm(conv, few):
    start = quantized_for(conv, "w1a1+bop", few)
    before = start.state_dict()
    result = train(start, few, recipe("binary_default", epochs=2, batch=50, keep="last", ema=0.9), seed=0)
    after = result.network.state_dict()
    name = "blocks.block2.conv1.weight"
    assert set(after[name].unique().tolist()) == {-1.0, 1.0}
    signs = torch.where(before[name] >= 0, 1.0, -1.0)
    flips = float((signs != after[name]).float().mean())
    assert 0 < flips < 0.6
    assert not torch.equal(before["blocks.block2.bn1.weight"], after["blocks.block2.bn1.weight"])
    assert not torch.equal(before["classifier.weight"], after["classifier.weight"])


def test_clipping_and_decay_leave_bop_alone(conv):
    """A gradient of any size flips by its sign, and counts for nothing in the norm of the others."""
    net = prepare_qat(conv, "w1a1+bop")
    found = Optimizers(net, recipe("binary_default", clip_norm=1.0, weight_decay=0.5), flips=True)
    (weight,) = binary_weights(net)
    assert all(weight is not p for p in found.clipped)
    classifier = net.module.classifier.weight
    found.set_rates(1e-3, 0)
    before = weight.detach().clone()
    loss = 1e3 * (weight * before).sum() + 3.0 * classifier.flatten()[0]
    found.step(loss)
    assert torch.equal(weight.grad, 1e3 * before)  # not clipped
    assert classifier.grad.norm().item() == pytest.approx(1.0, rel=1e-4)  # as if it were alone
    assert torch.equal(weight.detach(), -before)
    assert all(group.get("weight_decay") is None for group in found.others["flips"].param_groups)


def test_gamma_follows_the_schedule(conv):
    net = prepare_qat(conv, "w1a1+bop")
    found = Optimizers(net, recipe("binary_default"), flips=True)
    found.set_rates(0.5e-3, 7)
    assert found.others["flips"].param_groups[0]["gamma"] == pytest.approx(0.5e-4)
    assert found.network.param_groups[0]["lr"] == 0.5e-3


def test_a_training_with_bop_continues_bit_for_bit(residual, few, tmp_path):
    start = quantized_for(residual, "w1a1+bop", few)
    settings = recipe("binary_default", epochs=3, batch=50)
    whole = train(start, few, settings, seed=3)
    for _ in range(2):
        with pytest.raises(Stopped):
            train(start, few, settings, seed=3, workdir=tmp_path, stop=lambda: True)
    resumed = train(start, few, settings, seed=3, workdir=tmp_path)
    a, b = values(whole), values(resumed)
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_rates_and_decay_of_quantizers(conv):
    net = prepare_qat(conv, APOT)
    preset = recipe("apot_cifar_4bit")
    found = Optimizers(net, preset, flips=False)
    found.set_rates(preset.rate / 10, 0)
    rates = {}
    for group in found.network.param_groups:
        for p in group["params"]:
            rates[id(p)] = (group["lr"], group["weight_decay"])
    seen = set()
    for q in quantizers(net).values():
        for p in q.parameters():
            seen.add(q.role)
            expected = 0.002 if q.role == "weight" else 0.01
            assert rates[id(p)] == (pytest.approx(expected), 1e-4), q.name
    assert seen == {"weight", "activation"}
    assert rates[id(net.module.classifier.weight)] == (pytest.approx(0.004), 1e-4)


def test_quantizers_by_adam(conv, few):
    net = quantized_for(conv, "w4a4", few)
    found = Optimizers(net, recipe("mbv2_osc"), flips=False)
    assert isinstance(found.network, torch.optim.SGD)
    adam = found.others["quantizers"]
    assert isinstance(adam, torch.optim.Adam)
    assert names_of(net, adam) and all(name.startswith("quantizers.") for name in names_of(net, adam))
    found.set_rates(0.0033, 0)
    assert [group["lr"] for group in adam.param_groups] == [pytest.approx(1e-5)] * len(adam.param_groups)
    assert {group["weight_decay"] for group in adam.param_groups} == {0.0}
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    moved = train(net, few, recipe("mbv2_osc", epochs=0.125, batch=50, keep="last"), seed=0).network
    name = "quantizers.blocks_block2_conv1_weight.scale"
    change = (dict(moved.named_parameters())[name] - before[name]).detach().abs()
    assert float(change.max()) == pytest.approx(1e-5, rel=0.05)  # Adam's first step is its rate


def test_thresholds_have_an_adam_and_a_schedule_of_their_own(conv, few):
    net = with_tqt(quantized_for(conv, "w4a8", few))
    found = Optimizers(net, recipe("tqt"), flips=False)
    assert isinstance(found.network, torch.optim.SGD)
    own = names_of(net, found.others["thresholds"])
    assert own and all(name.endswith(".log2_t") for name in own)
    assert not own & names_of(net, found.network)
    for step, rate in ((0, 0.01), (999, 0.01), (1000, 0.005), (9000, 0.001)):
        found.set_rates(0.123, step)
        assert found.others["thresholds"].param_groups[0]["lr"] == pytest.approx(rate)
    plain = Optimizers(net, recipe("qat_default"), flips=False)
    assert own < names_of(net, plain.network)


@pytest.mark.parametrize("name", ["mbv2_osc", "tqt"])
def test_several_optimizers_continue_bit_for_bit(conv, few, tmp_path, name):
    start = quantized_for(conv, "w4a8", few)
    if name == "tqt":
        start = with_tqt(start)
    settings = recipe(name, epochs=2, batch=50)
    whole = train(start, few, settings, seed=3)
    with pytest.raises(Stopped):
        train(start, few, settings, seed=3, workdir=tmp_path, stop=lambda: True)
    resumed = train(start, few, settings, seed=3, workdir=tmp_path)
    a, b = values(whole), values(resumed)
    assert all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize(
    ("scheme", "config"),
    [
        ("wPOT5_INQa8", None),
        ("w4a4", QatConfig(QuantizerConfig("lsq", freeze_oscillations=True))),
        ("w1a1+bop", None),
    ],
)
def test_no_average_where_weights_are_held(conv, few, scheme, config):
    """An average of weights that jump, or stand, is none of them: what is returned are the weights."""
    start = quantized_for(conv, scheme, few, config)
    assert holds_weights(start) == ("bop" not in scheme)
    changes = {"epochs": 1, "batch": 50, "keep": "last"}
    averaged = train(start, few, recipe("qat_default", **changes, ema=0.9), seed=0)
    alone = train(start, few, recipe("qat_default", **changes, ema=None), seed=0)
    weights = dict(alone.network.named_parameters())
    assert all(torch.equal(p, weights[name]) for name, p in averaged.network.named_parameters())


def test_every_parameter_is_an_nn_parameter_once(residual):
    net = prepare_qat(residual, "w1a1+bop+rprelu")
    found = Optimizers(net, recipe("binary_default"), flips=True)
    listed = [
        p
        for optimizer in (found.network, *found.others.values())
        for group in optimizer.param_groups
        for p in group["params"]
    ]
    assert len(listed) == len({id(p) for p in listed}) and all(isinstance(p, nn.Parameter) for p in listed)
    assert {id(p) for p in listed} == {id(p) for p in net.parameters() if p.requires_grad}
