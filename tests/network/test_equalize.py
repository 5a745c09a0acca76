"""Equalization: vectors, invariants, what is never scaled; float functions stay."""

import pytest
import torch
from torch import Tensor, nn

from bitjoule.network import Network, NetworkError, apply_scheme, capture, fold_batch_norm, insert_quantizers
from bitjoule.network.consecutive import columns, editable_layers, pairs, rows
from bitjoule.network.equalize import equalize
from bitjoule.network.statistics import edge_statistics
from tests.network.models import Residual, SharedRelu, alike
from tests.network.random_chains import lived_in


def linear_pair(w1: list[list[float]], b1: list[float], w2: list[list[float]]) -> Network:
    model = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 2, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor(w1))
        model[0].bias.copy_(torch.tensor(b1))
        model[2].weight.copy_(torch.tensor(w2))
    return capture(model, input_shape=(1, 2))


def test_golden_pair() -> None:
    # ptq.md section 2
    net = linear_pair(
        [[2, -8], [0.5, 0.125], [0, 0], [1, 1]], [1, -2, 3, 0.5], [[0.5, 2, 1, -4], [-0.125, 1, 3, 1]]
    )
    found = equalize(net, sweeps=1)
    state = found.state_dict()
    assert state["0.weight"].tolist() == [[0.5, -2], [1, 0.25], [0, 0], [2, 2]]
    assert state["0.bias"].tolist() == [0.25, -4, 3, 1]
    assert state["2.weight"].tolist() == [[2, 1, 1, -2], [-0.5, 0.5, 3, 0.5]]
    assert net.state_dict()["0.bias"].tolist() == [1, -2, 3, 0.5]  # the input is never changed
    x = torch.randn(64, 2)
    assert alike(found(x), net(x)) < 1e-4


@pytest.mark.parametrize(("ranges", "settled"), [((8.0, 0.5, 2.0), 2.0), ((9.0, 0.1, 3.0), 2.7 ** (1 / 3))])
def test_a_depthwise_triple_ends_at_the_geometric_mean(
    ranges: tuple[float, float, float], settled: float
) -> None:
    model = nn.Sequential(
        nn.Conv2d(1, 1, 1, bias=False), nn.ReLU(), nn.Conv2d(1, 1, 1, groups=1, bias=False), nn.ReLU(),
        nn.Conv2d(1, 1, 1, bias=False),
    )  # fmt: skip
    with torch.no_grad():
        for layer, value in zip((model[0], model[2], model[4]), ranges, strict=True):
            layer.weight.fill_(value)
    found = equalize(capture(model, input_shape=(1, 1, 4, 4)), sweeps=40)
    assert [found.state_dict()[f"{i}.weight"].item() for i in (0, 2, 4)] == pytest.approx(
        [settled] * 3, rel=1e-3
    )
    assert settled == pytest.approx(2.0 if ranges[0] == 8 else 1.392477, abs=1e-6)
    assert found.notes[-1].startswith("equalized 2 pairs in ") and found.notes[-1].endswith(", settled")


