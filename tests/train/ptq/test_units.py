"""Where a network is cut into units of reconstruction."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bitjoule.network import Network, capture
from bitjoule.scheme import parse_scheme
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
