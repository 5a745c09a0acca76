"""Channel pruning: the smaller network computes the same where the cut channels were zero."""

import functools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from bitjoule import zoo
from bitjoule.network import NetworkError, capture
from bitjoule.network.pruning import (
    channel_ties,
    cut_channels,
    prune_channels,
    refusals,
    survivors,
    tie_scores,
    weakest,
)
from bitjoule.quant.pruning import fade_channels, without_fading
from bitjoule.train import prepare_qat, train_network
from bitjoule.zoo.mobilenet import InvertedResidual
from bitjoule.zoo.resnet import CifarResNet

SHAPE = (1, 3, 8, 8)


def inverted():
    """A small MobileNetV2: a shortcut, a depthwise convolution that reads the stream, one that expands."""
    return nn.Sequential(
        *(nn.Conv2d(3, 32, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU6()),
        *(InvertedResidual(32, 32, 1, 1), InvertedResidual(32, 16, 2, 6), InvertedResidual(16, 16, 1, 6)),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4)),
    )


BUILDERS = {
    "resnet A": lambda: CifarResNet(1, "A", 1.0, 10, 3),
    "resnet B": lambda: CifarResNet(1, "B", 1.0, 10, 3),
    "resnet8": lambda: zoo.build("resnet8", {"image_size": 8}, 0),
    "inverted": inverted,
    "moons": lambda: zoo.build("moons", {"image_size": 8, "filters": (32, 32, 64)}, 0),
    "tfc": lambda: zoo.build("tfc", {"inputs": 64}, 0),
    "resnet20 A": lambda: zoo.build("resnet20", {"option": "A"}, 0),
    "resnet20 B": lambda: zoo.build("resnet20", {"option": "B"}, 0),
    "mobilenet_v1": lambda: zoo.build("mobilenet_v1", {"width": 0.25}, 0),
    "mobilenet_v2_cifar": lambda: zoo.build("mobilenet_v2_cifar", {"width": 0.5}, 0),
    "cnv": lambda: zoo.build("cnv", {"width": 0.25}, 0),
    "ds_cnn": lambda: zoo.build("ds_cnn", {"width": 0.5}, 0),
    "bireal20": lambda: zoo.build("bireal20", {}, 0),
}
INPUTS = {
    "tfc": (1, 1, 8, 8),
    "cnv": (1, 3, 32, 32),
    "ds_cnn": (1, 1, 49, 10),
    "mobilenet_v1": (1, 3, 32, 32),
}
SMALL = ("resnet A", "resnet B", "resnet8", "inverted", "moons", "tfc")
NETWORKS = [pytest.param(name, marks=() if name in SMALL else pytest.mark.slow) for name in BUILDERS]


@functools.cache
def _captured(name):
    net = capture(BUILDERS[name](), input_shape=INPUTS.get(name, SHAPE), name=name)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for module in net.module.modules():  # nothing at its start: statistics, scales and shifts drawn
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.weight.copy_(torch.rand(module.weight.shape, generator=generator) + 0.5)
                module.bias.copy_(torch.randn(module.bias.shape, generator=generator) * 0.2)
                module.running_mean.copy_(torch.randn(module.bias.shape, generator=generator) * 0.1)
                module.running_var.copy_(torch.rand(module.bias.shape, generator=generator) + 0.5)
    net.eval()
    return net


def captured(name):
    return _captured(name).clone()


def clear(net, cut, ties):
    """Make the ties `cut` exactly zero wherever a batch norm, or a layer without one, makes them."""
    behind = {node.inputs[0] for node in net.graph.nodes if node.op == "batch_norm"}
    with torch.no_grad():
        for node in net.graph.nodes:
            makes = node.op == "batch_norm" or (node.op in ("conv", "linear") and node.output not in behind)
            if makes:
                module = net.module.get_submodule(node.module)
                going = torch.tensor([tie in cut for tie in ties.slots[node.output]])
                module.weight[going] = 0
                if module.bias is not None:
                    module.bias[going] = 0


