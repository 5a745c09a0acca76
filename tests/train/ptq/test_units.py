"""Where a network is cut into units of reconstruction."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from bitjoule.network import Network, capture
from bitjoule.scheme import parse_scheme
from bitjoule.train.ptq import ptq
from bitjoule.train.ptq.place import placed
from bitjoule.train.ptq.trace import Trace, weight_readers
from bitjoule.train.ptq.units import units


class Long(nn.Module):
    """Ten layers inside one residual block, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(*(nn.Linear(4, 4) for _ in range(10)))
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(x)
        return self.head(torch.relu(self.inner(y) + y))


def layers_of(net: Network) -> list[int]:
    quantized = placed(net, parse_scheme("w4a4"), asymmetric_below_bits=5, image_signed=True)
    trace, readers = Trace(quantized, []), weight_readers(quantized)
    found = units(trace)
    assert [node for unit in found for node in unit] == trace.order
    return [sum(node in readers for node in unit) for unit in found]


def test_a_block_is_one_unit_and_long_ones_are_cut(tiny: Network) -> None:
    assert sorted(layers_of(tiny)) == [1, 1, 1, 2]
    assert layers_of(capture(Long().eval(), input_shape=(1, 4)).eval()) == [8, 2, 1]


@pytest.mark.parametrize("layers", [2, 3])
def test_what_follows_the_last_layer_belongs_to_its_unit(layers: int, images: Tensor) -> None:
    """A network that ends with a pool, as SqueezeNet does."""
    convolutions = [m for i in range(layers) for m in (nn.Conv2d(3 + i, 4 + i, 3), nn.ReLU())]
    model = nn.Sequential(*convolutions, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    net = capture(model.eval(), input_shape=(1, 3, 12, 12)).eval()
    found = ptq(net, images, "w4a4[first=same,last=same]")
    trace = Trace(found, [images])
    assert [node for unit in units(trace) for node in unit] == trace.order
    assert all(any(node in weight_readers(found) for node in unit) for unit in units(trace))
