"""The presets against what was published of the chips they describe (energy.md section 7: V4, V5, V8)."""

from __future__ import annotations

import math
from functools import cache

import pytest

from bitjoule.energy import CostItem, price
from bitjoule.formats import parse_tensor_format
from bitjoule.hardware import Hardware, load
from bitjoule.mapping import best_mapping
from bitjoule.workload import Layer

TENSORS = ["weights", "inputs", "outputs"]
INT16, INT8 = parse_tensor_format("INT16"), parse_tensor_format("INT8")


def conv(name: str, k: int, c: int, side: int, kernel: int, stride: int = 1, groups: int = 1) -> Layer:
    """A convolution of AlexNet on a batch of 4."""
    return Layer(
        name,
        "conv",
        *(4, k, c, side, side, kernel, kernel),
        groups=groups,
        stride=(stride, stride),
        weight_format=INT16,
        input_format=INT16,
        output_format=INT16,
    )


ALEXNET = (
    conv("conv1", 96, 3, 55, 11, stride=4),
    conv("conv2", 256, 96, 27, 5, groups=2),
    conv("conv3", 384, 256, 13, 3),
    conv("conv4", 384, 384, 13, 3, groups=2),
    conv("conv5", 256, 384, 13, 3, groups=2),
)
MACS = sum(layer.macs for layer in ALEXNET)


@cache
def alexnet() -> tuple[int, tuple[CostItem, ...]]:
    """Cycles and items on `eyeriss`, every layer at its least energy times delay."""
    hardware = load("eyeriss")
    found = [best_mapping(layer, hardware, objective="edp") for layer in ALEXNET]
    assert all(result.optimal for result in found)
    items = [
        item
        for layer, result in zip(ALEXNET, found, strict=True)
        for item in price(result.evaluation, layer, hardware)
    ]
    return sum(result.latency_cycles for result in found), tuple(items)


def energy_pj(*components: str) -> float:
    """Of the components that begin with one of these."""
    return math.fsum(item.energy_pj for item in alexnet()[1] if item.component.startswith(components))


def test_eyeriss_runs_alexnet_in_the_cycles_of_the_chip() -> None:
    """JSSC 2017: 103.5 ms of processing at 200 MHz, 88 % of the PEs active."""
    assert pytest.approx(2.66e9, rel=2e-3) == MACS
    cycles, _ = alexnet()
    assert 1 / 1.5 < cycles / (103.5e-3 * 200e6) < 1.5
    assert MACS / (168 * cycles) == pytest.approx(0.88, abs=0.1)


def test_eyeriss_spends_what_the_chip_spends_to_a_factor_of_two() -> None:
    """278 mW over 115.3 ms; clock network and control are in the chip's, DRAM and dense data in ours."""
    chip_pj = 278e-3 * 115.3e-3 * 1e12
    assert chip_pj / MACS == pytest.approx(12.0, abs=0.1)
    assert 0.5 < energy_pj("") / chip_pj < 2


def test_eyeriss_moves_what_the_chip_moves_to_a_factor_of_two() -> None:
    """0.0029 DRAM accesses of 16 bits a MAC with maps compressed 1.2 to 1.9 times; 208.5 MB at the GLB."""
    moved = dict.fromkeys(("level:dram", "level:glb"), 0)
    for item in alexnet()[1]:
        if item.component in moved:
            moved[item.component] += item.bits_moved
    assert 0.0029 < moved["level:dram"] / 16 / MACS < 2 * 0.0029
    assert 0.5 < moved["level:glb"] / 8e6 / 208.5 < 2


def test_the_multipliers_are_the_least_of_the_array() -> None:
    """The chip: arithmetic under a tenth of its power. Here no clock is counted, and RF = MAC per access."""
    assert energy_pj("mac") < 0.2 * energy_pj("")
    pads = energy_pj("level:ifmap_rf", "level:filter_rf", "level:psum_rf")
    assert pads > energy_pj("level:glb", "noc:glb") and pads > energy_pj("level:dram")


DATAFLOWS = {
    "weights rest": ((("K", "G"), ("C", "R", "S")), ("Q", "P", "N")),
    "outputs rest": ((("Q", "K"), ("P", "K")), ("S", "R", "C")),
    "nothing rests": ((("K",), ("C",)), ()),
}
"""Fan-outs x and y, and what iterates innermost in the global buffer."""


def other_dataflow(name: str) -> Hardware:
    """`eyeriss` with pads of one word; the global buffer has their bits, and holds weights too."""
    fanouts, order = DATAFLOWS[name]
    document = dict(load("eyeriss").to_mapping())
    dram, glb, *pads = (dict(level) for level in document["levels"])  # type: ignore[attr-defined]
    for pad in pads:
        glb["size_bits"] += 168 * (pad["size_bits"] - 16)
        pad.update(size_bits=16, temporal_dims=[])
    axes = zip("xy", (14, 12), fanouts, strict=True)
    glb["fanout"] = {axis: {"size": size, "dims": list(dims)} for axis, size, dims in axes}
    glb.update(keeps=TENSORS, bypass_allowed=TENSORS, temporal_order=list(order))
    return load({**document, "name": name, "levels": [dram, glb, *pads]})


@pytest.mark.parametrize("name", DATAFLOWS)
def test_row_stationary_spends_least(name: str) -> None:
    """ISCA 2016: 1.4 to 2.5 times less than other dataflows on AlexNet's convolutions, on equal area."""
    for layer in (ALEXNET[2], ALEXNET[4]):
        rows, other = (best_mapping(layer, hardware) for hardware in (load("eyeriss"), other_dataflow(name)))
        assert rows.optimal and other.optimal
        assert 1.4 < other.energy_pj / rows.energy_pj < 2.5


def test_simba_at_its_best_is_within_three_times_of_the_chip() -> None:
    """MICRO 2019: 0.11 pJ per operation, whole chip, 8 bits; DRAM is not on the chip."""
    layer = Layer(
        "conv",
        "conv",
        *(1, 64, 64, 16, 16, 3, 3),
        weight_format=INT8,
        input_format=INT8,
        output_format=INT8,
    )
    hardware = load("simba")
    items = price(best_mapping(layer, hardware).evaluation, layer, hardware)
    chip = math.fsum(item.energy_pj for item in items if item.component != "level:dram")
    assert 0.11 / 3 < chip / (2 * layer.macs) < 0.11 * 3
