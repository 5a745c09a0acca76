"""The residency optimum as a dynamic programme over the states of the live tensors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

from bitjoule.energy.feature_map import BEFORE, FeatureMap, Step
from bitjoule.energy.residency_prices import StepPrices, TrafficPrices, loaded_or_filled

__all__ = ["cheapest_by_states", "keep_by_states"]

State = tuple[tuple[int, bool, bool], ...]
"""Live tensors with an open gap: (index, gap is kept, tensor stands in DRAM); dram, chip or both."""

Value = tuple[float, int, int]
"""(energy, DRAM bits, keep vector as a number): all sums over gaps and steps, compared in this order."""


def keep_by_states(
    steps: Sequence[Step], tensors: Sequence[FeatureMap], capacity_bits: int
) -> dict[str, tuple[bool, ...]]:
    """Gaps to keep for the least DRAM traffic; of equals the lexicographically smallest keep vector.

    Exact, O(steps * 3^live * choices).

    Raises:
        Infeasible: a step does not fit even when everything is streamed.
    """
    prices = TrafficPrices(steps, tensors, capacity_bits)
    return cheapest_by_states(len(steps), tensors, capacity_bits, prices)


def cheapest_by_states(
    length: int, tensors: Sequence[FeatureMap], capacity_bits: int | None, prices: StepPrices
) -> dict[str, tuple[bool, ...]]:
    """Gaps to keep for the least price over `length` steps.

    Of equals the one of fewer DRAM bits, then the lexicographically smallest keep vector.

    Raises:
        Exception: what `prices.fault` makes of the first step that fits with no choice.
    """
    problem = _States(length, tensors, capacity_bits, prices)
    vector = problem.solve()
    return {
        tensor.name: tuple(bool(vector & problem.weight[number, use]) for use in tensor.uses)
        for number, tensor in enumerate(tensors)
    }


class _States:
    """The dynamic programme."""

    def __init__(
        self, length: int, tensors: Sequence[FeatureMap], capacity_bits: int | None, prices: StepPrices
    ) -> None:
        self.length = length
        self.tensors = tensors
        self.capacity_bits = capacity_bits
        self.prices = prices
        ends = [(number, use) for number, tensor in enumerate(tensors) for use in tensor.uses]
        self.weight = {end: 1 << place for place, end in enumerate(reversed(ends))}
        self.next_use = {
            (number, first): last for number, tensor in enumerate(tensors) for first, last in tensor.gaps
        }
        self.touched: list[list[int]] = [[] for _ in range(length)]
        for number, tensor in enumerate(tensors):
            for step in (tensor.producer, *tensor.uses):
                if step > BEFORE:
                    self.touched[step].append(number)

    def solve(self) -> int:
        """The keep vector as a number, first gap in the highest bit."""
        inputs = [number for number, tensor in enumerate(self.tensors) if tensor.producer == BEFORE]
        start: State = tuple((number, False, True) for number in inputs if self.tensors[number].uses)
        values: dict[State, Value] = {start: (0, 0, 0)}
        for step in range(self.length):
            after: dict[State, Value] = {}
            for state, value in values.items():
                for next_state, added in self.moves(step, state):
                    candidate = (value[0] + added[0], value[1] + added[1], value[2] + added[2])
                    if next_state not in after or candidate < after[next_state]:
                        after[next_state] = candidate
            if not after:
                raise self.prices.fault(step)
            values = after
        return min(values.values())[2]

    def moves(self, step: int, state: State) -> Iterator[tuple[State, Value]]:
        """States after `step`, with the price and keep bits that lead there; those that fit only."""
        live = {number: (kept, written) for number, kept, written in state}
        passing = [entry for entry in state if step not in self.tensors[entry[0]].uses]
        resident = {number for number, kept, _ in state if kept}
        used_on = {number for number in self.touched[step] if number in resident}
        opening = [number for number in self.touched[step] if (number, step) in self.next_use]
        for choice in product((False, True), repeat=len(opening)):
            keeps = {number for keep, number in zip(choice, opening, strict=True) if keep}
            occupied = sum(self.tensors[number].size_bits for number in resident | keeps)
            free = None if self.capacity_bits is None else self.capacity_bits - occupied
            if free is not None and free < 0:
                continue
            made = {number for number in keeps if number not in live}
            fetched = sorted(keeps - made - used_on)
            found = loaded_or_filled(self.prices, step, frozenset(used_on | made), fetched, free)
            if found is None:
                continue
            (energy, bits), _ = found
            opened = []
            for number in opening:
                kept, written = live.get(number, (False, False))
                if number in keeps:
                    written = written or self.tensors[number].is_output
                    flush = number in made and written
                else:
                    flush = kept and not written
                    written = True
                if flush:
                    moved = self.prices.flush(number)
                    energy, bits = energy + moved[0], bits + moved[1]
                opened.append((number, number in keeps, written))
            vector = sum(self.weight[number, self.next_use[number, step]] for number in keeps)
            yield tuple(sorted((*passing, *opened))), (energy, bits, vector)
