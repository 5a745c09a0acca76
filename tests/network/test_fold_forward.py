"""Batch norms on no foldable layer: into the layer behind, or a layer of their own; statistics on edges."""

import pytest
import torch
from scipy import integrate, stats
from torch import Tensor, nn
from torch.nn import functional as F

from bitjoule.network import capture, fold_batch_norm
from bitjoule.network.fold_forward import fold_all, fold_forward
from bitjoule.network.statistics import EdgeStatistics, clipped_moments, edge_statistics
from tests.network.models import alike
from tests.network.random_chains import lived_in

IMAGE = (1, 8, 8, 8)


class PreActivation(nn.Module):
    """Batch norm behind an add with two readers, before padded and unpadded convolutions, behind a concat."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.BatchNorm2d(8)
        self.conv = nn.Conv2d(8, 8, 3, groups=2, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.padded = nn.Conv2d(8, 8, 3, padding=1)
        self.joined = nn.BatchNorm2d(16)
        self.last = nn.Conv2d(16, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(self.first(x))
        y = self.padded(self.norm(x)) + x
        return self.last(F.relu(self.joined(torch.cat([x, y], 1))))


def test_each_batch_norm_finds_its_place() -> None:
    net = capture(lived_in(PreActivation()).eval(), input_shape=IMAGE)
    found = fold_all(net)
    assert found.notes == ()
    ops = {node.name: node.op for node in found.graph.nodes}
    assert "first" not in ops and ops["norm"] == ops["joined"] == "conv"
    assert found.graph.node("norm").attributes["groups"] == 8
    assert found.graph.node("conv").parameters["bias"] == (8,)
    x = torch.randn(3, *IMAGE[1:])
    assert alike(found(x), net(x)) <= 1e-4
    assert found.workload().macs > net.workload().macs  # multiply-adds are counted now
    assert "joined" in edge_statistics(found)
    kept = fold_batch_norm(net)
    assert [note.split("'")[1] for note in kept.notes] == ["first", "norm", "joined"]


def test_before_linear_layers_and_what_stays() -> None:
    model = nn.Sequential(nn.BatchNorm1d(6), nn.Linear(6, 4), nn.ReLU(), nn.BatchNorm1d(4))
    net = capture(lived_in(model).eval(), input_shape=(1, 6))
    found = fold_forward(net)
    assert [node.op for node in found.graph.nodes] == ["linear", "relu", "batch_norm"]
    assert found.notes == ("batch norm '3' stays: it normalises features, which no convolution can do",)
    x = torch.randn(5, 6)
    assert alike(found(x), net(x)) < 1e-5


class Traps(nn.Module):
    """Functional relu, in-place add, a module called twice, a shortcut of slices and zero channels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(8)
        self.twice = nn.Conv2d(8, 8, 3, padding=1, groups=4)
        self.wide = nn.Conv2d(8, 16, 3, stride=2, padding=1)
        self.bn2 = nn.BatchNorm2d(16)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn(self.conv(x)))
        y = self.twice(F.relu(self.twice(y)))
        y += x
        z = self.bn2(self.wide(y))
        return F.relu(z + F.pad(y[:, :, ::2, ::2], (0, 0, 0, 0, 4, 4)))


def test_capture_traps() -> None:
    from bitjoule.network.absorb import absorb_bias
    from bitjoule.network.equalize import equalize
    from bitjoule.network.split import split_outliers

    net = capture(lived_in(Traps()).eval(), input_shape=IMAGE)
    found = split_outliers(equalize(fold_all(net)), 0.1)
    x = torch.randn(3, *IMAGE[1:])
    assert alike(found(x), net(x)) <= 1e-4
    assert alike(absorb_bias(fold_all(net))(x), net(x)) <= 1e-4  # nothing to absorb into: both pad
    assert "equalization found no pair of consecutive layers" in found.notes


def test_statistics_of_folded_layers_and_what_follows() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1)
            self.na, self.nb = nn.BatchNorm2d(8), nn.BatchNorm2d(8)

        def forward(self, x: Tensor) -> Tensor:
            return F.relu(self.na(self.a(x)) + self.nb(self.b(x)))

    net = capture(lived_in(Block()).eval(), input_shape=IMAGE)
    beta, gamma = (
        [net.module.get_parameter(f"{n}.{role}").detach() for n in ("na", "nb")]
        for role in ("bias", "weight")
    )
    folded = fold_batch_norm(net)
    for found in (edge_statistics(folded), edge_statistics(folded.clone())):
        assert torch.equal(found["a"].mean, beta[0]) and torch.equal(found["b"].std, gamma[1].abs())
        assert torch.allclose(found["add"].mean, beta[0] + beta[1])
        assert torch.allclose(found["add"].std, (gamma[0] ** 2 + gamma[1] ** 2).sqrt())
        assert float(found["relu"].mean.min()) >= 0


@pytest.mark.parametrize(
    ("mean", "std", "upper"), [(0.3, 1.2, float("inf")), (4.0, 2.0, 6.0), (-3.0, 0.5, 6.0)]
)
def test_clipped_moments_equal_quadrature(mean: float, std: float, upper: float) -> None:
    made = clipped_moments(
        EdgeStatistics(torch.tensor([mean], dtype=torch.float64), torch.tensor([std], dtype=torch.float64)),
        upper,
    )
    normal = stats.norm(mean, std)
    top = min(upper, mean + 12 * std)

    def moment(power: int) -> float:
        inside = integrate.quad(lambda x: x**power * normal.pdf(x), 0, max(top, 0), epsabs=1e-13)[0]
        return float(inside + (upper**power * normal.sf(upper) if upper < 100 else 0.0))

    assert made.mean.item() == pytest.approx(moment(1), abs=1e-8)
    assert made.std.item() ** 2 == pytest.approx(moment(2) - moment(1) ** 2, abs=1e-8)
    fixed = clipped_moments(EdgeStatistics(torch.tensor([9.0, -1.0]), torch.zeros(2)), 6.0)
    assert fixed.mean.tolist() == [6.0, 0.0] and fixed.std.tolist() == [0.0, 0.0]
