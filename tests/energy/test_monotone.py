"""V9 of energy.md section 7 on the shipped hierarchies: fewer bits and larger memories never cost more."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitjoule.energy import CostOptions, cost, price
from bitjoule.formats import parse_tensor_format
from bitjoule.hardware import Hardware, load
from bitjoule.mapping import best_mapping
from bitjoule.mapping.evaluate import evaluate
from bitjoule.mapping.hardware_levels import accelerator_of
from bitjoule.mapping.layer_problem import problem_of
from bitjoule.mapping.nest import Mapping
from bitjoule.workload import Layer, Workload
from tests.energy.networks import conv, dense, residual_net, workload

HIERARCHIES = ("eyeriss", "simba", "eyeriss-timeloop", "simba-timeloop")
INT8 = parse_tensor_format("INT8")
LAYERS = (
    conv("dense", 16, 12, 8, "input", INT8),
    conv("strided", 12, 8, 6, "input", INT8, stride=(2, 2)),
    conv("depthwise", 16, 16, 8, "input", INT8, groups=16),
    dense("rows", 24, 32, "input", INT8),
)


@cache
def nest(name: str, index: int) -> Mapping:
    """A mapping that is good for 8 bits."""
    return best_mapping(LAYERS[index], load(name)).mapping


def spent(layer: Layer, hardware: Hardware, mapping: Mapping, packing: str) -> tuple[float, int]:
    """Energy and cycles of a fixed mapping; parts make the whole."""
    accelerator = replace(accelerator_of(hardware), packing=packing)  # type: ignore[arg-type]
    found = evaluate(problem_of(layer, hardware), mapping, accelerator)
    parts = math.fsum(item.energy_pj for item in price(found, layer, hardware))
    assert parts == pytest.approx(found.energy_pj, rel=1e-12)
    return found.energy_pj, found.latency_cycles


@pytest.mark.parametrize("name", HIERARCHIES)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_fewer_bits_of_one_tensor_never_cost_more_at_a_fixed_mapping(name: str, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(LAYERS) - 1))
    packing = data.draw(st.sampled_from(("floor", "dense")))
    fields = ("weight_format", "input_format", "output_format")
    layer = replace(
        LAYERS[index],
        **{field: parse_tensor_format(f"INT{data.draw(st.integers(2, 16))}") for field in fields},
    )
    changed = data.draw(st.sampled_from(fields))
    narrow, wide = sorted(data.draw(st.lists(st.integers(1, 16), min_size=2, max_size=2, unique=True)))
    few, many = (
        spent(
            replace(layer, **{changed: parse_tensor_format("BIPOLAR" if bits == 1 else f"INT{bits}")}),  # type: ignore[arg-type]
            load(name),
            nest(name, index),
            packing,
        )
        for bits in (narrow, wide)
    )
    assert few[0] <= many[0] * (1 + 1e-12) and few[1] <= many[1]


def with_size(name: str, level: str, factor: float) -> Hardware:
    """A preset with one memory of another size and everything else the same."""
    document = dict(load(name).to_mapping())
    levels = [dict(entry) for entry in document["levels"]]  # type: ignore[attr-defined]
    for entry in levels:
        if entry["name"] == level:
            entry["size_bits"] = max(entry["width_bits"], int(entry["size_bits"] * factor))
    return load({**document, "levels": levels})


@pytest.mark.parametrize(
    ("name", "level"),
    [
        (name, level.name)
        for name in ("eyeriss", "simba")
        for level in load(name).levels
        if level.size_bits != "unbounded"
    ],
)
def test_a_larger_memory_never_costs_more(name: str, level: str) -> None:
    energies = []
    for factor in (1 / 32, 1 / 4, 1, 4):
        hardware = with_size(name, level, factor)
        try:
            found = [cost(net(), hardware).energy_pj for net in (small, wide)]
        except ValueError:  # too small
            found = [math.inf, math.inf]
        energies.append(found)
    assert all(least < math.inf for least in energies[-2])
    for less, more in pairwise(energies):
        assert all(b <= a * (1 + 1e-12) for a, b in zip(less, more, strict=True))


def small() -> Workload:
    """A basic block and its head."""
    return residual_net(4, side=4, channels=4)


def wide() -> Workload:
    """Two layers whose feature maps fill memories of a few KiB."""
    return workload("wide", [conv("a", 16, 8, 8, "input", INT8), conv("b", 8, 16, 8, "a.out", INT8)])


@pytest.mark.parametrize("name", HIERARCHIES)
def test_fewer_bits_of_all_tensors_never_cost_more(name: str) -> None:
    for residency in ("optimal", "none", "ideal"):
        energies = [
            cost(residual_net(bits, side=4, channels=4), load(name), options=CostOptions(residency)).energy_pj
            for bits in (1, 2, 4, 8)
        ]
        assert energies == sorted(energies) and energies[0] < energies[-1]


@pytest.mark.parametrize("name", HIERARCHIES)
def test_streaming_costs_at_least_the_optimum_and_the_optimum_at_least_the_ideal(name: str) -> None:
    none, best, ideal = (
        cost(wide(), load(name), options=CostOptions(residency)).energy_pj
        for residency in ("none", "optimal", "ideal")
    )
    assert ideal <= best * (1 + 1e-12) and best < none
