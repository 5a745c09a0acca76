"""Which feature maps stay on chip: the exact optimum over all choices, in the pure-traffic form.

Steps run in order. A tensor is made at a step (network inputs before the first, in DRAM) and used at later
ones; a *gap* runs from its maker to its first use, or from one use to the next. A kept gap occupies the
on-chip memory on all its steps, both ends included, and the use at its end reads no DRAM. A gap that is not
kept costs one read of the tensor at its end, and the tensor is written to DRAM once. The first gap of a
network input cannot be kept; network outputs are always written. At every step the kept sizes, the step's
working need and the buffers of the tensors it streams must fit.

The optimum is a dynamic programme over the states {dram, chip, both} of the live tensors, exact; ties are
broken by the lexicographically smallest keep vector (tensors in their order, gaps in theirs). Energies of
mappings do not enter: every tensor moves once per read or write.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

from bitjoule.energy.infeasible import Infeasible

__all__ = ["FeatureMap", "ResidencyPlan", "Step", "residency"]

BEFORE = -1
"""Producing step of network inputs."""

State = tuple[tuple[int, bool, bool], ...]
"""Live tensors with an open gap: (index, gap is kept, tensor stands in DRAM)."""


@dataclass(frozen=True)
class FeatureMap:
    """A tensor: its size, the step that makes it (-1: network input), the later steps that use it, ascending."""

    name: str
    size_bits: int
    producer: int
    uses: tuple[int, ...]
    is_output: bool = False

    def __post_init__(self) -> None:
        ascending = all(a < b for a, b in zip((self.producer, *self.uses), self.uses, strict=False))
        if self.size_bits < 0 or self.producer < BEFORE or not ascending:
            raise ValueError(
                f"feature map {self.name!r}: size_bits must be >= 0, and uses {self.uses} must ascend behind "
                f"producer {self.producer}"
            )

    @property
    def gaps(self) -> tuple[tuple[int, int], ...]:
        """(first step, last step) of every gap."""
        return tuple(zip((self.producer, *self.uses), self.uses, strict=False))


@dataclass(frozen=True)
class Step:
    """A step: memory it needs in any case, and what it needs for each tensor it streams from or to DRAM."""

    name: str
    need_bits: int = 0
    streaming_bits: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class ResidencyPlan:
    """An optimal choice. `kept[tensor][gap]`; `reads` and `writes` are (step, tensor) that cross DRAM."""

    traffic_bits: int
    kept: Mapping[str, tuple[bool, ...]]
    reads: tuple[tuple[int, str], ...]
    writes: tuple[tuple[int, str], ...]
    occupied_bits: tuple[int, ...]


def residency(steps: Sequence[Step], tensors: Sequence[FeatureMap], capacity_bits: int | None) -> ResidencyPlan:
    """The plan of least DRAM traffic; `capacity_bits=None` is an unlimited memory.

    Raises:
        Infeasible: a step does not fit even when everything is streamed.

    >>> plan = residency([Step("a"), Step("b")], [FeatureMap("t", 8, 0, (1,))], 8)
    >>> plan.traffic_bits, plan.kept
    (0, {'t': (True,)})
    """
    problem = _Problem(steps, tensors, capacity_bits)
    keep_vector = problem.solve()
    kept, position = {}, 0
    for tensor in tensors:
        kept[tensor.name] = keep_vector[position : position + len(tensor.gaps)]
        position += len(tensor.gaps)
    return plan_of(steps, tensors, kept)


def plan_of(
    steps: Sequence[Step], tensors: Sequence[FeatureMap], kept: Mapping[str, tuple[bool, ...]]
) -> ResidencyPlan:
    """What a choice of kept gaps costs and occupies; the definition that the optimum is checked against."""
    reads: list[tuple[int, str]] = []
    writes: list[tuple[int, str]] = []
    resident: list[set[str]] = [set() for _ in steps]
    traffic = 0
    for tensor in tensors:
        for keep, (first, last) in zip(kept[tensor.name], tensor.gaps, strict=True):
            if keep:
                for step in range(max(first, 0), last + 1):
                    resident[step].add(tensor.name)
            else:
                reads.append((last, tensor.name))
                traffic += tensor.size_bits
        if tensor.producer > BEFORE and (tensor.is_output or not all(kept[tensor.name])):
            writes.append((tensor.producer, tensor.name))
            traffic += tensor.size_bits
    size = {tensor.name: tensor.size_bits for tensor in tensors}
    occupied = tuple(
        step.need_bits
        + sum(size[name] for name in resident[index])
        + sum(bits for name, bits in step.streaming_bits.items() if name not in resident[index])
        for index, step in enumerate(steps)
    )
    return ResidencyPlan(traffic, dict(kept), tuple(sorted(reads)), tuple(sorted(writes)), occupied)


class _Problem:
    """The dynamic programme. A value is (DRAM bits, keep vector as a number), both sums over gaps."""

    def __init__(self, steps: Sequence[Step], tensors: Sequence[FeatureMap], capacity_bits: int | None) -> None:
        self.steps = steps
        self.tensors = tensors
        self.capacity_bits = capacity_bits
        self.index = {tensor.name: number for number, tensor in enumerate(tensors)}
        self.gap_count = sum(len(tensor.uses) for tensor in tensors)
        self.weight: dict[tuple[int, int], int] = {}  # (tensor, step its gap ends at) -> place in the keep vector
        place = self.gap_count
        for number, tensor in enumerate(tensors):
            for use in tensor.uses:
                place -= 1
                self.weight[number, use] = 1 << place
        self.next_use = {
            (number, first): last for number, tensor in enumerate(tensors) for first, last in tensor.gaps
        }
        self.touched = [
            [number for number, tensor in enumerate(tensors) if step == tensor.producer or step in tensor.uses]
            for step in range(len(steps))
        ]

    def solve(self) -> tuple[bool, ...]:
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
                raise self.infeasible(step)
            values = after
        _, vector = min(values.values())
        return tuple(bool(vector >> (self.gap_count - 1 - place) & 1) for place in range(self.gap_count))

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
        if self.capacity_bits is None:
            return True
        need = self.steps[step].need_bits + sum(self.tensors[number].size_bits for number in resident)
        for name, bits in self.steps[step].streaming_bits.items():
            need += 0 if self.index[name] in resident else bits
        return need <= self.capacity_bits

    def infeasible(self, step: int) -> Infeasible:
        """No state remains: dropping everything is always tried, so the streaming buffers alone do not fit."""
        need = self.steps[step].need_bits + sum(self.steps[step].streaming_bits.values())
        return Infeasible(
            self.steps[step].name,
            f"needs {need:,} bits of feature-map memory even when every tensor is streamed, there are "
            f"{self.capacity_bits:,}",
            "give the memory more bits, or the tensors fewer",
        )
