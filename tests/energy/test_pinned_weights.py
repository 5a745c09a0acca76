"""Weights that stay on chip across inferences: the optimum against enumeration of all sets of layers."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import chain, combinations

import pytest

from bitjoule.energy import CostOptions, HierarchyPlan, Infeasible, cost
from bitjoule.energy.feature_memory import ResidencyMode
from bitjoule.energy.hierarchy import hierarchy, hierarchy_plan, network_prices
from bitjoule.energy.hierarchy_residency import keep_best, pin_best, settled
from bitjoule.energy.residency_prices import choices_of
from bitjoule.hardware import Hardware
from bitjoule.mapping.problem import TENSORS
from bitjoule.workload import Workload
from tests.energy.networks import workload
from tests.energy.test_hierarchy import layer, net
from tests.energy.test_priced_residency import keep_vectors
from tests.energy.tiny_hierarchy import enumerating, tiny


def chip(words: int, **changed: object) -> Hardware:
    """A buffer that may hold weights too."""
    return tiny(8 * words, keeps=TENSORS, **changed)


def plan(nets: Workload, hardware: Hardware, residency: ResidencyMode = "optimal") -> HierarchyPlan:
    return hierarchy_plan(nets, hardware, residency=residency, pin_weights=True, solver=enumerating)


def enumerated(nets: Workload, hardware: Hardware, *, streaming: bool = False) -> float:
    """The least energy over all sets of layers whose weights stay and all keep vectors of feature maps."""
    prices = network_prices(nets, hardware, pin_weights=True, solver=enumerating)
    steps = tuple(prices.weight_bits)
    assert len(steps) == len(nets.layers)
    energies = []
    for pinned in chain.from_iterable(combinations(steps, count) for count in range(len(steps) + 1)):
        fixed = prices.with_weights(frozenset(pinned))
        assert fixed.capacity_bits is not None
        if fixed.capacity_bits < 0:
            continue
        for kept in keep_vectors(tuple(prices.maps)):
            if streaming and any(map(any, kept.values())):
                continue
            try:
                choices = settled(fixed, fixed.maps, kept, fixed.capacity_bits)
            except (Infeasible, RuntimeError):
                continue
            found = choices_of(len(choices), fixed.maps, kept, fixed.capacity_bits, fixed)
            assert found is not None
            energies.append(found[0][0])
    return min(energies)


def drawn_net(seed: int) -> Workload:
    """Three layers in a row of drawn channels."""
    draw = random.Random(seed)
    channels = [draw.choice((1, 2, 3, 4)) for _ in range(4)]
    names = ("a", "b", "c")
    return workload(
        f"drawn{seed}",
        [
            layer(
                name,
                "input" if not place else f"{names[place - 1]}.out",
                k=channels[place + 1],
                c=channels[place],
            )
            for place, name in enumerate(names)
        ],
    )


@pytest.mark.parametrize("words", [4, 20, 28, 44, 48, 100])
def test_the_optimum_equals_enumeration(words: int) -> None:
    hardware = chip(words)
    found = plan(net(), hardware)
    assert found.cost.energy_pj == pytest.approx(enumerated(net(), hardware), rel=1e-12)
    without = hierarchy(net(), hardware, solver=enumerating)
    assert found.cost.energy_pj <= without.energy_pj * (1 + 1e-12)
    if words == 100:
        assert found.pinned == ("stem", "first", "second", "last")
    assert bool(found.pinned) == (found.cost.energy_pj < without.energy_pj) == (words not in (4, 28))


@pytest.mark.parametrize("seed", range(6))
def test_drawn_networks_equal_enumeration(seed: int) -> None:
    for words in (9, 17, 26):
        hardware = chip(words)
        found = plan(drawn_net(seed), hardware)
        assert found.cost.energy_pj == pytest.approx(enumerated(drawn_net(seed), hardware), rel=1e-12)


def test_many_live_tensors_choose_the_same_weights() -> None:
    prices = network_prices(net(), chip(28), pin_weights=True, solver=enumerating)
    fixed = pin_best(prices, 8 * 28, streaming=False)
    assert fixed.capacity_bits == 8 * 28 - fixed.pinned_bits > 0
    energies = []
    for max_live in (0, 12):  # the 0/1 programme, the dynamic programme
        kept, choices = keep_best(fixed, fixed.maps, fixed.capacity_bits, max_live=max_live)
        priced = choices_of(len(choices), fixed.maps, kept, fixed.capacity_bits, fixed)
        assert priced is not None
        energies.append(priced[0][0])
    assert energies[0] == pytest.approx(energies[1], rel=1e-12)


def test_streamed_feature_maps_leave_the_room_to_weights() -> None:
    hardware = chip(28)
    found = plan(net(), hardware, "none")
    assert found.cost.energy_pj == pytest.approx(enumerated(net(), hardware, streaming=True), rel=1e-12)
    assert found.pinned and not any(map(any, found.kept.values()))


def test_what_takes_no_room_is_a_lower_bound() -> None:
    ideal = plan(net(), chip(12), "ideal")
    assert ideal.pinned == ("stem", "first", "second", "last")
    assert ideal.cost.energy_pj <= plan(net(), chip(12)).cost.energy_pj
    roomy = plan(net(), chip(200))
    assert roomy.cost.energy_pj == pytest.approx(plan(net(), chip(200), "ideal").cost.energy_pj, rel=1e-12)


def test_pinned_weights_read_no_dram_and_take_room_in_every_step() -> None:
    found = plan(net(), chip(48))
    assert 0 < len(found.pinned) < 4
    held = sum(8 * one.weight_elements for one in net().layers if one.name in found.pinned)
    for one in net().layers:
        read = ("level:dram", "weights") in {
            (item.component, item.tensor) for item in found.cost.items if item.layer == one.name
        }
        assert read == (one.name not in found.pinned)
    for (_, level), bits in found.cost.footprint_bits.items():
        assert level != "buffer" or held <= bits <= 8 * 48
    assert found.cost.notes[0].endswith("other weights are streamed in every inference")
    assert found.cost.notes[-1] == (
        f"weights that stay in buffer across inferences, {held} bits in every step "
        f"(their first arrival is not counted): {', '.join(found.pinned)}"
    )


def test_more_room_and_fewer_bits_never_cost_more() -> None:
    energies = [plan(net(), chip(words)).cost.energy_pj for words in (4, 8, 12, 20, 28, 40, 100)]
    assert energies == sorted(energies, reverse=True)
    narrow = [plan(net(bits), chip(20)).cost.energy_pj for bits in (2, 4, 8)]
    assert narrow == sorted(narrow)


def test_levels_without_weights_say_so() -> None:
    kept_out = plan(net(), tiny(160))
    assert kept_out.pinned == ()
    assert kept_out.cost.energy_pj == hierarchy(net(), tiny(160), solver=enumerating).energy_pj
    assert kept_out.cost.notes[-1] == (
        "no weights stay on chip across inferences, as pin_weights would have them: buffer keeps no weights"
    )
    nowhere = plan(net(), tiny(160, keeps=("weights",)))
    assert nowhere.cost.notes[-1].endswith("no level holds feature maps")
    dear = plan(net(), chip(28, read_pj=500.0, write_pj=500.0))
    assert dear.pinned == ()
    assert dear.cost.notes[-1] == "no weights stay in buffer across inferences: none save energy there"


def test_the_option_reaches_the_model() -> None:
    nets = workload("one", (layer("a", "input"),))
    hardware = chip(64)
    pinned, streamed = (cost(nets, hardware, options=CostOptions(pin_weights=on)) for on in (True, False))
    assert pinned.energy_pj < streamed.energy_pj
    with pytest.raises(ValueError, match="pin_weights must be true or false, not 'yes'"):
        replace(CostOptions(), pin_weights="yes")  # type: ignore[arg-type]
