"""Layers that a hierarchy cannot run are infeasible, never another error."""

from __future__ import annotations

import pytest

from bitjoule.energy import CostOptions, Infeasible, cost
from bitjoule.formats import parse_tensor_format
from bitjoule.hardware import load
from bitjoule.workload import Workload
from tests.energy.networks import conv, dense, workload

MODES = ("physical", "paper")


def net(text: str) -> Workload:
    """A convolution and a dense layer of one Format."""
    one = parse_tensor_format(text)
    return workload("two", [conv("a", 4, 3, 4, "input", one), dense("fc", 3, 64, "a.out", one)])


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("simba", "INT16", "a has weights of 16 bits, and in paper mode pe_weights of simba takes 1..8; "
         "choose mode physical, or at most 8 bits"),
        ("eyeriss", "FLOAT32", "a has outputs of 32 bits, and in paper mode psum_rf of eyeriss takes 1..16; "
         "choose mode physical, or at most 16 bits"),
    ],
)  # fmt: skip
def test_paper_mode_takes_no_element_wider_than_a_word(name: str, text: str, message: str) -> None:
    with pytest.raises(Infeasible) as caught:
        cost(net(text), load(name), options=CostOptions(mode="paper"))
    assert str(caught.value) == message


@pytest.mark.parametrize("name", ["eyeriss", "simba"])
def test_paper_mode_never_costs_more_than_physical(name: str) -> None:
    physical, paper = (cost(net("INT8"), load(name), options=CostOptions(mode=mode)) for mode in MODES)  # type: ignore[arg-type]
    assert paper.energy_pj < physical.energy_pj  # partial sums at output width
    assert paper.notes[0].startswith(f"memory hierarchy {name}, mode paper, residency optimal")