def same_outputs(net, pruned):
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(3, *net.graph.tensors[net.graph.inputs[0]].shape[1:], generator=generator)
    with torch.no_grad():
        expected, found = net(x), pruned(x)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().amax()))
    return float(expected.std()) > 0


@pytest.mark.parametrize("name", NETWORKS)
def test_zero_channels_leave_the_output_as_it_was(name):
    net = captured(name)
    ties = channel_ties(net.graph, refusals(net))
    cut, _ = weakest(net, ties, 0.4, "bn_gamma")
    clear(net, cut, ties)
    pruned = prune_channels(net, 0.4)
    assert same_outputs(net, pruned)
    assert pruned.workload().macs < net.workload().macs


@settings(deadline=None, max_examples=12)
@given(st.sampled_from(["resnet A", "resnet8", "inverted"]), st.integers(0, 10**6))
def test_any_ties_can_go(name, seed):
    """Whichever channels were zero, also a whole layer's but one."""
    net = captured(name)
    ties = channel_ties(net.graph, refusals(net))
    generator = torch.Generator().manual_seed(seed)
    cut = set()
    for group in ties.groups:
        order = torch.randperm(len(group.ties), generator=generator).tolist()
        going = int(torch.randint(0, len(group.ties), (1,), generator=generator))
        cut.update(group.ties[i] for i in order[:going])
    clear(net, cut, ties)
    same_outputs(net, cut_channels(net, ties, frozenset(cut)))


def test_filters_of_zeros_go_by_l1():
    net = captured("resnet8")
    ties = channel_ties(net.graph, refusals(net))
    cut, notes = weakest(net, ties, 0.4, "l1")
    scores = tie_scores(net, ties, "l1")
    first = net.module.get_submodule("block1.conv1").weight.detach().abs().flatten(1).sum(1).tolist()
    assert [scores[tie] for tie in ties.slots["block1.conv1"]] == first and notes == ()
    clear(net, cut, ties)
    with torch.no_grad():
        for node in net.graph.nodes:
            if node.op == "conv":
                module = net.module.get_submodule(node.module)
                module.weight[torch.tensor([tie in cut for tie in ties.slots[node.output]])] = 0
    assert same_outputs(net, prune_channels(net, 0.4, score="l1"))


@pytest.mark.parametrize("name", NETWORKS)
def test_the_graph_is_that_of_a_capture_of_the_smaller_module(name):
    net = captured(name)
    pruned = prune_channels(net, 0.4)
    again = capture(pruned.module, input_shape=net.graph.tensors[net.graph.inputs[0]].shape)
    assert [(n.op, dict(n.attributes), dict(n.parameters)) for n in pruned.graph.nodes] == [
        (n.op, dict(n.attributes), dict(n.parameters)) for n in again.graph.nodes
    ]
    shapes = [[g.tensors[node.output].shape for node in g.nodes] for g in (pruned.graph, again.graph)]
    assert shapes[0] == shapes[1]
    for node in pruned.graph.mac_nodes()[:-1]:
        channels = pruned.graph.tensors[node.output].shape[1]
        assert channels % 8 == 0 and channels >= 8


def test_the_network_given_stays_as_it_was():
    net = captured("resnet8")
    before = {name: value.clone() for name, value in net.state_dict().items()}
    graph = net.graph.hash
    prune_channels(net, 0.5)
    assert net.graph.hash == graph
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_ratio_zero_cuts_nothing():
    net = captured("resnet8")
    pruned = prune_channels(net, 0)
    assert pruned.graph.hash == net.graph.hash
    assert pruned.notes == ("no channels cut at ratio 0",)


def test_the_weakest_channels_go():
    net = captured("moons")
    norm = net.module.get_submodule("blocks.block1.bn1")
    order = norm.weight.abs().argsort()
    pruned = prune_channels(net, 0.5)
    kept = pruned.module.get_submodule("blocks.block1.bn1").weight
    assert torch.equal(kept, norm.weight[order[16:].sort().values])


