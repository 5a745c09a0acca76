"""The smallest tiles of a level that constraints and the sizes of the other levels permit.

An exact search over factorisations and bypasses, outermost level first, for the report of a layer without a
mapping (mapping.md 4.5). Orders matter only for outputs, which are partial sums (and as wide) wherever an
output comes back to a level; the search takes the order of every level that avoids this best.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from bitjoule.mapping.accelerator import Accelerator, StorageLevel
from bitjoule.mapping.evaluate import Mode
from bitjoule.mapping.packing import words
from bitjoule.mapping.problem import DIMS, REDUCED, RELEVANT, Problem

__all__ = ["Need", "Split", "divisors", "smallest_need", "splits_here"]

Need = tuple[int, tuple[tuple[str, int], ...]]
"""(words, ((tensor or "psums", words), ...)) of the tiles at one level."""

Split = tuple[int, int, int]
"""(temporal, x, y) factor of one dimension at one level."""


def divisors(number: int) -> tuple[int, ...]:
    """All divisors, ascending.

    >>> divisors(6)
    (1, 2, 3, 6)
    """
    return tuple(n for n in range(1, number + 1) if number % n == 0)


def splits_here(level: StorageLevel, dim: str, inside: int) -> Iterator[Split]:
    """Factors of `dim` that one level may take of `inside` iterations."""
    iterates = dim in level.loop_dims
    greatest = dict(level.max_temporal).get(dim, inside) if iterates else 1
    time, space = dict(level.fixed_temporal).get(dim), dict(level.fixed_spatial).get(dim)
    across = level.x.size if dim in level.x.dims else 1
    along = level.y.size if dim in level.y.dims else 1
    for temporal in divisors(inside):
        if temporal > greatest or temporal != (temporal if time is None else time):
            continue
        for x in divisors(inside // temporal):
            for y in divisors(inside // temporal // x) if x <= across else ():
                if y <= along and (space is None or x * y == space):
                    yield temporal, x, y


_Step = tuple[tuple[int, ...], int, tuple[bool, bool, bool]]
"""(iterations left inside, instances of the fan-out in use, what `passes` says of the loops)."""


@dataclass
class _Search:
    """One minimisation; `target` is the level whose tiles are minimised and whose size does not count."""

    problem: Problem
    accelerator: Accelerator
    sizes: tuple[int | None, ...]
    mode: Mode
    target: int | None
    seen: dict[tuple[object, ...], Need | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        problem, levels = self.problem, self.accelerator.levels
        self.psums_differ = (
            self.mode == "physical"
            and problem.psum_bits != problem.output_bits
            and any(problem.bound(dim) > 1 for dim in REDUCED)
        )
        self.count_units = math.prod(level.fanout for level in levels) > self.accelerator.mac_count
        limits = [f for level in levels for f in (*level.fixed_temporal, *level.fixed_spatial)]
        self.rigid = {dim for dim, factor in limits if factor != 1}
        self.away = tuple(self._goes_outside(dim) for dim in DIMS)

    def _goes_outside(self, dim: str) -> bool:
        """May all iterations of `dim` run at the outermost level, at no harm to any tile?"""
        last = self.accelerator.levels[-1]
        limits = (*last.max_temporal, *last.fixed_temporal)
        return (
            dim in last.loop_dims
            and dim not in dict(limits)
            and dim not in self.rigid
            and not (self.psums_differ and (dim in REDUCED or last.temporal_order))
        )

    def tiles(self, index: int, inside: tuple[int, ...], keeps: tuple[str, ...], partial: bool) -> Need:
        """Words of the tiles of the kept tensors."""
        problem, level = self.problem, self.accelerator.levels[index]
        bits = {"weights": problem.weight_bits, "inputs": problem.input_bits, "outputs": problem.output_bits}
        packing = self.accelerator.packing if self.mode == "physical" else self.mode
        parts = []
        for tensor in keeps:
            if tensor not in level.holds:
                psums = tensor == "outputs" and partial
                width = problem.psum_bits if psums else bits[tensor]
                count = words(problem.elements(tensor, inside), width, level.word_bits, packing)
                parts.append(("psums" if psums else tensor, count))
        return sum(count for _, count in parts), tuple(parts)

    def keep_sets(self, index: int) -> Iterator[tuple[str, ...]]:
        """The fewest tensors; outputs also kept where they may be bypassed, which can spare partial sums."""
        level = self.accelerator.levels[index]
        may_leave = level.bypass_allowed if index < len(self.accelerator.levels) - 1 else ()
        yield tuple(t for t in level.keeps if t not in may_leave)
        if self.psums_differ and "outputs" in level.keeps and "outputs" in may_leave:
            yield tuple(t for t in level.keeps if t not in may_leave or t == "outputs")

    def passes(self, level: StorageLevel, split: tuple[Split, ...]) -> tuple[bool, bool, bool]:
        """(outputs move, sums are continued, a sum is left and taken up again) within a level's loops."""
        looping = [dim for dim, (temporal, _, _) in zip(DIMS, split, strict=True) if temporal > 1]
        listed = [dim for dim in level.temporal_order if dim in looping]
        rest = sorted((dim for dim in looping if dim not in listed), key=lambda dim: dim not in REDUCED)
        sums = [dim in REDUCED for dim in (*listed, *rest) if dim in REDUCED or dim in RELEVANT["outputs"]]
        return not all(sums), any(sums), any(a and not b for b, a in itertools.pairwise(sums))

    def options(self, level: StorageLevel, dim: str, inside: int) -> list[Split]:
        """Factors of one dimension at one level, without those that another matches or beats.

        A divisor of what is left to the levels inside finds its factors among the divisors of theirs, except
        where they are fixed; so less left, fewer instances and no loop in time are never worse.
        """
        every = list(splits_here(level, dim, inside))

        def beats(a: Split, b: Split) -> bool:
            narrower = a[1] <= b[1] and a[2] <= b[2]
            loops_more = self.psums_differ and a[0] > 1 and b[0] == 1
            return narrower and not loops_more and math.prod(a) % math.prod(b) == 0

        if dim in self.rigid:
            return every
        return [b for b in every if not any(a != b and beats(a, b) for a in every)]

    def splits(self, index: int, inside: tuple[int, ...]) -> list[_Step]:
        """What a level may do with `inside` iterations, without what another choice beats."""
        level = self.accelerator.levels[index]
        each = [self.options(level, dim, n) for dim, n in zip(DIMS, inside, strict=True)]
        found: dict[_Step, None] = {}
        for split in itertools.product(*each):
            x, y = math.prod(s[1] for s in split), math.prod(s[2] for s in split)
            if x <= level.x.size and y <= level.y.size:
                left = tuple(n // math.prod(s) for n, s in zip(inside, split, strict=True))
                loops = self.passes(level, split) if self.psums_differ else (False, False, False)
                found[left, x * y if self.count_units else 1, loops] = None

        def beats(a: _Step, b: _Step) -> bool:
            smaller = (
                n == m if dim in self.rigid else m % n == 0
                for dim, n, m in zip(DIMS, a[0], b[0], strict=True)
            )
            return a[1] <= b[1] and a[2] == b[2] and all(smaller)

        least: list[_Step] = []
        for step in sorted(found, key=lambda entry: (math.prod(entry[0]), entry[1])):
            if not any(beats(other, step) for other in least):
                least.append(step)
        return least

    def least(
        self, index: int, inside: tuple[int, ...], units: int, summing: bool, back: bool, promised: bool
    ) -> Need | None:
        """Least need at the target over levels <= `index`, which hold `inside` iterations; None: impossible.

        `summing`: a loop further out continues sums. `back`: some loop inside it moves the outputs, so sums
        come back. `promised`: the next outer level with outputs counts on finished ones.
        """
        if index < 0:
            done = all(n == 1 for n in inside) and not (promised and summing)
            return (0, ()) if done else None
        key = (index, inside, units, summing, back, promised)
        if key not in self.seen:
            self.seen[key] = min(self._choices(index, inside, units, summing, back, promised), default=None)
        return self.seen[key]

    def _choices(
        self, index: int, inside: tuple[int, ...], units: int, summing: bool, back: bool, promised: bool
    ) -> Iterator[Need]:
        size = self.sizes[index]
        tile = self.problem.bounds if index == len(self.accelerator.levels) - 1 else inside
        for keeps in self.keep_sets(index):
            kept = "outputs" in keeps
            for partial in (False, True) if kept and self.psums_differ else (False,):
                need = self.tiles(index, tile, keeps, partial)
                finished = (not partial if kept else promised) and self.psums_differ
                if (size is not None and index != self.target and need[0] > size) or (finished and back):
                    continue
                for left, instances, (moves, sums, returns) in self.splits(index, inside):
                    used = units * instances
                    comes_back = back or returns or (summing and moves)
                    if used > self.accelerator.mac_count or (finished and comes_back):
                        continue
                    inner = self.least(index - 1, left, used, summing or sums, comes_back, finished)
                    if inner is not None:
                        yield need if index == self.target else inner


def smallest_need(
    problem: Problem,
    accelerator: Accelerator,
    *,
    mode: Mode = "physical",
    sizes: tuple[int | None, ...] | None = None,
    target: int | None = None,
) -> Need | None:
    """Least words that the tiles at level `target` take while every other level keeps to its size.

    `sizes`: words per level, innermost first, None = unbounded; by default those of the accelerator. Without
    a target: `(0, ())` where some mapping fits. None where none does.

    >>> from bitjoule.mapping.accelerator import StorageLevel
    >>> everything = ("weights", "inputs", "outputs")
    >>> levels = (StorageLevel("rf", everything, 2, temporal_dims=("K",)), StorageLevel("dram", everything))
    >>> layer, hardware = Problem("p", (1, 1, 4, 1, 1, 1, 1, 1)), Accelerator("a", levels, 1)
    >>> smallest_need(layer, hardware, mode="native", target=0)
    (3, (('weights', 1), ('inputs', 1), ('outputs', 1)))
    """
    own = tuple(level.words for level in accelerator.levels)
    search = _Search(problem, accelerator, own if sizes is None else sizes, mode, target)
    inside = tuple(1 if away else n for n, away in zip(problem.bounds, search.away, strict=True))
    return search.least(len(accelerator.levels) - 1, inside, 1, False, False, False)
