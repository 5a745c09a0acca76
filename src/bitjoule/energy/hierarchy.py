"""Cost of a Workload on a memory hierarchy: best mappings, feature maps on chip, element operations.

Energy.md sections 3 and 5: E = vector accesses * energy of the access + MACs * E_MAC + deliveries * NoC
+ element operations + leakage. Every layer runs the mapping of least energy for the room that the feature
maps on chip leave it, and which maps those are is chosen for the least total (`hierarchy_residency.py`).
Weights are streamed from the outermost level in every inference.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from bitjoule.energy.cost import Cost, CostItem
from bitjoule.energy.element_prices import element_prices
from bitjoule.energy.feature_map import FeatureMap
from bitjoule.energy.feature_memory import ResidencyMode, feature_maps_of, steps_of
from bitjoule.energy.hierarchy_items import Transfer, evaluation_items, leak_items
from bitjoule.energy.hierarchy_prices import HierarchyPrices
from bitjoule.energy.hierarchy_residency import keep_best, keep_nothing, residency_level, settled
from bitjoule.energy.hierarchy_steps import Platform, StepWork, step_works
from bitjoule.energy.infeasible import Infeasible
from bitjoule.energy.mapping_table import LayerSolver, MappingTable, PlacedMapping, Solved
from bitjoule.energy.operations import require_known
from bitjoule.energy.residency_prices import StepChoice
from bitjoule.hardware import Hardware
from bitjoule.mapping.accelerator import Accelerator
from bitjoule.mapping.evaluate import Evaluation, Mode, evaluate
from bitjoule.mapping.hardware_levels import accelerator_of
from bitjoule.mapping.infeasible import InfeasibleMapping
from bitjoule.mapping.layer_problem import problem_of, psum_warning
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
    `residency_level`: "" without one. `searches`: mapper calls.
    """

    cost: Cost
    mappings: Mapping[str, Solved]
    accelerators: Mapping[str, Accelerator]
    kept: Mapping[str, tuple[bool, ...]]
    choices: tuple[StepChoice, ...]
    residency_level: str
    searches: int


def hierarchy(
    workload: Workload,
    hardware: Hardware,
    *,
    residency: ResidencyMode = "optimal",
    mode: Mode = "physical",
    mappings: Mapping[str, Nest] | None = None,
    solver: LayerSolver | None = None,
) -> Cost:
    """Energy, cycles and footprint of one inference; the cost of `hierarchy_plan`."""
    plan = hierarchy_plan(
        workload, hardware, residency=residency, mode=mode, mappings=mappings, solver=solver
    )
    return plan.cost


def hierarchy_plan(
    workload: Workload,
    hardware: Hardware,
    *,
    residency: ResidencyMode = "optimal",
    mode: Mode = "physical",
    mappings: Mapping[str, Nest] | None = None,
    solver: LayerSolver | None = None,
) -> HierarchyPlan:
    """The best mapping of every layer and the feature maps that stay on chip, for the least energy.

    `residency`: "optimal"; "none" streams every feature map; "ideal" lets them take no room, a lower bound.
    `mappings`: layers by name whose nests are given; levels outside the residency level lose the tensors that
    live there. `solver`: the mapper, by default `MappingMemo.solve`.

    Raises:
        Infeasible: a layer fits with no choice, or its Formats have no price.
        UnknownOperation: operators without an operation count, all of them.
        ValueError: hardware of another kind, a mapping of no layer, or one that is not of its layer.
    """
    prices = network_prices(
        workload, hardware, takes_room=residency != "ideal", mode=mode, mappings=mappings, solver=solver
    )
    works, maps, capacity = prices.works, prices.maps, prices.capacity_bits
    kept = keep_nothing(maps)
    if capacity is None or residency == "none":
        choices = settled(prices, maps, kept, capacity)
    else:
        kept, choices = keep_best(prices, maps, capacity)
    placed = {
        works[choice.step].name: entry for choice in choices if (entry := prices.placed(choice)) is not None
    }
    return HierarchyPlan(
        cost=_cost(workload, hardware, prices, choices, placed, residency, mode),
        mappings={name: entry.solved for name, entry in placed.items()},
        accelerators={name: entry.accelerator for name, entry in placed.items()},
        kept=kept,
        choices=choices,
        residency_level=home.name if (home := prices.home) else "",
        searches=sum(
            table.searches for table in {id(table): table for table in prices.tables.values()}.values()
        ),
    )


def network_prices(
    workload: Workload,
    hardware: Hardware,
    *,
    takes_room: bool = True,
    mode: Mode = "physical",
    mappings: Mapping[str, Nest] | None = None,
    solver: LayerSolver | None = None,
) -> HierarchyPrices:
    """Prices of every step of a network, whatever stays on chip; `takes_room` False: kept maps take none.

    Raises: as `hierarchy_plan`.
    """
    accelerator = accelerator_of(hardware)
    require_known(workload)
    solve = solver or _remembering()
    given = dict(mappings or {})
    for name in given:
        workload.layer(name)
    if given:
        solve = _Given(given, solve)
    problems = {layer.name: _problem(layer, hardware, mode) for layer in workload.layers}
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
    return HierarchyPrices(works, _maps(workload, works, platform, takes_room=takes_room), tables, capacity)


