"""A weight that several layers read is computed with every time and stored once."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bitjoule.energy import cost
from bitjoule.hardware import load
from bitjoule.network import Network, capture, fold_batch_norm
from bitjoule.search.proxies import proxies
from bitjoule.workload import Graph, Workload


class Recurrent(nn.Module):
    """One convolution called five times."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.conv = nn.Conv2d(8, 8, 3, padding=1)
        self.fc = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stem(x))
        for _ in range(5):
            x = torch.relu(self.conv(x))
        return self.fc(x.mean((2, 3)))


class Siamese(nn.Module):
    """One branch for two images."""

    def __init__(self) -> None:
        super().__init__()
        self.branch = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU())
        self.fc = nn.Linear(8, 2)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        branches = [self.branch(image).mean((2, 3)) for image in (left, right)]
        return self.fc(torch.cat(branches, 1))


class TiedLinears(nn.Module):
    """Two linear layers of one weight, each with a bias of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 6)
        self.second = nn.Linear(6, 6)
        self.second.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.relu(self.first(x)))


class TiedTranspose(nn.Module):
    """An autoencoder that decodes with the encoder's weight, transposed."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(torch.relu(self.encoder(x)), self.encoder.weight.t())


class TiedTable(nn.Module):
    """A classifier over words that reads the table of the embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(20, 6)
        self.head = nn.Linear(6, 20)
        self.head.weight = self.table.weight

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.table(ids).mean(1))


IMAGE = torch.zeros(1, 3, 8, 8)
MODELS: list[tuple[nn.Module, tuple[Tensor, ...], int, int]] = [
    # model, inputs, weights of its layers, MACs
    (Recurrent(), (IMAGE,), 216 + 576 + 16, 64 * (216 + 5 * 576) + 16),
    (Siamese(), (IMAGE, IMAGE), 108 + 16, 2 * 36 * 108 + 16),
    (TiedLinears(), (torch.zeros(1, 6),), 36, 72),
    (TiedTranspose(), (torch.zeros(1, 6),), 18, 36),
    (TiedTable(), (torch.zeros(1, 5, dtype=torch.int64),), 120, 120),
]


def captured(model: nn.Module, inputs: tuple[Tensor, ...]) -> Network:
    return capture(model, example_inputs=inputs)


@pytest.mark.parametrize(
    ("model", "inputs", "weights", "macs"), MODELS, ids=[type(model).__name__ for model, *_ in MODELS]
)
def test_storage_is_counted_once_and_work_for_every_call(
    model: nn.Module, inputs: tuple[Tensor, ...], weights: int, macs: int
) -> None:
    net = captured(model, inputs)
    work = net.workload("w4a4[first=same,last=same]")
    assert work.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert (work.weight_elements, work.weight_bits, work.macs) == (weights, 4 * weights, macs)
    found = proxies(work.layers)
    assert (found["params"], found["model_bits"]) == (weights, 4 * weights)
    assert Graph.from_json(net.graph.to_json()) == net.graph
    assert Workload.from_json(work.to_json()) == work


def test_biases_are_shared_apart_from_weights() -> None:
    assert captured(*MODELS[0][:2]).workload().bias_elements == 8 + 8 + 2
    tied = captured(*MODELS[2][:2])
    assert tied.workload().bias_elements == 6 + 6
    assert [dict(node.shared) for node in tied.graph.mac_nodes()] == [{"weight": "first.weight"}] * 2


def test_a_weight_read_in_two_formats_is_stored_in_both() -> None:
    work = captured(*MODELS[2][:2]).workload("w4a4[first=8,last=same]")
    assert work.weight_bits == 36 * 8 + 36 * 4


def test_slices_of_one_parameter_are_weights_of_their_own() -> None:
    class Sliced(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(8, 4))

        def forward(self, x: Tensor) -> Tensor:
            return F.linear(x, self.weight[:4]) + F.linear(x, self.weight[4:])

    work = capture(Sliced(), input_shape=(1, 4)).workload()
    assert (work.parameters, work.weight_elements) == (32, 32)


@pytest.mark.parametrize(("room_bits", "excess_words"), [(4 * 826, 0), (4 * 413, 413)])
def test_the_closed_form_stores_words_once_and_reads_them_for_every_call(
    room_bits: int, excess_words: int
) -> None:
    work = captured(*MODELS[0][:2]).workload("w4a4[first=same,last=same]")
    stored, read = 826, 224 + 5 * 584 + 18
    assert work.parameters == stored
    preset = dict(load("moons-4mb").to_mapping())
    rules = {
        "on_chip_bits": 2 * room_bits,
        "weight_share": 0.5,
        "s_re_rule": "excess",
        "biases_counted": True,
    }
    priced = cost(work, load({**preset, "moons": {**preset["moons"], **rules}}))  # type: ignore[dict-item]
    counted = {
        component: sum(i.count for i in priced.items if (i.component, i.tensor) == (component, "weights"))
        for component in ("moons:main", "moons:dram")
    }
    assert counted["moons:main"] == read
    assert counted["moons:dram"] == pytest.approx(read * excess_words / stored, abs=7 * 0.5)


def test_a_layer_that_is_folded_owns_its_bias() -> None:
    class SharedBias(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.norm = nn.Linear(4, 4), nn.Linear(4, 4), nn.BatchNorm1d(4)
            self.b.bias = self.a.bias

        def forward(self, x: Tensor) -> Tensor:
            return self.b(self.norm(self.a(x)))

    net = capture(SharedBias(), input_shape=(1, 4))
    assert net.workload().parameters == 16 + 16 + 4 + 8
    folded = fold_batch_norm(net)
    assert folded.workload().parameters == sum(p.numel() for p in folded.parameters()) == 16 + 16 + 4 + 4
