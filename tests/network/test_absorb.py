"""Bias absorption: the vector, exactness above c, padding, what is left."""

import pytest
import torch
from torch import nn

from bitjoule.network import Network, NetworkError, apply_scheme, capture, fold_batch_norm
from bitjoule.network.absorb import absorb_bias, absorbed
from bitjoule.network.statistics import EdgeStatistics, edge_statistics
from tests.network.models import alike


def test_golden_vector() -> None:
    # ptq.md section 2
    beta, gamma = torch.tensor([4.0, 1.0, -1.0, 7.0]), torch.tensor([1.0, 0.5, 0.2, -2.0])
    assert absorbed(EdgeStatistics(beta, gamma.abs())).tolist() == [1, 0, 0, 1]


def folded(padding: int = 0, *behind: nn.Module) -> Network:
    """conv, batch norm with high beta, ReLU, conv."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 1, bias=False), nn.BatchNorm2d(4), nn.ReLU(), *behind,
        nn.Conv2d(4, 5, 3, padding=padding, bias=False),
    )  # fmt: skip
    with torch.no_grad():
        model[0].weight.mul_(0.1)
        model[1].bias.copy_(torch.tensor([4.0, 1.0, -1.0, 7.0]))
        model[1].weight.copy_(torch.tensor([1.0, 0.5, 0.2, -2.0]))
    return fold_batch_norm(capture(model.eval(), input_shape=(1, 3, 8, 8)))


@pytest.mark.parametrize("behind", [(), (nn.MaxPool2d(2),), (nn.AvgPool2d(2),)])
def test_exact_where_the_pre_activation_exceeds_c(behind: tuple[nn.Module, ...]) -> None:
    net = folded(0, *behind)
    found = absorb_bias(net)
    x = torch.randn(4, 3, 8, 8)
    assert float(net.module.get_submodule("0")(x)[:, [0, 3]].detach().min()) > 1.0
    assert alike(found(x), net(x)) < 1e-4
    assert found.notes[-1] == "absorbed the bias of 2 channels"
    moved = net.module.get_parameter("0.bias") - found.module.get_parameter("0.bias")
    assert moved.tolist() == pytest.approx([1, 0, 0, 1], abs=1e-6)
    assert edge_statistics(found)["0"].mean.tolist() == pytest.approx([3, 1, -1, 6], abs=1e-6)
    last = found.graph.nodes[-1]
    assert last.parameters["bias"] == (5,)
    assert found.workload().layers[-1].bias
    below = -400 * x  # pre-activations under c: no longer exact
    assert alike(found(below), net(below)) > 1e-3


def test_padding() -> None:
    net = folded(1)
    left = absorb_bias(net)
    assert left.notes[-2:] == ("bias of '0' was not absorbed: '3' pads", "absorbed the bias of 0 channels")
    x = torch.randn(4, 3, 8, 8)
    assert alike(left(x), net(x)) == 0
    found = absorb_bias(net, "padded")
    assert alike(found(x), net(x)) < 1e-4
    assert [node.op for node in found.graph.nodes] == ["conv", "relu", "pad", "conv"]
    assert found.graph.tensors["3.border"].shape == (1, 4, 10, 10)
    assert found.workload().macs == net.workload().macs
    assert alike(apply_scheme(found, "int8").clone()(x), net(x)) < 1e-4
    with pytest.raises(NetworkError, match="absorb_bias must be unpadded or padded, not 'all'"):
        absorb_bias(net, "all")  # type: ignore[arg-type]


def test_without_statistics_or_behind_relu6_nothing_moves() -> None:
    plain = capture(
        nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 2, 1)), input_shape=(1, 3, 4, 4)
    )
    assert absorb_bias(plain).notes == ("absorbed the bias of 0 channels",)
    clipped = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU6(), nn.Conv2d(4, 2, 1))
    nn.init.constant_(clipped[1].bias, 5.0)
    net = fold_batch_norm(capture(clipped.eval(), input_shape=(1, 3, 4, 4)))
    assert absorb_bias(net).notes == ("absorbed the bias of 0 channels",)