def _problem(layer: Layer, hardware: Hardware, mode: Mode) -> Problem:
    try:
        return problem_of(layer, hardware, mode=mode)
    except ValueError as error:
        reason, _, remedy = str(error).partition("; ")
        raise Infeasible(
            layer.name, f"cannot be priced on {hardware.name}: {reason}", remedy or "choose other Formats"
        ) from None


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
        footprint.update(_held(work, choice, entry, names))
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
        notes=tuple(_notes(workload, hardware, prices, placed, residency, mode)),
        provenance=_provenance(hardware),
        mapping_hashes={name: entry.solved.mapping.hash for name, entry in placed.items()},
    )


def _moved(work: StepWork, moves: list[Transfer]) -> Iterator[CostItem]:
    yield from (move.item for move in moves if move.item.count)
    yield from leak_items(work.name, sum(move.cycles for move in moves), work.platform.accelerator)


def _held(
    work: StepWork, choice: StepChoice, entry: PlacedMapping | None, names: frozenset[str]
) -> Iterator[tuple[tuple[str, str], int]]:
    """Bits that a step holds in every bounded level: tiles of all instances, and what lives on chip."""
    home = work.platform.home
    if home is not None:
        taken = work.copy_words(names) + (0 if entry is None else entry.taken_words)
        yield (work.name, home.name), choice.occupied_bits + taken * home.word_bits
    if entry is None:
        return
    for cost in entry.solved.evaluation.levels:
        level = entry.accelerator.level(cost.name)
        if cost.tensors and level.words is not None and (home is None or cost.name != home.name):
            tiles = sum(tensor.tile_words for tensor in cost.tensors)
            yield (work.name, cost.name), tiles * level.word_bits * cost.instances


def _notes(
    workload: Workload,
    hardware: Hardware,
    prices: HierarchyPrices,
    placed: Mapping[str, PlacedMapping],
    residency: ResidencyMode,
    mode: Mode,
) -> Iterator[str]:
    home = prices.home
    where = f"feature maps stay in {home.name}" if home else "no level holds feature maps between layers"
    psums = "auto" if hardware.psum_bits == "auto" else f"{hardware.psum_bits} bits"
    yield (
        f"memory hierarchy {hardware.name}, mode {mode}, residency {residency} ({where}), partial sums "
        f"{psums}, packing {hardware.packing}; weights are streamed in every inference"
    )
    proven = sum(entry.solved.optimal and not entry.constrained for entry in placed.values())
    if proven == len(placed):
        yield f"all {proven} layer mappings proven optimal"
    else:
        yield f"{proven} of {len(placed)} layer mappings proven optimal"
    constrained = [name for name, entry in placed.items() if entry.constrained]
    if constrained:
        yield (
            "partial sums of an output on chip need room that the unconstrained optimum does not leave; "
            f"best of three narrower map spaces: {', '.join(constrained)}"
        )
    if mode == "physical":
        warnings = [text for layer in workload.layers if (text := psum_warning(layer, hardware))]
        if warnings:
            others = f" (and {len(warnings) - 1} more layers)" if len(warnings) > 1 else ""
            yield warnings[0] + others


def _provenance(hardware: Hardware) -> dict[str, str]:
    found = {"mac": f"anchor_pj: {hardware.source_of('mac.anchor_pj').status}"}
    for level in hardware.levels:
        if level.stores:
            key = "read_pj" if level.read_pj is not None else "read_pj_per_bit"
            found[f"level:{level.name}"] = f"{key}: {hardware.source_of(f'levels.{level.name}.{key}').status}"
    found["op"] = "add, mul: published fits at 45 nm (google/qkeras); other operations assumed from them"
    return found


def _remembering() -> LayerSolver:
    from bitjoule.mapping.memo import MappingMemo  # compiled kernels: half a second

    return MappingMemo.open().solve


@dataclass(frozen=True)
class _GivenMapping:
    mapping: Nest
    evaluation: Evaluation
    optimal: bool = False


@dataclass(frozen=True)
class _Given:
    """Layers whose nests are given; the others go to the mapper."""

    nests: Mapping[str, Nest]
    otherwise: LayerSolver

    def __call__(self, problem: Problem, accelerator: Accelerator, *, mode: Mode) -> Solved:
        """The given nest, with resident tensors kept where they live.

        Raises:
            InfeasibleMapping: it does not fit.
            MappingError: it is not a nest of this layer.
        """
        if problem.name not in self.nests:
            return self.otherwise(problem, accelerator, mode=mode)
        levels = tuple(
            replace(
                nest,
                keeps=tuple(
                    tensor for tensor in level.keeps if tensor in level.holds or tensor in nest.keeps
                ),
            )
            if nest.name == level.name
            else nest
            for nest, level in zip(self.nests[problem.name].levels, accelerator.levels, strict=False)
        )
        nest = Nest(levels)
        evaluation = evaluate(problem, nest, accelerator, mode=mode)
        if evaluation.violations:
            raise InfeasibleMapping(problem.name, accelerator.name, conflicts=evaluation.violations)
        return _GivenMapping(nest, evaluation)