class Triple(nn.Module):
    """Pointwise, depthwise, pointwise, with a shortcut round them."""

    def __init__(self) -> None:
        super().__init__()
        self.expand = nn.Conv2d(4, 12, 1)
        self.depthwise = nn.Conv2d(12, 12, 3, padding=1, groups=12)
        self.project = nn.Conv2d(12, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.project(torch.relu(self.depthwise(torch.relu(self.expand(x)))))


def test_ranges_per_channel_become_alike_in_a_block_and_stay_outside() -> None:
    net = capture(Triple(), input_shape=(1, 4, 6, 6))
    with torch.no_grad():
        net.module.get_parameter("expand.weight").mul_(
            torch.logspace(-1.5, 1.5, 12).view(-1, 1, 1, 1)  # ranges differ 1000 times
        )
        net.module.get_parameter("depthwise.bias").zero_()
        net.module.get_parameter("expand.bias").zero_()
    found = equalize(net, sweeps=60)
    layers, _ = editable_layers(found)
    expand, depthwise, project = (
        rows(layers["expand"].weight),
        rows(layers["depthwise"].weight),
        columns(layers["project"], layers["project"].weight),
    )
    assert torch.allclose(expand, depthwise, rtol=1e-2) and torch.allclose(depthwise, project, rtol=1e-2)
    x = torch.randn(3, 4, 6, 6)
    assert alike(found(x), net(x)) <= 1e-4 * float(net(x).detach().abs().max())
    chosen, stopped = pairs(found.graph, layers)
    assert [(pair.first, pair.second) for pair in chosen] == [
        ("expand", "depthwise"),
        ("depthwise", "project"),
    ]
    assert stopped == {"project": "add 'add' follows"}


def test_tensors_of_adds_outputs_and_several_readers_are_never_scaled() -> None:
    for model in (Residual(), SharedRelu()):
        net = fold_batch_norm(capture(lived_in(model).eval(), input_shape=(1, 3, 8, 8)))
        layers, _ = editable_layers(net)
        chosen, stopped = pairs(net.graph, layers)
        for pair in chosen:
            for name in (pair.first, *pair.between):
                tensor = net.graph.node(name).output
                assert len(net.graph.consumers(tensor)) == 1 and tensor not in net.graph.outputs
        assert stopped["fc"] == "it is an output of the network"
    net = fold_batch_norm(capture(Residual().eval(), input_shape=(1, 3, 8, 8)))
    chosen, stopped = pairs(net.graph, editable_layers(net)[0])
    assert [(pair.first, pair.second) for pair in chosen] == [("conv1", "conv2")]
    assert stopped["stem"] == "2 operators read 'relu'"


def test_dead_channels_and_the_bias_guard() -> None:
    net = linear_pair([[0, 0], [1, 1], [0.01, 0.01], [1, 0]], [5, 0, 4, 0], [[1, 0, 1, 1], [1, 0, 2, 1]])
    found = equalize(net)
    weight = found.state_dict()["0.weight"]
    assert weight[0].tolist() == [0, 0] and weight[1].tolist() == [1, 1]
    assert weight[2].tolist() == pytest.approx([0.02, 0.02])  # s = 0.5: a bias of 8; 0.07 would make it 57
    assert found.state_dict()["0.bias"][2] == pytest.approx(8.0)
    assert "equalization held 1 channels of '0' back: their bias would exceed 8 ranges" in found.notes
    x = torch.randn(16, 2)
    assert alike(found(x), net(x)) < 1e-5


def test_channels_held_back_end_alike_whatever_scale_they_came_with() -> None:
    first = [[1.0, 1.0], [0.01, 0.01], [1.0, 0.0], [2.0, 1.0]]
    bias, second = [0.0, 4.0, 0.0, 1.0], [[1.0, 1.0, 1.0, 1.0], [1.0, 2.0, 1.0, 1.0]]
    factor = torch.tensor([30.0, 30.0, 1 / 30, 1.0])
    wanted = equalize(linear_pair(first, bias, second))
    apart = linear_pair(first, bias, second)
    with torch.no_grad():
        apart.module.get_parameter("0.weight").mul_(factor[:, None])
        apart.module.get_parameter("0.bias").mul_(factor)
        apart.module.get_parameter("2.weight").div_(factor)
    found = equalize(apart)
    assert any("held 1 channels of '0' back" in note for note in found.notes)
    for name, value in wanted.state_dict().items():
        assert torch.allclose(found.state_dict()[name], value, rtol=1e-5), name


def test_flattening_keeps_channels_together() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 5, 3, bias=False), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(45, 4)
    )
    net = capture(model, input_shape=(1, 3, 8, 8))
    with torch.no_grad():
        net.module.get_parameter("0.weight").mul_(torch.logspace(-2, 2, 5).view(-1, 1, 1, 1))
    found = equalize(net)
    assert found.notes[-1].startswith("equalized 1 pairs")
    x = torch.randn(4, 3, 8, 8)
    assert alike(found(x), net(x)) <= 1e-4 * float(net(x).detach().abs().max())


def test_relu6_stops_a_pair_unless_it_is_replaced() -> None:
    model = nn.Sequential(nn.Conv2d(3, 6, 3, bias=False), nn.ReLU6(), nn.Conv2d(6, 4, 1))
    with torch.no_grad():
        model[0].weight.mul_(torch.logspace(-1, 1.5, 6).view(-1, 1, 1, 1))
    net = capture(model, input_shape=(1, 3, 8, 8))
    x = 3 * torch.randn(4, 3, 8, 8)
    kept = equalize(net)
    assert kept.notes == (
        "equalization found no pair of consecutive layers",
        "equalization left '0': relu6 '1' follows",
    )
    assert alike(kept(x), net(x)) == 0
    exact = equalize(net, relu6="per_channel")
    assert exact.notes[-1].startswith("equalized 1 pairs")
    assert exact.graph.node("1").attributes == {"limit": "per_channel"}
    assert alike(exact(x), net(x)) <= 1e-4 * float(net(x).detach().abs().max())
    layers, _ = editable_layers(exact)
    assert torch.allclose(rows(layers["0"].weight), columns(layers["2"], layers["2"].weight), rtol=1e-3)
    open_ended = equalize(net, relu6="relu")
    assert [node.op for node in open_ended.graph.nodes] == ["conv", "relu", "conv"]
    small = 1e-3 * x
    assert alike(open_ended(small), net(small)) < 1e-4
    assert alike(open_ended(x), net(x)) > 1e-3  # above 6 the function changes


def test_edge_statistics_follow_the_scales() -> None:
    net = fold_batch_norm(capture(lived_in(Residual()).eval(), input_shape=(1, 3, 8, 8)))
    before = edge_statistics(net)["conv1"]
    found = equalize(net)
    after = edge_statistics(found)["conv1"]
    scale = net.state_dict()["conv1.weight"].flatten(1).abs().amax(1) / found.state_dict()[
        "conv1.weight"
    ].flatten(1).abs().amax(1)
    assert torch.allclose(after.mean * scale, before.mean, rtol=1e-4)
    assert torch.allclose(after.std * scale, before.std, rtol=1e-4)
    assert torch.equal(edge_statistics(net)["conv1"].mean, before.mean)


def test_refusals() -> None:
    net = apply_scheme(capture(Residual(), input_shape=(1, 3, 8, 8)), "int8")
    assert net.assignment is not None
    made = insert_quantizers(net, net.assignment, lambda n, f: nn.Identity(), lambda p: nn.Identity())
    with pytest.raises(NetworkError) as caught:
        equalize(made)
    assert str(caught.value) == "Residual has quantizers already: equalize before inserting them"
    with pytest.raises(NetworkError, match="sweeps must be >= 0, not -1"):
        equalize(net, sweeps=-1)
    with torch.no_grad():
        net.module.get_parameter("conv1.weight")[0] = float("nan")
    with pytest.raises(NetworkError, match="Residual: weights of 'conv1' are not finite"):
        equalize(net)
