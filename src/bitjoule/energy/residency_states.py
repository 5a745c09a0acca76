"""The residency optimum as a dynamic programme over the states of the live tensors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

from bitjoule.energy.feature_map import BEFORE, FeatureMap, Step, too_small

__all__ = ["keep_by_states"]

State = tuple[tuple[int, bool, bool], ...]
"""Live tensors with an open gap: (index, gap is kept, tensor stands in DRAM); dram, chip or both."""


def keep_by_states(
    steps: Sequence[Step], tensors: Sequence[FeatureMap], capacity_bits: int
) -> dict[str, tuple[bool, ...]]:
    """Gaps to keep for the least DRAM traffic; of equals the lexicographically smallest keep vector.

    Exact, O(steps * 3^live * choices).

    Raises:
        Infeasible: a step does not fit even when everything is streamed.
    """
    problem = _States(steps, tensors, capacity_bits)
    vector = problem.solve()
    return {
        tensor.name: tuple(bool(vector & problem.weight[number, use]) for use in tensor.uses)
        for number, tensor in enumerate(tensors)
    }


class _States:
    """The dynamic programme. A value is (DRAM bits, keep vector as a number), both sums over gaps."""

    def __init__(self, steps: Sequence[Step], tensors: Sequence[FeatureMap], capacity_bits: int) -> None:
        self.steps = steps
        self.tensors = tensors
        self.capacity_bits = capacity_bits
        self.index = {tensor.name: number for number, tensor in enumerate(tensors)}
        ends = [(number, use) for number, tensor in enumerate(tensors) for use in tensor.uses]
        self.weight = {end: 1 << place for place, end in enumerate(reversed(ends))}
        self.next_use = {
            (number, first): last for number, tensor in enumerate(tensors) for first, last in tensor.gaps
        }
        self.touched = [
            [
                number
                for number, tensor in enumerate(tensors)
                if step == tensor.producer or step in tensor.uses
            ]
            for step in range(len(steps))
        ]

    def solve(self) -> int:
        """The keep vector as a number, first gap in the highest bit."""
        inputs = [number for number, tensor in enumerate(self.tensors) if tensor.producer == BEFORE]
        start: State = tuple((number, False, True) for number in inputs if self.tensors[number].uses)
        values: dict[State, tuple[int, int]] = {start: (0, 0)}
        for step in range(len(self.steps)):
            after: dict[State, tuple[int, int]] = {}
            for state, value in values.items():
                for next_state, added in self.moves(step, state):
                    candidate = (value[0] + added[0], value[1] + added[1])
                    if next_state not in after or candidate < after[next_state]:
                        after[next_state] = candidate
            if not after:
                raise too_small(self.steps[step], self.capacity_bits)
            values = after
        return min(values.values())[1]

    def moves(self, step: int, state: State) -> Iterator[tuple[State, tuple[int, int]]]:
        """States after `step`, with the DRAM bits and keep bits that lead there; those that fit only."""
        live = {number: (kept, written) for number, kept, written in state}
        traffic, resident, passing = 0, set(), []
        opening: list[tuple[int, bool]] = []
        for number, (kept, written) in live.items():
            if kept:
                resident.add(number)
            if step not in self.tensors[number].uses:
                passing.append((number, kept, written))
        for number in self.touched[step]:
            tensor = self.tensors[number]
            kept, written = live.get(number, (True, tensor.is_output))
            if number in live and not kept:
                traffic += tensor.size_bits
            if tensor.producer == step and tensor.is_output:
                traffic += tensor.size_bits
            if (number, step) in self.next_use:
                opening.append((number, written))
        for choice in product((False, True), repeat=len(opening)):
            bits, vector, here, opened = traffic, 0, set(resident), []
            for keep, (number, written) in zip(choice, opening, strict=True):
                if keep:
                    here.add(number)
                    vector += self.weight[number, self.next_use[number, step]]
                elif not written:
                    bits += self.tensors[number].size_bits
                opened.append((number, keep, written or not keep))
            if self.fits(step, here):
                yield tuple(sorted((*passing, *opened))), (bits, vector)

    def fits(self, step: int, resident: set[int]) -> bool:
        need = self.steps[step].need_bits + sum(self.tensors[number].size_bits for number in resident)
        for name, bits in self.steps[step].streaming_bits.items():
            need += 0 if self.index[name] in resident else bits
        return need <= self.capacity_bits
