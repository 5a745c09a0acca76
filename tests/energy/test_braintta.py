"""Cost of whole networks on the BrainTTA-like core: traffic, residency, epilogue, what does not fit."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from bitjoule.energy import Cost, Infeasible, braintta
from bitjoule.formats import parse_tensor_format
from bitjoule.hardware import Hardware, load
from bitjoule.workload import Workload, workload_of
from tests.energy.networks import conv, moons_net, residual_net, workload
from tests.graphs import resnet_block


def hardware(**parameters: object) -> Hardware:
    document = dict(load("braintta22").to_mapping())
    return load({**document, "tta": {**document["tta"], **parameters}})  # type: ignore[dict-item]


def traffic(cost: Cost, tensor: str) -> int:
    return sum(i.bits_moved for i in cost.items if (i.component, i.tensor) == ("level:dram", tensor))


def test_with_room_only_image_weights_and_logits_cross_dram() -> None:
    net = moons_net((1, 1), (16, 32), 4, side=16)
    cost = braintta(net, hardware())
    weights = sum(layer.weight_elements * 4 + layer.bias_elements * 32 for layer in net.layers)
    assert traffic(cost, "weights") == weights
    assert traffic(cost, "inputs") == 3 * 16 * 16 * 4
    assert traffic(cost, "outputs") == 10 * 32
    assert cost.traffic_bits == weights + 3 * 16 * 16 * 4 + 320
    assert cost.dram_pj == pytest.approx(8 * cost.traffic_bits)


def test_energy_is_cycles_times_prices() -> None:
    net, hw = moons_net((1,), (64,), 8), hardware()
    cost, tta = braintta(net, hw), hw.tta
    assert tta is not None
    by = cost.by("layer", "component")
    cycles = 32 * 32 * 2 * 9 * 1  # C = 3 fills one word of 4
    assert by[("block1.conv1", "mac")] == pytest.approx(cycles * 103.68)
    assert by[("block1.conv1", "op:epilogue")] == pytest.approx(32 * 32 * 2 * 2 * tta.e_overhead_pj)
    pool = 16 * 16 * 64 // 32 * 3  # k^2 - 1 compares per vector of 32
    assert by[("block1.pool", "op:max_pool")] == pytest.approx(pool * tta.e_overhead_pj)
    assert cost.latency_cycles["block1.conv1"] == cycles + 32 * 32 * 2 * 2
    assert cost.latency_cycles["block1.pool"] == pool


def test_a_fused_add_is_priced_with_its_layer_and_keeps_the_shortcut() -> None:
    net = residual_net()
    roomy = braintta(net, hardware())
    assert traffic(roomy, "residual") == 0
    adds = roomy.by("layer", "component")[("conv2", "op:add")]
    assert adds == pytest.approx(16 * 16 * 16 // 32 * load("braintta22").tta.e_overhead_pj)  # type: ignore[union-attr]
    tight = braintta(net, hardware(dmem_bits=20_000))
    assert traffic(tight, "residual") == 16 * 16 * 16 * 4
    assert tight.total_cycles == roomy.total_cycles
    assert tight.dram_shares["residuals"] > 0


def test_residency_modes_are_ordered() -> None:
    net, hw = residual_net(), hardware(dmem_bits=20_000)
    ideal, best, none = (braintta(net, hw, residency=mode) for mode in ("ideal", "optimal", "none"))  # type: ignore[arg-type]
    assert ideal.energy_pj < best.energy_pj < none.energy_pj
    assert "residency none" in none.notes[0]
    core = [cost.energy_pj - cost.dram_pj for cost in (ideal, best, none)]
    assert core == pytest.approx([core[0]] * 3)


def test_footprint_respects_the_memories() -> None:
    cost = braintta(moons_net((2, 2), (32, 64), 8), hardware(dmem_bits=300_000, pmem_bits=100_000))
    assert cost.peak_footprint_bits["dmem"] <= 300_000
    assert cost.peak_footprint_bits["pmem"] <= 100_000


def test_weights_larger_than_pmem_stream_once_per_output_tile() -> None:
    q = parse_tensor_format("INT8")
    net = workload("wide", (conv("conv", 64, 64, 32, "input", q),))
    bits = 64 * 64 * 9 * 8 + 64 * 32
    assert traffic(braintta(net, hardware()), "weights") == bits
    small = hardware(pmem_bits=bits - 1, dmem_bits=200_000)
    tiles = math.ceil(64 * 32 * 32 * 8 / 200_000)
    assert tiles == 3
    assert traffic(braintta(net, small), "weights") == tiles * bits


def test_a_memory_too_small_for_streaming_is_infeasible() -> None:
    with pytest.raises(Infeasible) as caught:
        braintta(residual_net(), hardware(dmem_bits=1000))
    assert str(caught.value) == (
        "stem needs 1,600 bits of feature-map memory even when every tensor is streamed, there are 1,000; "
        "raise tta.dmem_bits of braintta22, or choose fewer bits for its tensors"
    )


def test_rounded_widths_are_noted() -> None:
    net = moons_net((1,), (8,), 3, side=8)
    cost = braintta(net, hardware())
    assert cost.notes[1] == "3-bit operands run as 4 bits: block1.conv1, classifier"
    assert "e_cycle calibrated to arXiv 2211.11331" in cost.notes[0]
    assert cost.provenance["mac"] == "INT4: derived"


def test_workloads_must_name_their_tensors() -> None:
    net = residual_net()
    with pytest.raises(
        ValueError, match=r"step 'stem' names tensor 'stem\.out', which is not among its tensors"
    ):
        braintta(replace(net, tensors={k: v for k, v in net.tensors.items() if k != "stem.out"}), hardware())
    with pytest.raises(ValueError, match="order and steps differ in other; make workloads with workload_of"):
        braintta(replace(net, order=(*net.order, "other")), hardware())


def test_another_kind_of_hardware_is_refused() -> None:
    with pytest.raises(ValueError, match="hardware 'moons-4mb' is of kind moons, this model needs kind tta"):
        braintta(Workload("n", "s", ()), load("moons-4mb"))


def test_high_precision_residuals_cost_cycles() -> None:
    """HPR: the add is a step of its own and is requantized, and the layers behind read a narrow copy."""
    core = load("braintta22")
    overhead_pj = core.tta.e_overhead_pj  # type: ignore[union-attr]
    sp, hpr = (braintta(workload_of(resnet_block(), scheme), core) for scheme in ("w4a4", "hpr-w4a4"))
    assert hpr.energy_pj > sp.energy_pj
    vectors = 16 * 8 * 8 // 32
    cycles = {key: round(pj / overhead_pj) for key, pj in hpr.by("layer", "component").items()}
    assert cycles["block.add", "op:requantize"] == cycles["block.conv1", "op:requantize"] == 3 * vectors
    assert cycles["block.add", "op:add"] == vectors
    assert ("block.conv2", "op:requantize") not in cycles
    assert sp.by("layer", "component")["pool", "op:requantize"] == pytest.approx(3 * overhead_pj)
