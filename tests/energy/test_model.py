"""One suite for every cost model: what must hold on any hardware, for any workload."""

from __future__ import annotations

import json
import math
import pickle
from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitjoule.energy import Cost, CostOptions, Infeasible, cost, cost_model_version
from bitjoule.energy.cost import KEYS
from bitjoule.formats import parse_tensor_format
from bitjoule.hardware import load, presets
from bitjoule.workload import Workload
from tests.energy.networks import moons_net, reference_net, residual_net, resnet18

HARDWARE = presets()
NETS = (
    moons_net((1, 1), (8, 24), 4, side=8),
    moons_net((2,), (40,), 1, side=16),
    residual_net(2),
    reference_net(8),
)


@pytest.mark.parametrize("name", HARDWARE)
class TestEveryModel:
    @pytest.mark.parametrize("net", NETS, ids=lambda net: net.network)
    def test_parts_make_the_whole(self, name: str, net: Workload) -> None:
        result = cost(net, load(name))
        assert result.energy_pj > 0
        for size in range(len(KEYS) + 1):
            for keys in combinations(KEYS, size):
                assert math.fsum(result.by(*keys).values()) == pytest.approx(result.energy_pj, rel=1e-12)
        assert result.dram_pj == result.by("component").get((result.outermost,), 0.0)
        assert 0 <= result.dram_share <= 1
        assert math.fsum(result.dram_shares.values()) == pytest.approx(result.dram_share, rel=1e-12)

    @pytest.mark.parametrize("net", NETS, ids=lambda net: net.network)
    def test_round_trips_through_json_and_pickle(self, name: str, net: Workload) -> None:
        result = cost(net, load(name))
        assert Cost.from_json(json.loads(json.dumps(result.to_json(), sort_keys=True))) == result
        assert pickle.loads(pickle.dumps(result)) == result

    def test_says_what_it_priced(self, name: str) -> None:
        hardware = load(name)
        result = cost(NETS[0], hardware)
        assert (result.hardware, result.hardware_hash) == (hardware.name, hardware.hash)
        assert (result.network, result.scheme) == (NETS[0].network, NETS[0].scheme)
        assert set(result.macs) == {layer.name for layer in NETS[0].layers}
        assert sum(result.macs.values()) == NETS[0].macs
        assert result.notes and result.provenance
        assert set(result.macs) <= set(result.latency_cycles)
        assert all(cycles > 0 for cycles in result.latency_cycles.values())

    def test_an_empty_workload_costs_nothing(self, name: str) -> None:
        result = cost(Workload("empty", "int8", ()), load(name))
        assert (result.energy_pj, result.total_cycles, result.items) == (0, 0, ())

    def test_is_a_function(self, name: str) -> None:
        assert cost(NETS[0], load(name)) == cost(NETS[0], load(name))

    def test_the_order_of_independent_layers_does_not_change_sums(self, name: str) -> None:
        net = NETS[3]
        backwards = replace(net, layers=net.layers[::-1], operations=net.operations[::-1])
        one, other = cost(net, load(name)), cost(backwards, load(name))
        assert one.energy_pj == other.energy_pj
        assert one.by("component", "tensor") == other.by("component", "tensor")

    @settings(max_examples=25, deadline=None)
    @given(data=st.data())
    def test_fewer_bits_of_one_tensor_never_cost_more(self, name: str, data: st.DataObject) -> None:
        net = data.draw(st.sampled_from((NETS[0], NETS[2])))
        index = data.draw(st.integers(0, len(net.layers) - 1))
        field = data.draw(st.sampled_from(("weight_format", "input_format")))
        narrow = data.draw(st.integers(1, 7))
        wide = data.draw(st.integers(narrow + 1, 8))
        energies = []
        for bits in (narrow, wide):
            text = "BIPOLAR" if bits == 1 else f"INT{bits}"
            layers = [replace(layer, weight_format=parse_tensor_format("INT4")) for layer in net.layers]
            layers[index] = replace(layers[index], **{field: parse_tensor_format(text)})
            energies.append(cost(replace(net, layers=tuple(layers)), load(name)).energy_pj)
        assert energies[0] <= energies[1] * (1 + 1e-12)

    def test_model_versions_are_positive_integers(self, name: str) -> None:
        assert cost_model_version(load(name)) >= 1


def test_options_choose_the_residency() -> None:
    net = residual_net(8, side=32, channels=64)
    hardware = load("braintta22")
    best, none = cost(net, hardware), cost(net, hardware, options=CostOptions(residency="none"))
    assert best.energy_pj < none.energy_pj
    with pytest.raises(ValueError, match="residency must be optimal, none or ideal, not 'greedy'"):
        CostOptions(residency="greedy")  # type: ignore[arg-type]


def test_what_does_not_fit_is_infeasible_and_pickles() -> None:
    net = moons_net((1,), (8,), 16, side=8)
    with pytest.raises(Infeasible) as caught:
        cost(net, load("braintta22"))
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.layer, str(again)) == ("block1.conv1", str(caught.value))
    assert cost(net, load("moons-4mb")).energy_pj > 0


def test_dram_share_grows_when_memory_shrinks() -> None:
    shares = [
        cost(reference_net(8), load(f"moons-{size}")).dram_share
        for size in ("unbounded", "4mb", "2mb", "1mb")
    ]
    assert shares == sorted(shares)


def test_resnet18_weights_cost_what_the_spec_says() -> None:
    # energy.md 5.2 [derived]: core at b bits, first, downsample and last at 8: MB and uJ at 4 pJ/bit
    for bits, megabytes, microjoules in (
        (1, 2.07, 66),
        (2, 3.44, 110),
        (4, 6.19, 198),
        (8, 11.68, 374),
        (16, 22.66, 725),
    ):
        body = "BIPOLAR" if bits == 1 else f"INT{bits}"
        size = sum(layer.weight_elements * layer.weight_bits for layer in resnet18(body, "INT8"))
        assert size / 8e6 == pytest.approx(megabytes, abs=6e-3)
        assert 4 * size / 1e6 == pytest.approx(microjoules, abs=0.6)
