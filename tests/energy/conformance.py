"""What must hold for every cost model, on any hardware, for any workload.

`test_model.py` runs every shipped hardware through it; a new model does the same with its own.
"""

from __future__ import annotations

import json
import math
import pickle
from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitjoule.energy import Cost, cost, cost_model_version
from bitjoule.energy.cost import KEYS
from bitjoule.formats import parse_tensor_format
from bitjoule.hardware import load
from bitjoule.workload import Workload
from tests.energy.networks import moons_net, reference_net, residual_net

NETS = (
    moons_net((1, 1), (8, 24), 4, side=8),
    moons_net((2,), (40,), 1, side=16),
    residual_net(2),
    reference_net(8),
)
SMALL_NETS = (
    moons_net((1,), (4,), 4, side=4),
    moons_net((1, 1), (4, 6), 1, side=4),
    residual_net(2, side=4, channels=4),
    moons_net((2, 1), (4, 4), 8, side=4),
)
"""For models that search for mappings."""


def nets_of(name: str) -> tuple[Workload, ...]:
    """The nets that a hardware is asked for."""
    return SMALL_NETS if load(name).kind == "hierarchy" else NETS


def with_tensor(net: Workload, name: str, text: str) -> Workload:
    """`net` with one tensor in another Format wherever it is made, stored and read."""
    changed = parse_tensor_format(text)
    layers = [
        replace(
            layer,
            input_format=changed if layer.inputs[0] == name else layer.input_format,
            output_format=changed if layer.output == name else layer.output_format,
        )
        for layer in net.layers
    ]
    tensors = {**net.tensors, name: replace(net.tensors[name], format=changed)}
    return replace(net, layers=tuple(layers), tensors=tensors)


class CostModelConformance:
    """Parametrize a subclass over `name`, names or paths of hardware."""

    @pytest.mark.parametrize("which", range(len(NETS)))
    def test_parts_make_the_whole(self, name: str, which: int) -> None:
        result = cost(nets_of(name)[which], load(name))
        assert result.energy_pj > 0
        for size in range(len(KEYS) + 1):
            for keys in combinations(KEYS, size):
                assert math.fsum(result.by(*keys).values()) == pytest.approx(result.energy_pj, rel=1e-12)
        assert result.dram_pj == result.by("component").get((result.outermost,), 0.0)
        assert 0 <= result.dram_share <= 1
        assert math.fsum(result.dram_shares.values()) == pytest.approx(result.dram_share, rel=1e-12)

    @pytest.mark.parametrize("which", range(len(NETS)))
    def test_round_trips_through_json_and_pickle(self, name: str, which: int) -> None:
        result = cost(nets_of(name)[which], load(name))
        assert Cost.from_json(json.loads(json.dumps(result.to_json(), sort_keys=True))) == result
        assert pickle.loads(pickle.dumps(result)) == result

    def test_says_what_it_priced(self, name: str) -> None:
        hardware, net = load(name), nets_of(name)[0]
        result = cost(net, hardware)
        assert (result.hardware, result.hardware_hash) == (hardware.name, hardware.hash)
        assert (result.network, result.scheme) == (net.network, net.scheme)
        assert set(result.macs) == {layer.name for layer in net.layers}
        assert sum(result.macs.values()) == net.macs
        assert result.notes and result.provenance
        assert set(result.macs) <= set(result.latency_cycles)
        assert all(cycles > 0 for cycles in result.latency_cycles.values())

    def test_an_empty_workload_costs_nothing(self, name: str) -> None:
        result = cost(Workload("empty", "int8", ()), load(name))
        assert (result.energy_pj, result.total_cycles, result.items) == (0, 0, ())

    def test_is_a_function(self, name: str) -> None:
        net = nets_of(name)[0]
        assert cost(net, load(name)) == cost(net, load(name))

    def test_the_order_of_independent_layers_does_not_change_sums(self, name: str) -> None:
        net = nets_of(name)[3]
        backwards = replace(net, layers=net.layers[::-1], operations=net.operations[::-1])
        one, other = cost(net, load(name)), cost(backwards, load(name))
        assert one.energy_pj == other.energy_pj
        assert one.by("component", "tensor") == other.by("component", "tensor")

    @settings(max_examples=25, deadline=None)
    @given(data=st.data())
    def test_fewer_bits_of_one_tensor_never_cost_more(self, name: str, data: st.DataObject) -> None:
        searches = load(name).kind == "hierarchy"  # few widths, so that mappings are remembered
        net = nets_of(name)[0] if searches else data.draw(st.sampled_from((NETS[0], NETS[2])))
        index = data.draw(st.integers(0, len(net.layers) - 1))
        field = data.draw(st.sampled_from(("weight_format", "input_format")))
        narrow = data.draw(st.sampled_from((2, 3)) if searches else st.integers(1, 7))
        wide = data.draw(st.sampled_from((4, 8)) if searches else st.integers(narrow + 1, 8))
        energies = []
        for bits in (narrow, wide):
            text = "BIPOLAR" if bits == 1 else f"INT{bits}"
            layers = [replace(layer, weight_format=parse_tensor_format("INT4")) for layer in net.layers]
            if field == "weight_format":
                layers[index] = replace(layers[index], weight_format=parse_tensor_format(text))
                changed = replace(net, layers=tuple(layers))
            else:
                tensor = layers[index].inputs[0]
                changed = with_tensor(replace(net, layers=tuple(layers)), tensor, text)
            energies.append(cost(changed, load(name)).energy_pj)
        assert energies[0] <= energies[1] * (1 + 1e-12)

    def test_model_versions_are_positive_integers(self, name: str) -> None:
        assert cost_model_version(load(name)) >= 1
