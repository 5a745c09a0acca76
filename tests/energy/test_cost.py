"""The Cost record: sums, exact JSON, addition, the table, refusals."""

from __future__ import annotations

import json
import math
import random
from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitjoule.energy import Cost, CostItem, moons
from bitjoule.energy.cost import KEYS
from bitjoule.hardware import load
from tests.energy.networks import reference_net

items = st.builds(
    CostItem,
    layer=st.sampled_from(["conv1", "conv2", "network"]),
    component=st.sampled_from(["mac", "level:dram", "level:glb"]),
    tensor=st.sampled_from(["weights", "inputs", "outputs", "psums", "residual", "none"]),
    action=st.sampled_from(["read", "write", "compute"]),
    count=st.integers(0, 10**9),
    energy_pj=st.floats(0, 1e15),
    bits_moved=st.integers(0, 10**12),
)
costs = st.builds(
    Cost,
    items=st.lists(items, max_size=12).map(tuple),
    latency_cycles=st.dictionaries(st.sampled_from(["conv1", "conv2"]), st.integers(0, 10**9)),
    footprint_bits=st.dictionaries(
        st.tuples(st.sampled_from(["conv1", "conv2"]), st.sampled_from(["glb", "dmem"])),
        st.integers(0, 10**9),
    ),
    macs=st.just({"conv1": 5, "conv2": 7}),
    hardware=st.just("h"),
    notes=st.just(("a rule",)),
    provenance=st.just({"mac": "measured"}),
)


def test_keys() -> None:
    assert KEYS == ("layer", "component", "tensor", "action")


@settings(max_examples=60, deadline=None)
@given(costs, st.randoms(use_true_random=False))
def test_parts_make_the_whole_in_any_order(cost: Cost, shuffle: random.Random) -> None:
    for size in range(len(KEYS) + 1):
        for keys in combinations(KEYS, size):
            assert math.fsum(cost.by(*keys).values()) == pytest.approx(cost.energy_pj, rel=1e-12)
    shuffled = list(cost.items)
    shuffle.shuffle(shuffled)
    other = replace(cost, items=tuple(shuffled))
    assert other.energy_pj == cost.energy_pj
    assert other.by("component", "tensor") == cost.by("component", "tensor")
    assert other.dram_pj == cost.dram_pj and other.traffic_bits == cost.traffic_bits
    assert math.fsum(cost.dram_shares.values()) == pytest.approx(cost.dram_share)


@settings(max_examples=60, deadline=None)
@given(costs)
def test_json_round_trip_is_exact(cost: Cost) -> None:
    text = json.dumps(cost.to_json(), sort_keys=True, allow_nan=False)
    again = Cost.from_json(json.loads(text))
    assert again == cost
    assert json.dumps(again.to_json(), sort_keys=True) == text


def test_json_document() -> None:
    cost = Cost(
        (CostItem("conv1", "level:dram", "weights", "read", 4032, 2064384.0, 258048),),
        {"conv1": 84672},
        {("conv1", "glb"): 86016},
        {"conv1": 7225344},
        network="net",
        scheme="w4a4",
        hardware="eyeriss",
        hardware_hash="sha256:0",
    )
    assert cost.to_json() == {
        "schema": "bitjoule.cost/1",
        "network": "net",
        "scheme": "w4a4",
        "hardware": "eyeriss",
        "hardware_hash": "sha256:0",
        "outermost": "level:dram",
        "totals": {"energy_pj": 2064384.0, "latency_cycles": 84672, "dram_pj": 2064384.0, "dram_share": 1.0},
        "layers": [
            {
                "name": "conv1",
                "latency_cycles": 84672,
                "macs": 7225344,
                "footprint_bits": {"glb": 86016},
                "items": [
                    {
                        "component": "level:dram",
                        "tensor": "weights",
                        "action": "read",
                        "count": 4032,
                        "energy_pj": 2064384.0,
                        "bits_moved": 258048,
                    }
                ],
            }
        ],
        "footprint_bits": {"glb": 86016},
        "notes": [],
        "provenance": {},
    }


def test_documents_are_checked() -> None:
    document = moons(reference_net(4), load("moons-4mb")).to_json()
    with pytest.raises(ValueError, match=r"a cost document has schema 'bitjoule\.cost/1', not 'other'"):
        Cost.from_json({**document, "schema": "other"})
    with pytest.raises(ValueError, match="not 'list'"):
        Cost.from_json([])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="cannot be read: 'notes'"):
        Cost.from_json({key: value for key, value in document.items() if key != "notes"})
    with pytest.raises(ValueError, match="a cost document says 1 pJ, but its items sum to 3207"):
        Cost.from_json({**document, "totals": {"energy_pj": 1}})


def test_an_empty_cost_is_zero() -> None:
    cost = Cost()
    assert (cost.energy_pj, cost.total_cycles, cost.dram_share, cost.traffic_bits) == (0, 0, 0, 0)
    assert cost.by() == {(): 0.0} and cost.by("layer") == {}
    assert Cost.from_json(cost.to_json()) == cost
    assert "total" in cost.table()


def test_costs_of_different_layers_add() -> None:
    one = Cost((CostItem("a", "mac", "none", "compute", 1, 2.0),), {"a": 3}, scheme="w4a4")
    two = Cost((CostItem("b", "mac", "none", "compute", 1, 5.0),), {"b": 4}, scheme="w4a4")
    both = one + two
    assert (both.energy_pj, both.total_cycles, both.scheme) == (7.0, 7, "w4a4")
    with pytest.raises(ValueError, match="costs of the same layers cannot be added: a"):
        one + one
    with pytest.raises(ValueError, match="costs on '' and on 'x' cannot be added"):
        one + replace(two, hardware="x", hardware_hash="sha256:1")
    with pytest.raises(TypeError):
        one + 1


def test_by_refuses_other_keys() -> None:
    with pytest.raises(
        ValueError, match="a cost is summed by layer, component, tensor, action, not by 'energy_pj'"
    ):
        Cost().by("energy_pj")


@pytest.mark.parametrize("energy", [-1.0, float("nan"), float("inf")])
def test_items_are_finite_and_not_negative(energy: float) -> None:
    with pytest.raises(
        ValueError, match="cost item conv1/mac/none: energy_pj, count and bits_moved must be finite"
    ):
        CostItem("conv1", "mac", "none", "compute", 1, energy)


def test_table_shows_microjoules_and_the_rules() -> None:
    lines = moons(reference_net(4), load("moons-4mb")).table().splitlines()
    assert lines[1].split() == [
        "layer",
        "moons:compute",
        "moons:main",
        "moons:local",
        "moons:dram",
        "total",
        "uJ",
        "share",
        "cycles",
    ]
    total = next(line for line in lines if line.startswith("total"))
    assert total.split()[5:7] == ["320.704744", "100.0%"]
    assert any(line.startswith("DRAM share 37.7%") for line in lines)
    assert lines[-1].startswith(
        "note: Moons et al. 2017 closed form; on chip 4,194,304 bits, weight_share 0.5"
    )
    assert not any(line != line.rstrip() for line in lines)


def test_peak_footprint_is_the_maximum_of_the_layers() -> None:
    cost = Cost(footprint_bits={("a", "dmem"): 5, ("b", "dmem"): 9, ("b", "pmem"): 1})
    assert cost.peak_footprint_bits == {"dmem": 9, "pmem": 1}