def test_layers_without_batch_norm_are_scored_by_their_filters():
    model = nn.Sequential(nn.Conv2d(3, 32, 1), nn.ReLU(), nn.Conv2d(32, 4, 1))
    net = capture(model, input_shape=(1, 3, 4, 4), name="plain")
    pruned = prune_channels(net, 0.5)
    assert pruned.notes == ("channels cut: 0 32 -> 16", "scored by l1, having no batch norm: 0")
    norms = net.module.get_submodule("0").weight.detach().abs().flatten(1).sum(1)
    kept = norms.argsort(descending=True)[:16].sort().values
    assert torch.equal(pruned.module.get_submodule("0").weight, net.module.get_submodule("0").weight[kept])


def test_survivors_are_multiples_of_eight():
    assert [survivors(16, ratio) for ratio in (0.0, 0.2, 0.3, 0.9)] == [16, 16, 8, 8]
    assert survivors(12, 0.3) == 8 and survivors(12, 0.1) == 8 and survivors(12, 0.0) == 12


def test_training_goes_on_from_the_cut_network():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    data = zoo.load_dataset("digits")
    net = capture(zoo.build("tfc", {"inputs": 64}, 0), input_shape=data.input_shape, name="tfc")
    parent = train_network(fade_channels(net), data, "float32", epochs=3, parent_epochs=0).network
    pruned = prune_channels(without_fading(parent), 0.5)
    report = train_network(pruned, data, "w4a4", epochs=3, parent_epochs=0)
    torch.set_num_threads(before)
    assert report.test.fraction > 0.8
    assert report.network.workload().macs == pruned.workload().macs < 0.6 * net.workload().macs


@pytest.mark.parametrize(
    ("ratio", "score", "message"),
    [
        (1.0, "l1", "prune_channels: ratio must be at least 0 and below 1, not 1.0"),
        ("0.3", "l1", "prune_channels: ratio must be a number such as 0.3, not '0.3'"),
        (float("nan"), "l1", "prune_channels: ratio must be a number such as 0.3, not nan"),
        (0.3, "l2", "prune_channels: score must be bn_gamma or l1, not 'l2'"),
    ],
)
def test_bad_arguments_are_refused(ratio, score, message):
    with pytest.raises(NetworkError) as error:
        prune_channels(captured("tfc"), ratio, score=score)
    assert str(error.value) == message


def test_quantized_and_uncuttable_networks_are_refused():
    with pytest.raises(NetworkError) as error:
        prune_channels(prepare_qat(captured("tfc"), "w4a4"), 0.3)
    assert str(error.value) == ("tfc: quantizers of scheme 'w4a4' are inserted already; prune before that")
    one = capture(nn.Sequential(nn.Linear(4, 16)), input_shape=(1, 4), name="one")
    with pytest.raises(NetworkError) as error:
        prune_channels(one, 0.3)
    assert str(error.value) == (
        "one has no channels that can be cut (input: it is a network input; 0: it is a network output)"
    )


class Shifted(nn.Module):
    """A learned constant that is added (RSign of ReactNet) behind convolutions that can be cut."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 32, 1), nn.BatchNorm2d(32), nn.ReLU(), nn.Conv2d(32, 16, 1))
        self.shift = nn.Parameter(torch.randn(1, 16, 1, 1))
        self.last = nn.Conv2d(16, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.body(x) + self.shift)


def test_a_learned_constant_elsewhere_stays_whole():
    net = capture(Shifted().eval(), input_shape=SHAPE)
    pruned = prune_channels(net, 0.5)
    assert pruned.graph.node("body.0").parameters["weight"] == (16, 3, 1, 1)
    assert pruned.graph.node("body.3").parameters["weight"] == (16, 16, 1, 1)
    assert pruned.module(torch.randn(2, *SHAPE[1:])).shape == (2, 4, 8, 8)


def test_cutting_nothing_changes_nothing():
    net = capture(zoo.build("reactnet20", {"width": 0.5}, 0).eval(), input_shape=(1, 3, 8, 8))
    same = cut_channels(net, channel_ties(net.graph, refusals(net)), frozenset())
    x = torch.randn(2, 3, 8, 8)
    assert same.graph == net.graph and torch.equal(same.module(x), net.module(x))
