"""The table of training.md section 3 on networks of the zoo, in HPR, where residuals have high precision."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import pytest

from bitjoule import zoo
from bitjoule.network import capture
from bitjoule.scheme import parse_scheme
from bitjoule.workload import Graph, Workload, workload_of
from bitjoule.workload.repairs import repair_graph
from bitjoule.workload.repairs.sites import binary_layers
from tests.workload.repairs.chains import Shape, added, block, elements

NETWORKS = {
    "resnet20": ("resnet20", {"option": "B"}),
    "bireal20": ("bireal20", {}),
    "resnet8": ("resnet8", {}),
}


@functools.cache
def graph(name: str) -> Graph:
    known, options = NETWORKS.get(name, (name, {}))
    model = zoo.build(known, options, seed=0)
    return capture(model, input_shape=zoo.input_shape(known, options), name=name).graph


@functools.cache
def base(name: str) -> Workload:
    return workload_of(graph(name), "hpr-w1a1")


def totals(name: str) -> tuple[int, int, int]:
    """C H W of what signs of wide tensors read, C H W of all, K P Q; summed over the binary layers."""
    found = base(name)
    layers = [found.layer(layer) for layer in binary_layers(graph(name), parse_scheme("hpr-w1a1"))]
    read = [found.tensors[layer.inputs[0]] for layer in layers]
    wide = sum(tensor.elements for tensor in read if tensor.bits > 1)
    return wide, sum(tensor.elements for tensor in read), sum(layer.output_elements for layer in layers)


def test_networks_have_signs_of_both_kinds() -> None:
    assert totals("resnet20") == (98_304, 184_320, 172_032)  # the second convolutions read stored signs
    assert totals("bireal20") == (184_320, 184_320, 172_032)


@pytest.mark.parametrize("name", NETWORKS)
def test_no_operator_of_a_clip_is_left_where_a_sign_stands(name: str) -> None:
    assert not {"relu", "hardtanh"} & set(elements(base(name)))


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("repair", ["learned_shift", "pre_bn", "scale_xnorpp", "prelu", "rprelu", "dprelu"])
def test_each_repair_against_the_table(name: str, repair: str) -> None:
    wide, _, outputs = totals(name)
    joined = elements(base(name))["add"]  # results that an add takes: their norms multiply before
    rows: Mapping[str, Mapping[str, int]] = {
        "learned_shift": {"add": wide},
        "pre_bn": {"compare": wide, "batch_norm": -joined},
        "scale_xnorpp": {"mul": outputs},
        "prelu": {"prelu": outputs, "batch_norm": outputs - joined},
        "rprelu": {"prelu": outputs, "batch_norm": outputs - joined, "add": outputs + joined},
        "dprelu": {"prelu": outputs, "batch_norm": outputs - joined, "add": outputs + joined},
    }
    expected = {kind: count for kind, count in rows[repair].items() if count}
    assert added(workload_of(graph(name), f"hpr-w1a1+{repair}"), base(name)) == expected


@pytest.mark.parametrize("name", NETWORKS)
def test_a_shortcut_round_what_has_none(name: str) -> None:
    _, _, outputs = totals(name)
    after = workload_of(graph(name), "hpr-w1a1+double_residual")
    assert elements(after)["add"] == outputs


def test_reactnet_has_its_repairs_already() -> None:
    react, plain = graph("reactnet20"), workload_of(graph("reactnet20"), "hpr-w1a1")
    shifts = sum(plain.layer(name).input_elements for name in binary_layers(react, parse_scheme("hpr-w1a1")))
    assert elements(plain)["add"] == 3 * totals("bireal20")[2] + shifts  # shortcut and two shifts, RSign
    for name in ("double_residual", "learned_shift", "rprelu"):
        after = workload_of(react, f"hpr-w1a1+{name}")
        assert added(after, plain) == {} and after.parameters == plain.parameters
    notes = repair_graph(react, parse_scheme("w1a1"), ("learned_shift",)).notes
    assert notes[0] == "learned_shift left 'layer1.0.conv': it has a shift before its sign already"
    assert len(notes) == 18


def test_a_binary_shortcut_becomes_one_of_8_bits() -> None:
    graph_ = block(Shape(C=8, K=16, stride=2))
    for scheme in ("w1a1+hp_downsample", "w1a1+hp_downsample[downsample=same]"):
        short = workload_of(graph_, scheme).layer("short")
        assert (short.weight_bits, short.input_bits, short.stride) == (8, 8, (1, 1)), scheme
    narrow = workload_of(block(Shape(C=8, K=16)), "w1a1+hp_downsample[downsample=same]")
    assert narrow.layer("short").weight_bits == 8  # channels alone change: nothing to pool
    one, two = (workload_of(graph_, f"w1a1+hp_downsample{more}") for more in ("", "[downsample=same]"))
    assert (one.layers, one.operations) == (two.layers, two.operations)
