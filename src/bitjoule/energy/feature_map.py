"""Feature maps, steps, and what a choice of kept gaps costs: the words of `energy/residency.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bitjoule.energy.infeasible import Infeasible

__all__ = ["BEFORE", "FeatureMap", "ResidencyPlan", "Step", "plan_of", "tensors_live_at", "too_small"]

BEFORE = -1
"""Producing step of network inputs."""


@dataclass(frozen=True)
class FeatureMap:
    """A tensor: its size, the step that makes it (-1: network input), the later steps that use it."""

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


def tensors_live_at(tensors: Sequence[FeatureMap], step: int) -> tuple[FeatureMap, ...]:
    """Tensors with a gap open at `step`."""
    return tuple(tensor for tensor in tensors if any(first <= step <= last for first, last in tensor.gaps))


def too_small(step: Step, capacity_bits: int) -> Infeasible:
    """The memory cannot even hold what `step` needs when it streams every tensor."""
    need = step.need_bits + sum(step.streaming_bits.values())
    return Infeasible(
        step.name,
        f"needs {need:,} bits of feature-map memory even when every tensor is streamed, there are "
        f"{capacity_bits:,}",
        "give the memory more bits, or the tensors fewer",
    )
