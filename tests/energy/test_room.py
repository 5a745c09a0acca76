"""`bitjoule.energy(...)`: what it takes, and what it says to anything else."""

import pytest

import bitjoule
from bitjoule.workload import workload_of
from tests.graphs import vgg


def test_takes_a_graph_a_workload_and_whatever_has_a_graph() -> None:
    graph = vgg()
    priced = bitjoule.energy(graph, "w4a4", "moons-4mb")
    assert priced == bitjoule.energy(workload_of(graph, "w4a4"), None, bitjoule.hardware("moons-4mb"))
    assert bitjoule.energy(type("Captured", (), {"graph": graph})(), "w4a4") == priced


def test_refusals() -> None:
    with pytest.raises(TypeError, match=r"not int: capture the module first, net = bitjoule\.capture"):
        bitjoule.energy(3, "w4a4")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="this workload has the Formats of 'w4a4'"):
        bitjoule.energy(workload_of(vgg(), "w4a4"), "int8")
