"""Whole networks on memory hierarchies: items, residency against enumeration, laws, refusals."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from bitjoule.energy import Cost, CostOptions, Infeasible, cost
from bitjoule.energy.cost import CostItem
from bitjoule.energy.feature_memory import ResidencyMode
from bitjoule.energy.hierarchy import hierarchy, hierarchy_plan, network_prices
from bitjoule.energy.hierarchy_items import price
from bitjoule.energy.hierarchy_residency import keep_best, residency_level, settled
from bitjoule.energy.residency_prices import choices_of
from bitjoule.formats import parse_tensor_format
from bitjoule.hardware import load
from bitjoule.mapping.accelerator import Accelerator, StorageLevel
from bitjoule.mapping.evaluate import evaluate
from bitjoule.mapping.hardware_levels import accelerator_of
from bitjoule.mapping.layer_problem import problem_of
from bitjoule.mapping.nest import LevelNest, Mapping
from bitjoule.mapping.problem import TENSORS
from bitjoule.workload import Layer, Operation, StoredTensor, Workload
from tests.energy.networks import residual_net, workload
from tests.energy.test_priced_residency import keep_vectors
from tests.energy.tiny_hierarchy import enumerating, tiny

INT8 = parse_tensor_format("INT8")


def layer(name: str, source: str, k: int = 2, c: int = 2, bits: int = 8, **rest: object) -> Layer:
    """A column of 4 values, a kernel of 1."""
    formats = parse_tensor_format(f"INT{bits}")
    made = Layer(
        name,
        "conv",
        *(1, k, c, 4, 1, 1, 1),
        inputs=(source,),
        output=f"{name}.out",
        weight_format=formats,
        input_format=formats,
        output_format=formats,
    )
    return replace(made, **rest)  # type: ignore[arg-type]


def net(bits: int = 8) -> Workload:
    """Stem, a block with a shortcut fused into its second layer, a pool of its own, a last layer."""
    stem, first = layer("stem", "input", bits=bits), layer("first", "stem.out", k=4, bits=bits)
    second = layer("second", "first.out", c=4, bits=bits, inputs=("first.out", "stem.out"))
    add = Operation("add", "add", ("stem.out",), "second.out", 8, fused_into="second")
    pool = Operation("pool", "max_pool", ("second.out",), "pool", 8, attributes={"kernel": (1, 1)})
    last = layer("last", "pool", bits=bits)
    return workload("block", (stem, first, second, add, pool, last))


def priced(words: int, mode: ResidencyMode = "optimal", bits: int = 8) -> Cost:
    return hierarchy(net(bits), tiny(8 * words), residency=mode, solver=enumerating)


@pytest.mark.parametrize("words", [4, 10, 20, 30, 64])
def test_the_optimum_equals_enumeration_of_all_keep_vectors(words: int) -> None:
    hardware = tiny(8 * words)
    plan = hierarchy_plan(net(), hardware, solver=enumerating)
    prices = network_prices(net(), hardware, solver=enumerating)
    energies = []
    for kept in keep_vectors(tuple(prices.maps)):
        try:
            choices = settled(prices, prices.maps, kept, prices.capacity_bits)
        except (Infeasible, RuntimeError):
            continue
        found = choices_of(len(choices), prices.maps, kept, prices.capacity_bits, prices)
        assert found is not None
        energies.append(found[0])
    assert plan.cost.energy_pj == pytest.approx(min(energies)[0], rel=1e-12)
    assert plan.cost.traffic_bits == min(energies)[1]
    assert words == 4 or any(any(keeps) for keeps in plan.kept.values())
    assert plan.searches <= 8 * len(net().layers) * 3
    kept, choices = keep_best(prices, prices.maps, 8 * words, max_live=0)  # the 0/1 programme
    by_program = choices_of(len(choices), prices.maps, kept, 8 * words, prices)
    assert by_program is not None and by_program[0][0] == pytest.approx(min(energies)[0], rel=1e-9)


def test_more_room_never_costs_more() -> None:
    energies = [priced(words).energy_pj for words in (4, 10, 20, 30, 64)]
    assert energies == sorted(energies, reverse=True)
    assert energies[-1] < 0.9 * energies[0]
    for words, energy in zip((4, 10, 20, 30, 64), energies, strict=True):
        assert priced(words, "ideal").energy_pj <= energy <= priced(words, "none").energy_pj
    assert priced(64, "ideal").energy_pj == pytest.approx(energies[-1], rel=1e-12)


def test_fewer_bits_never_cost_more() -> None:
    for words in (10, 30):
        energies = [priced(words, bits=bits).energy_pj for bits in (2, 4, 8)]
        assert energies == sorted(energies)


def test_items_are_the_evaluation() -> None:
    hardware = tiny(160, leak_pj_per_cycle=0.25, noc_pj_per_word=0.5)
    accelerator = accelerator_of(hardware)
    for mode in ("physical", "paper"):
        problem = problem_of(layer("a", "x", c=4), hardware, mode=mode)  # type: ignore[arg-type]
        found = enumerating(problem, accelerator, mode=mode).evaluation  # type: ignore[arg-type]
        items = price(found, layer("a", "x", c=4), hardware)
        assert math.fsum(item.energy_pj for item in items) == pytest.approx(found.energy_pj, rel=1e-12)
        assert {item.component for item in items} >= {"mac", "level:dram", "leak:buffer"}
        widths = {"level:dram": 16, "level:buffer": 8}
        for item in items:
            assert item.bits_moved == item.count * widths.get(item.component, 0)


def test_partial_sums_and_results_are_told_apart() -> None:
    """Everything at DRAM: K2 C2 P4, C outermost; each output is updated twice, once as a partial sum."""
    hardware, a = tiny(), layer("a", "x")
    mapping = Mapping((LevelNest("buffer", ()), LevelNest("dram", TENSORS, (("K", 2), ("P", 4), ("C", 2)))))
    found = evaluate(problem_of(a, hardware), mapping, accelerator_of(hardware))
    updates = {item.tensor: item for item in price(found, a, hardware) if item.action == "update"}
    assert (updates["psums"].count, updates["outputs"].count) == (12, 4)  # 8 of 24 bits, 8 of 8, 16 an access
    assert updates["psums"].energy_pj == 12 * 128.0
    product = replace(a, kind="matmul")
    assert {item.tensor for item in price(found, product, hardware)} == {"none", "inputs", "outputs", "psums"}


def test_network_items_name_what_moves() -> None:
    result = priced(10)
    assert math.fsum(item.energy_pj for item in result.items) == result.energy_pj
    assert result.outermost == "level:dram"
    assert set(result.layers) == {"stem", "first", "second", "pool", "last"}
    shortcut = [item for item in result.items if item.tensor == "residual"]
    assert [(item.layer, item.action) for item in shortcut] == [("second", "read")]
    assert set(result.mapping_hashes) == {"stem", "first", "second", "last"}
    assert result.to_json()["layers"][0]["mapping_hash"] == result.mapping_hashes["stem"]
    assert Cost.from_json(result.to_json()) == result
    assert result.peak_footprint_bits["buffer"] <= 80
    assert result.notes[0].startswith(
        "memory hierarchy tiny, mode physical, residency optimal (feature maps stay"
    )


def test_ideal_reads_and_writes_the_network_once() -> None:
    moved: dict[tuple[str, str], int] = {}
    for item in priced(64).items:
        if item.component == "level:dram":
            moved[item.tensor, item.action] = moved.get((item.tensor, item.action), 0) + item.bits_moved
    weights = sum(one.weight_elements * one.P for one in net().layers) * 8  # no buffer for them: once a row
    assert moved == {("weights", "read"): weights, ("inputs", "read"): 64, ("outputs", "update"): 64}


def test_streaming_moves_every_tensor() -> None:
    result = priced(4, "none")
    moved = {(item.layer, item.tensor) for item in result.items if item.component == "level:dram"}
    assert moved >= {("second", "residual"), ("pool", "inputs"), ("pool", "outputs"), ("last", "inputs")}


def test_a_product_of_two_activations_follows_residency() -> None:
    left, right = layer("left", "input"), layer("right", "input")
    product = Layer(
        "product",
        "matmul",
        *(1, 4, 2, 4, 1, 1, 1),
        inputs=("left.out", "right.out"),
        output="product.out",
        weight_format=INT8,
        input_format=INT8,
        output_format=INT8,
    )
    nets = workload("attention", (left, right, product))
    whole = hierarchy_plan(nets, tiny(1024, keeps=TENSORS), solver=enumerating)
    assert whole.kept["right.out"] == (True,)
    dram = whole.cost.by("layer", "component", "tensor")
    assert ("product", "level:dram", "inputs") not in dram
    split = hierarchy_plan(nets, tiny(1024), solver=enumerating)  # the buffer keeps no weights
    assert split.kept["left.out"] == (True,) and split.kept["right.out"] == (False,)
    assert split.cost.by("layer", "component", "tensor")["product", "level:dram", "inputs"] > 0
    squared = replace(product, inputs=("left.out",))
    alone = hierarchy_plan(workload("square", (left, squared)), tiny(1024, keeps=TENSORS), solver=enumerating)
    assert alone.kept["left.out"] == (True,)


def test_parts_of_a_concatenation_are_on_chip_together() -> None:
    left, right = layer("left", "input"), layer("right", "input")
    join = layer("join", "left.out", c=4, inputs=("left.out", "right.out"))
    nets = workload("concat", (left, right, join))
    roomy = hierarchy_plan(nets, tiny(1024), solver=enumerating)
    assert roomy.kept["left.out"] == roomy.kept["right.out"] == (True,)
    tight = hierarchy_plan(nets, tiny(8 * 12), solver=enumerating)
    assert tight.kept["left.out"] == tight.kept["right.out"] == (False,)


def test_a_tensor_stored_wider_is_narrowed() -> None:
    stem, head = layer("stem", "input"), layer("head", "stem.out", bits=4)
    nets = workload("hpr", (stem, head))
    nets = replace(nets, tensors={**nets.tensors, "stem.out": StoredTensor("stem.out", 8, INT8, "feature")})
    result = hierarchy(nets, tiny(1024), solver=enumerating)
    copied = [item for item in result.items if item.layer == "head" and item.action in ("read", "write")]
    assert CostItem("head", "level:buffer", "inputs", "write", 4, 6.0, 32) in copied
    requantized = [item for item in result.items if (item.layer, item.tensor) == ("head", "inputs")]
    assert "op:requantize" in {item.component for item in requantized}


def test_given_mappings_are_priced_as_they_are() -> None:
    hardware, nets = tiny(1024), workload("one", (layer("a", "input"),))
    nest = Mapping((LevelNest("buffer", ()), LevelNest("dram", TENSORS, (("K", 2), ("P", 4), ("C", 2)))))
    best = hierarchy(nets, hardware, solver=enumerating)
    given = hierarchy_plan(nets, hardware, mappings={"a": nest}, solver=enumerating)
    assert given.cost.energy_pj > best.energy_pj
    assert given.mappings["a"].mapping == nest
    assert given.cost.notes[1] == "0 of 1 layer mappings proven optimal"
    assert best.notes[1] == "all 1 layer mappings proven optimal"
    with pytest.raises(Exception, match="has no layer 'b'; layers: a"):
        hierarchy(nets, hardware, mappings={"b": nest}, solver=enumerating)
    with pytest.raises(ValueError, match="is of kind moons; mappings are for hierarchies"):
        cost(nets, load("moons-4mb"), mappings={"a": nest})


def test_layers_without_tensors_are_streamed() -> None:
    bare = [replace(layer(name, ""), inputs=(), output="") for name in ("a", "b")]
    plan = hierarchy_plan(Workload("bare", "w8", tuple(bare)), tiny(), solver=enumerating)
    assert plan.cost.by("layer")["a",] == plan.cost.by("layer")["b",] > 0
    assert plan.searches == 1  # equal layers are solved once


def test_what_does_not_fit_says_where_and_what_would_mend_it() -> None:
    hardware = tiny(8, bypass_allowed=[])
    with pytest.raises(Infeasible) as caught:
        hierarchy(net(), hardware)
    assert caught.value.layer == "stem"
    assert str(caught.value).startswith(
        "stem does not fit tiny:\n  buffer holds 8 bits; the smallest tiles need"
    )
    assert "what would mend it: " in caught.value.remedy
    with pytest.raises(Infeasible, match="stem cannot be priced on tiny: no energy for a MAC of FLOAT32"):
        hierarchy(workload("f", (replace(layer("stem", "input"), weight_format=None),)), hardware)


def test_another_kind_of_hardware_is_refused() -> None:
    with pytest.raises(ValueError, match="'moons-4mb' is of kind moons"):
        hierarchy(net(), load("moons-4mb"))


def test_the_residency_level() -> None:
    def named(*levels: StorageLevel) -> str | None:
        found = residency_level(Accelerator("h", (*levels, StorageLevel("dram", TENSORS)), 1))
        return None if found is None else found.name

    maps = ("inputs", "outputs")
    assert named(StorageLevel("rf", ("weights",), 8), StorageLevel("glb", maps, 64)) == "glb"
    assert named(StorageLevel("near", maps, 64), StorageLevel("far", maps, 64)) == "near"
    assert named(StorageLevel("near", maps, 64), StorageLevel("far", maps, 64, residency=True)) == "far"
    assert named(StorageLevel("rf", ("weights",), 8)) is None
    with pytest.raises(ValueError, match="residency is true on a, b; feature maps stay on one level"):
        named(StorageLevel("a", maps, 8, residency=True), StorageLevel("b", maps, 8, residency=True))
    with pytest.raises(ValueError, match="residency is true on 'a', but feature maps stay on a level inside"):
        named(StorageLevel("a", ("inputs",), 8, residency=True))
    streamed = hierarchy_plan(net(), tiny(64, keeps=("weights",)), solver=enumerating)
    assert streamed.residency_level == "" and not any(map(any, streamed.kept.values()))
    assert "no level holds feature maps between layers" in streamed.cost.notes[0]


def test_options_reach_the_model() -> None:
    nets = residual_net(2, side=4, channels=4)
    hardware = load("eyeriss")
    energies = {
        (residency, mode): cost(nets, hardware, options=CostOptions(residency, mode)).energy_pj  # type: ignore[arg-type]
        for residency in ("optimal", "none")
        for mode in ("physical", "paper")
    }
    assert energies["optimal", "physical"] < energies["none", "physical"]
    assert energies["none", "paper"] < energies["none", "physical"]
    with pytest.raises(ValueError, match="mode must be physical or paper, not 'native'"):
        CostOptions(mode="native")  # type: ignore[arg-type]
