"""Every edge of every zoo network in both graph modes, against golden files (training.md section 2).

One line per edge, `tensor -> consumer[operand]: format`; `acc` never leaves an accumulator. The lists do not
depend on widths or image sizes beyond the number of adds, so small ones stand for all.
"""

import functools
from pathlib import Path

import pytest

from bitjoule.network import Network, apply_scheme, capture, edges
from bitjoule.zoo import build, input_shape, networks

FOLDER = Path(__file__).parent / "edges"
SCHEMES = ("w4a4", "hpr-w4a4")
# file name -> network and options; networks not named here stand for themselves
VARIANTS: dict[str, tuple[str, dict[str, object]]] = {
    "resnet18": ("resnet18", {"width": 0.25, "image_size": 32}),
    "bireal18": ("bireal18", {"width": 0.125, "image_size": 32}),
    "reactnet18": ("reactnet18", {"width": 0.125, "image_size": 32}),
    "bireal20": ("bireal20", {"width": 0.5}),
    "reactnet20": ("reactnet20", {"width": 0.5}),
    "resnet20-b": ("resnet20", {"option": "B", "width": 0.5}),
    "resnet32": ("resnet32", {"width": 0.5}),
    "resnet56": ("resnet56", {"width": 0.25}),
    "mobilenet_v1": ("mobilenet_v1", {"width": 0.25, "image_size": 64}),
    "mobilenet_v2": ("mobilenet_v2", {"image_size": 64}),
    "mobilenet_v2-x0.25": ("mobilenet_v2", {"width": 0.25, "image_size": 64}),
    "vgg-moons": ("vgg-moons", {"width": 0.25}),
    "lfc": ("lfc", {"width": 0.25}),
}
ADDS = {
    "resnet20": 9,
    "resnet8": 3,
    "mobilenet_v2": 10,
    "mobilenet_v2-x0.25": 11,
    "vgg-moons": 0,
    "bireal20": 18,
    "reactnet18": 16,
}
NAMES = sorted({card.name for card in networks()} | set(VARIANTS))


@functools.cache
def captured(name: str) -> Network:
    network, options = VARIANTS.get(name, (name, {}))
    return capture(build(network, options, seed=0), input_shape=input_shape(network, options), name=name)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("name", NAMES)
def test_edges_are_the_golden_ones(name: str, scheme: str, rewrite_edges: bool) -> None:
    found = "".join(
        f"{edge.tensor} -> {edge.consumer}[{edge.operand}]: {edge.format}\n"
        for edge in edges(apply_scheme(captured(name), scheme))
    )
    file = FOLDER / f"{name}.{scheme}.txt"
    if rewrite_edges:
        FOLDER.mkdir(exist_ok=True)
        file.write_text(found, encoding="utf-8")
    assert file.is_file(), f"no {file.name}: pytest tests/network --rewrite-edges writes it"
    assert found.splitlines() == file.read_text(encoding="utf-8").splitlines()


def test_every_golden_file_has_its_network() -> None:
    assert {file.name for file in FOLDER.iterdir()} == {
        f"{name}.{scheme}.txt" for name in NAMES for scheme in SCHEMES
    }


@pytest.mark.parametrize("name", NAMES)
def test_the_operands_of_an_add_meet_in_one_width(name: str) -> None:
    """SP: a stored skip tensor, rescaled to the accumulator of the other. HPR: both are INT16."""
    net = captured(name)
    adds = [node for node in net.graph.nodes if net.graph.is_residual_add(node)]
    assert len(adds) == ADDS.get(name, len(adds))
    for scheme in SCHEMES:
        assignment = apply_scheme(net, scheme).assignment
        assert assignment is not None
        for node in adds:
            reads = [assignment.reads[node.name, operand] for operand in range(len(node.inputs))]
            bits = sorted(0 if read is None else read.format.bits for read in reads)
            if scheme == "hpr-w4a4":
                assert bits == [16, 16], node.name
                assert {str(read.format.name) for read in reads if read is not None} == {"INT16"}
            else:
                assert bits == [0, 4], node.name
