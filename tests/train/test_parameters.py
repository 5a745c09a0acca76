"""Parameter groups, latent clipping and the check for NaN."""

import torch

from bitjoule.quant import QuantizerConfig, glorot_factor
from bitjoule.train import PRESETS, QatConfig, prepare_qat, recipe
from bitjoule.train.parameters import (
    clip_latent,
    latent_limits,
    make_optimizer,
    parameter_groups,
    unfit_parameter,
)


def by_name(net, groups):
    groups = [*groups[0], *groups[1]]
    names = {id(p): name for name, p in net.named_parameters()}
    return {names[id(p)]: group for group in groups for p in group["params"]}


def test_weights_decay_and_nothing_else(conv):
    net = prepare_qat(conv, "w4a4")
    found = by_name(net, parameter_groups(net, PRESETS["qat_default"]))
    assert set(found) == {name for name, p in net.named_parameters() if p.requires_grad}
    for name, group in found.items():
        is_weight = name.endswith((".conv1.weight", "classifier.weight"))
        assert group["weight_decay"] == (1e-4 if is_weight else 0.0), name
        assert group["scale"] == 1.0


def test_pact_clips_decay_like_weights(mlp):
    net = prepare_qat(mlp, "w4a4", QatConfig(activation=QuantizerConfig("pact")))
    found = by_name(net, parameter_groups(net, PRESETS["qat_default"]))
    clips = [name for name in found if name.endswith(".clip")]
    assert clips
    assert all(found[name]["weight_decay"] == 1e-4 for name in clips)


def test_glorot_rates(conv):
    net = prepare_qat(conv, "moons-4")
    found = by_name(net, parameter_groups(net, PRESETS["moons2017"]))
    weight = dict(net.named_parameters())["blocks.block2.conv1.weight"]
    assert found["blocks.block2.conv1.weight"]["scale"] == 1 / glorot_factor(tuple(weight.shape))
    assert found["blocks.block2.conv1.bias"]["scale"] == 1.0


def test_optimizers_follow_the_recipe(mlp):
    sgd = make_optimizer(mlp, recipe("qat_default", momentum=0.8))
    assert isinstance(sgd, torch.optim.SGD)
    assert sgd.param_groups[0]["momentum"] == 0.8 and sgd.param_groups[0]["nesterov"]
    adam = make_optimizer(mlp, PRESETS["moons2017"])
    assert isinstance(adam, torch.optim.Adam)
    assert adam.param_groups[0]["betas"] == (0.9, 0.999)


def test_latent_weights_of_moons_stay_in_the_unit_interval(conv):
    net = prepare_qat(conv, "moons-4")
    limits = latent_limits(net)
    assert len(limits) == 3
    with torch.no_grad():
        for weight, _ in limits:
            weight.mul_(100)
    clip_latent(limits)
    assert all(float(weight.detach().abs().max()) == 1 for weight, _ in limits)
    assert latent_limits(prepare_qat(conv, "w4a4")) == []


def test_unfit_parameter_is_named(conv):
    assert unfit_parameter(conv) is None
    with torch.no_grad():
        conv.module.blocks.block2.bn1.running_var[0] = float("nan")
    assert unfit_parameter(conv) == "blocks.block2.bn1.running_var"
