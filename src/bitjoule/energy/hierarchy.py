"""Cost of a Workload on a memory hierarchy: best mappings, feature maps on chip, element operations.

Energy.md sections 3 and 5: E = vector accesses * energy of the access + MACs * E_MAC + deliveries * NoC
+ element operations + leakage. Every layer runs the mapping of least energy for the room that the feature
maps on chip leave it, and which maps those are is chosen for the least total (`hierarchy_residency.py`).
Weights are streamed from the outermost level in every inference, unless `pin_weights` lets some stay.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from bitjoule.energy.cost import Cost, CostItem
from bitjoule.energy.element_prices import element_prices
from bitjoule.energy.feature_map import FeatureMap
from bitjoule.energy.feature_memory import ResidencyMode, feature_maps_of, steps_of
from bitjoule.energy.given_mappings import GivenMappings
from bitjoule.energy.hierarchy_items import Transfer, evaluation_items, leak_items
from bitjoule.energy.hierarchy_notes import notes, provenance
from bitjoule.energy.hierarchy_prices import HierarchyPrices
from bitjoule.energy.hierarchy_residency import keep_best, keep_nothing, pin_best, residency_level, settled
from bitjoule.energy.hierarchy_steps import Platform, StepWork, step_works
from bitjoule.energy.layer_problem import layer_problem
from bitjoule.energy.mapping_table import LayerSolver, MappingTable, PlacedMapping, Solved
from bitjoule.energy.operations import require_known
from bitjoule.energy.residency_prices import StepChoice
from bitjoule.hardware import Hardware
from bitjoule.mapping.accelerator import Accelerator
from bitjoule.mapping.evaluate import Mode
from bitjoule.mapping.hardware_levels import accelerator_of
from bitjoule.mapping.nest import Mapping as Nest
from bitjoule.mapping.problem import Problem
from bitjoule.workload import Layer, Workload

__all__ = ["HierarchyPlan", "hierarchy", "hierarchy_plan", "network_prices"]

ROOM_WITHOUT_BOUND = 1 << 40
"""Words of a residency level without a size."""


@dataclass(frozen=True)
class HierarchyPlan:
    """A Cost with the decisions behind it.

    `mappings`: per layer, as the mapper returned them; `accelerators`: what each was found for (tensors that
    live on chip, remaining room). `kept`: per tensor, which of its gaps stay on chip; `choices`: per step.
    `pinned`: layers whose weights stay on chip across inferences. `residency_level`: "" without one.
    `searches`: mapper calls.
    """

    cost: Cost
    mappings: Mapping[str, Solved]
    accelerators: Mapping[str, Accelerator]
    kept: Mapping[str, tuple[bool, ...]]
    choices: tuple[StepChoice, ...]
    residency_level: str
    searches: int
    pinned: tuple[str, ...] = ()


def hierarchy(
    workload: Workload,
    hardware: Hardware,
    *,
    residency: ResidencyMode = "optimal",
    mode: Mode = "physical",
    pin_weights: bool = False,
    mappings: Mapping[str, Nest] | None = None,
    solver: LayerSolver | None = None,
) -> Cost:
    """Energy, cycles and footprint of one inference; the cost of `hierarchy_plan`."""
    plan = hierarchy_plan(
        workload,
        hardware,
        residency=residency,
        mode=mode,
        pin_weights=pin_weights,
        mappings=mappings,
        solver=solver,
    )
    return plan.cost


def hierarchy_plan(
    workload: Workload,
    hardware: Hardware,
    *,
    residency: ResidencyMode = "optimal",
    mode: Mode = "physical",
    pin_weights: bool = False,
    mappings: Mapping[str, Nest] | None = None,
    solver: LayerSolver | None = None,
) -> HierarchyPlan:
    """The best mapping of every layer and the feature maps that stay on chip, for the least energy.

    `residency`: "optimal"; "none" streams every feature map; "ideal" lets them take no room, a lower bound.
    `mappings`: layers by name whose nests are given; levels outside the residency level lose the tensors that
    live there. `solver`: the mapper, by default `MappingMemo.solve`. `pin_weights`: weights of whole layers
    may stay in the residency level across inferences, if it keeps weights: they take room in every step and
    are not read from the outermost level, nor is their first arrival counted [assumed: steady state].

    Raises:
        Infeasible: a layer fits with no choice, or its Formats have no price.
        UnknownOperation: operators without an operation count, all of them.
        ValueError: hardware of another kind, a mapping of no layer, or one that is not of its layer.
    """
    prices = network_prices(
        workload,
        hardware,
        takes_room=residency != "ideal",
        mode=mode,
        pin_weights=pin_weights,
        mappings=mappings,
        solver=solver,
    )
    works, maps, capacity = prices.works, prices.maps, prices.capacity_bits
    kept = keep_nothing(maps)
    if prices.weight_bits and capacity is not None:
        prices = pin_best(prices, capacity, streaming=residency == "none")
        capacity = prices.capacity_bits
    if capacity is None or residency == "none":
        choices = settled(prices, maps, kept, capacity)
    else:
        kept, choices = keep_best(prices, maps, capacity)
    placed = {
        works[choice.step].name: entry for choice in choices if (entry := prices.placed(choice)) is not None
    }
    return HierarchyPlan(
        cost=_cost(workload, hardware, prices, choices, placed, residency, mode, pin_weights=pin_weights),
        mappings={name: entry.solved for name, entry in placed.items()},
        accelerators={name: entry.accelerator for name, entry in placed.items()},
        kept=kept,
        choices=choices,
        residency_level=home.name if (home := prices.home) else "",
        searches=prices.searches,
        pinned=tuple(works[step].name for step in sorted(prices.pinned)),
    )


def network_prices(
    workload: Workload,
    hardware: Hardware,
    *,
    takes_room: bool = True,
    mode: Mode = "physical",
    pin_weights: bool = False,
    mappings: Mapping[str, Nest] | None = None,
    solver: LayerSolver | None = None,
) -> HierarchyPrices:
    """Prices of every step of a network, whatever stays on chip; `takes_room` False: what stays takes none.

    Raises: as `hierarchy_plan`.
    """
    accelerator = accelerator_of(hardware)
    require_known(workload)
    if solver is None:
        from bitjoule.mapping.memo import MappingMemo  # compiled kernels: half a second

        solver = MappingMemo.open().solve
    solve = solver
    given = dict(mappings or {})
    for name in given:
        workload.layer(name)
    if given:
        solve = GivenMappings(given, solve)
    problems = {layer.name: layer_problem(layer, hardware, accelerator, mode) for layer in workload.layers}
    home = residency_level(accelerator)
    platform = Platform(accelerator, home, element_prices(hardware, accelerator))
    works = step_works(workload, steps_of(workload), problems, platform)
    equal: dict[Problem, MappingTable] = {}
    tables: dict[str, MappingTable] = {}
    for name, problem in problems.items():  # equal layers share a table, unless a nest is given
        key = replace(problem, name=name if name in given else "")
        tables[name] = equal.setdefault(
            key, MappingTable(problem, accelerator, home.name if home else None, mode, solve)
        )
    capacity = None
    if home is not None:
        capacity = (ROOM_WITHOUT_BOUND if home.words is None else home.words) * home.word_bits
    maps = _maps(workload, works, platform, takes_room=takes_room)
    weights = _weight_bits(works, platform, takes_room=takes_room) if pin_weights else {}
    return HierarchyPrices(works, maps, tables, capacity, weights)


def _weight_bits(works: tuple[StepWork, ...], platform: Platform, *, takes_room: bool) -> dict[int, int]:
    """Step -> bits of the residency level that the weights of its layer take, where they may stay."""
    home = platform.home
    if home is None or "weights" not in home.keeps:
        return {}
    found = {}
    for number, work in enumerate(works):
        if isinstance(work.step, Layer) and work.step.has_weights:
            held = platform.words(work.step.weight_elements, work.step.stored_bits_per_weight, home)
            found[number] = held * home.word_bits if takes_room else 0
    return found


def _maps(
    workload: Workload, works: tuple[StepWork, ...], platform: Platform, *, takes_room: bool
) -> list[FeatureMap]:
    """Stored tensors with their sizes in words of the residency level."""
    level = platform.level(True)
    bits = works[0].bits if works else {}
    named = {work.name: work.step for work in works if work.step.inputs or work.step.output}
    if len(named) < len(works):
        if named:
            raise ValueError(
                f"workload {workload.network!r}: some steps name their tensors and some do not; "
                "make workloads with workload_of"
            )
        return []
    return feature_maps_of(
        workload,
        named,
        lambda tensor: (
            platform.words(tensor.elements, bits[tensor.name], level) * level.word_bits if takes_room else 0
        ),
    )


def _cost(
    workload: Workload,
    hardware: Hardware,
    prices: HierarchyPrices,
    choices: tuple[StepChoice, ...],
    placed: Mapping[str, PlacedMapping],
    residency: ResidencyMode,
    mode: Mode,
    *,
    pin_weights: bool,
) -> Cost:
    items: list[CostItem] = []
    latency: dict[str, int] = {}
    footprint: dict[tuple[str, str], int] = {}
    for choice in choices:
        work = prices.works[choice.step]
        names = frozenset(prices.maps[number].name for number in choice.on)
        beside, cycles = work.items(names)
        moves = [
            move
            for kind, tensors in (("load", choice.loaded), ("fill", choice.filled), ("flush", choice.flushed))
            for tensor in tensors
            for move in prices.whole(kind, tensor, choice.step)
        ]
        items += (*beside, *_moved(work, moves))
        cycles += sum(move.cycles for move in moves)
        entry = placed.get(work.name)
        if isinstance(work.step, Layer) and entry is not None:
            items += evaluation_items(entry.solved.evaluation, work.step, entry.accelerator)
            cycles += entry.solved.evaluation.latency_cycles
        latency[work.name] = cycles
        footprint.update(_held(work, choice.occupied_bits + prices.pinned_bits, entry, names))
    outermost = accelerator_of(hardware).levels[-1]
    return Cost(
        items=tuple(items),
        latency_cycles=latency,
        footprint_bits=footprint,
        macs={layer.name: layer.macs for layer in workload.layers},
        network=workload.network,
        scheme=workload.scheme,
        hardware=hardware.name,
        hardware_hash=hardware.hash,
        outermost=f"level:{outermost.name}",
        notes=tuple(
            notes(workload, hardware, prices, placed, residency=residency, mode=mode, pin_weights=pin_weights)
        ),
        provenance=provenance(hardware),
        mapping_hashes={name: entry.solved.mapping.hash for name, entry in placed.items()},
    )


def _moved(work: StepWork, moves: list[Transfer]) -> Iterator[CostItem]:
    yield from (move.item for move in moves if move.item.count)
    yield from leak_items(work.name, sum(move.cycles for move in moves), work.platform.accelerator)


def _held(
    work: StepWork, resident_bits: int, entry: PlacedMapping | None, names: frozenset[str]
) -> Iterator[tuple[tuple[str, str], int]]:
    """Bits that a step holds in every bounded level: tiles of all instances, and what lives on chip."""
    home = work.platform.home
    if home is not None:
        taken = work.copy_words(names) + (0 if entry is None else entry.taken_words)
        yield (work.name, home.name), resident_bits + taken * home.word_bits
    if entry is None:
        return
    for cost in entry.solved.evaluation.levels:
        level = entry.accelerator.level(cost.name)
        if cost.tensors and level.words is not None and (home is None or cost.name != home.name):
            tiles = sum(tensor.tile_words for tensor in cost.tensors)
            yield (work.name, cost.name), tiles * level.word_bits * cost.instances
