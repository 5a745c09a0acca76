"""N:M pruned weights on every energy model: less storage and traffic, the same MACs, and a note."""

from dataclasses import replace

import pytest

from bitjoule.energy import CostOptions, cost
from bitjoule.formats import parse_tensor_format
from bitjoule.hardware import load
from bitjoule.workload import Workload
from bitjoule.workload.sparsity import Sparsity
from tests.energy.networks import conv, dense, workload

NOTE = (
    "weights of 1 of 2 layers are pruned {}: survivors and their places are stored and moved, expanded at "
    "the MAC units; every MAC is executed, none is skipped"
)


def net(sparsity: Sparsity | None, text: str = "INT4") -> Workload:
    one = parse_tensor_format(text)
    made = workload("two", [conv("a", 4, 8, 4, "input", one), dense("fc", 64, 64, "a.out", one)])
    return replace(made, layers=(made.layers[0], replace(made.layers[1], sparsity=sparsity)))


def weight_pj(found, component):
    return sum(
        item.energy_pj
        for item in found.items
        if item.layer == "fc" and item.tensor == "weights" and item.component == component
    )


def test_the_core_streams_survivors_and_places():
    hardware = load("braintta22")
    whole, pruned = (cost(net(rule), hardware) for rule in (None, Sparsity(2, 4)))
    layer = net(None).layer("fc")
    bits = layer.weight_elements * 3 + layer.bias_elements * 32
    assert pruned.footprint_bits["fc", "pmem"] == bits
    moved = [i for i in pruned.items if (i.layer, i.component, i.tensor) == ("fc", "level:dram", "weights")]
    assert [item.count for item in moved] == [-(-bits // 32)]
    assert pruned.latency_cycles == whole.latency_cycles and pruned.macs == whole.macs
    assert pruned.notes[-1] == NOTE.format("2:4") and NOTE[:10] not in "".join(whole.notes)


def test_the_closed_form_stores_fewer_words():
    hardware = load("moons-unbounded")
    whole, pruned = (cost(net(rule), hardware) for rule in (None, Sparsity(2, 4)))
    assert weight_pj(pruned, "moons:main") == pytest.approx(0.75 * weight_pj(whole, "moons:main"))
    assert weight_pj(pruned, "moons:local") == weight_pj(whole, "moons:local")  # every MAC reads a weight
    small = load("moons-1mb")
    assert cost(net(Sparsity(1, 4)), small).energy_pj < cost(net(Sparsity(2, 4)), small).energy_pj
    assert pruned.notes[-1] == NOTE.format("2:4")


def test_a_hierarchy_moves_fewer_words_of_weights():
    hardware = load("eyeriss")
    whole, pruned = (cost(net(rule, "INT8"), hardware) for rule in (None, Sparsity(2, 4)))
    assert weight_pj(pruned, "level:dram") < 0.7 * weight_pj(whole, "level:dram")  # 5 of 8 bits a weight
    assert pruned.by("component")["mac",] == whole.by("component")["mac",]
    assert NOTE.format("2:4") in pruned.notes
    pinned = cost(net(Sparsity(2, 4), "INT8"), hardware, options=CostOptions(pin_weights=True))
    assert pinned.energy_pj <= pruned.energy_pj
