"""Which feature maps stay in the residency level of a hierarchy, with energies: the optimum of energy.md 5.1.

The dynamic programme runs on lower bounds of the steps' energies; what its optimum rests on is then made
exact, and it runs again until nothing changes. The result is the optimum over all keep choices, with few
mapper calls.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bitjoule.energy.feature_map import FeatureMap, tensors_live_at
from bitjoule.energy.hierarchy_prices import HierarchyPrices
from bitjoule.energy.residency import MAX_LIVE
from bitjoule.energy.residency_prices import StepChoice, choices_of
from bitjoule.energy.residency_states import cheapest_by_states
from bitjoule.mapping.accelerator import Accelerator, StorageLevel

__all__ = ["keep_best", "keep_nothing", "pin_best", "residency_level", "settled"]


def residency_level(accelerator: Accelerator) -> StorageLevel | None:
    """The level that says so, else the innermost single one that inputs and outputs share; None without one.

    Raises:
        ValueError: two levels say so, or one that cannot hold feature maps between layers.
    """
    marked = [level for level in accelerator.levels if level.residency]
    if len(marked) > 1:
        names = ", ".join(level.name for level in marked)
        raise ValueError(f"{accelerator.name}: residency is true on {names}; feature maps stay on one level")
    for index, level in enumerate(accelerator.levels[:-1]):
        shared = {"inputs", "outputs"} <= set(level.keeps) and accelerator.total_instances(index) == 1
        if shared and (not marked or level in marked):
            return level
    if marked:
        raise ValueError(
            f"{accelerator.name}: residency is true on {marked[0].name!r}, but feature maps stay on a level "
            "inside the outermost one that keeps inputs and outputs and exists once"
        )
    return None


def keep_nothing(maps: Sequence[FeatureMap]) -> dict[str, tuple[bool, ...]]:
    """Every gap through DRAM."""
    return {tensor.name: (False,) * len(tensor.gaps) for tensor in maps}


def keep_best(
    prices: HierarchyPrices, maps: Sequence[FeatureMap], capacity_bits: int, *, max_live: int = MAX_LIVE
) -> tuple[dict[str, tuple[bool, ...]], tuple[StepChoice, ...]]:
    """Gaps to keep for the least energy, and what that means at every step.

    Raises:
        Infeasible: a step fits with no choice.
    """
    length = len(prices.works)
    most_live = max((len(tensors_live_at(maps, step)) for step in range(length)), default=0)
    if most_live > max_live:
        kept, _ = _by_program(prices, maps, capacity_bits)
        return kept, settled(prices, maps, kept, capacity_bits)
    while True:
        kept = cheapest_by_states(length, maps, capacity_bits, prices)
        priced = choices_of(length, maps, kept, capacity_bits, prices)
        if priced is not None and _settle(prices, priced[1]):
            return kept, priced[1]


def pin_best(prices: HierarchyPrices, capacity_bits: int, *, streaming: bool) -> HierarchyPrices:
    """The prices with those weights on chip, in every step and inference, that go with the least energy.

    `streaming`: no feature map stays beside them.

    Raises:
        Infeasible: a step fits with no choice.
    """
    alone = HierarchyPrices(prices.works, (), prices.tables, capacity_bits, prices.weight_bits)
    chosen = alone if streaming else prices
    _, pinned = _by_program(chosen, chosen.maps, capacity_bits)
    return prices.with_weights(pinned)


def _by_program(
    prices: HierarchyPrices, maps: Sequence[FeatureMap], capacity_bits: int
) -> tuple[dict[str, tuple[bool, ...]], frozenset[int]]:
    """The 0/1 programme on lower bounds, until no mapping of its optimum had to be searched for."""
    from bitjoule.energy.priced_program import cheapest_by_program  # SciPy costs half a second to import

    length = len(prices.works)
    while True:
        kept, pinned = cheapest_by_program(length, maps, capacity_bits, prices, prices.weight_bits)
        searches = prices.searches
        fixed = prices.with_weights(pinned)
        room = capacity_bits - sum(prices.weight_bits[step] for step in pinned)
        priced = choices_of(length, maps, kept, room, fixed)
        if priced is not None:
            _settle(fixed, priced[1])
        if prices.searches == searches:
            return kept, pinned


def settled(
    prices: HierarchyPrices,
    maps: Sequence[FeatureMap],
    kept: Mapping[str, tuple[bool, ...]],
    capacity_bits: int | None,
) -> tuple[StepChoice, ...]:
    """The exact choices of a keep vector.

    Raises:
        Infeasible: a step does not fit.
    """
    while True:
        priced = choices_of(len(prices.works), maps, kept, capacity_bits, prices)
        if priced is None:
            raise _first_fault(prices)
        if _settle(prices, priced[1]):
            return priced[1]


def _settle(prices: HierarchyPrices, choices: Sequence[StepChoice]) -> bool:
    """Make all of them exact, whatever the first says."""
    exact = [prices.settle(choice) for choice in choices]
    return all(exact)


def _first_fault(prices: HierarchyPrices) -> Exception:
    """The first step that cannot even be streamed."""
    for step in range(len(prices.works)):
        if prices.step(step, frozenset(), prices.capacity_bits) is None:
            return prices.fault(step)
    return RuntimeError("the residency plan does not fit, though every step can be streamed")
