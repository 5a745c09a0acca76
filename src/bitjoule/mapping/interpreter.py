"""A slow walk of a loop nest, element by element: the oracle of the closed form in `counts`.

Every buffer is a set of coordinates, every step of the nest is taken. The only law it knows is the one a
buffer follows (mapping.md E2): data left in it are reused when the tile moves by a step of its innermost
moving loop; any other move fetches the whole tile. Nothing here is computed by a formula for counts.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from bitjoule.mapping.accelerator import Accelerator
from bitjoule.mapping.nest import Mapping
from bitjoule.mapping.problem import DIMS, TENSORS, Problem
from bitjoule.mapping.tally import Counts, LevelTally, TensorTally

__all__ = ["Window", "interpret"]

Window = Literal["law", "set_difference"]

Point = tuple[int, int, int, int, int]


@dataclass(frozen=True)
class _Step:
    """One loop: where it stands, and by how much it moves its dimension per iteration."""

    level: int
    dim: str
    bound: int
    stride: int
    spatial: bool


def interpret(
    problem: Problem, mapping: Mapping, accelerator: Accelerator, *, window: Window = "law"
) -> Counts:
    """Element counts by walking the nest; equal to `counts.count` where `window` is "law".

    `window="set_difference"`: every element that the last tile left behind is reused, whichever loop moved
    the tile; never more fills than the law, for information only. Time grows with MACs times tile sizes.

    Raises:
        MappingError: the mapping is not one of this problem on this accelerator.
    """
    mapping.check(problem, accelerator)
    loops = _loops(mapping)
    tallies: list[dict[str, TensorTally]] = [{} for _ in mapping.levels]
    for tensor in TENSORS:
        keepers = [index for index, level in enumerate(mapping.levels) if tensor in level.keeps]
        for place, level in enumerate(keepers):
            child = keepers[place - 1] if place else -1
            walk = _Walk(problem, tensor, loops, window)
            reads, updates, first = _serve(walk, child, level)
            outermost = level == keepers[-1]
            fills = drained = 0
            if not outermost:
                fills, drained = _fill(walk, level)
            outputs = tensor == "outputs"
            partial = outputs and updates > first
            charged = outputs and accelerator.levels[level].charge_drain
            tallies[level][tensor] = TensorTally(
                tensor=tensor,
                tile=len(walk.box(level)),
                reads=reads + (drained if charged else 0),
                fills=fills,
                updates=updates,
                first_updates=first,
                final_updates=(first if outermost else 0) if partial else updates,
                partial=partial,
            )
    instances = [
        sum(1 for _ in itertools.product(*(range(s.bound) for s in loops if s.spatial and s.level > index)))
        for index in range(-1, len(mapping.levels))
    ]
    temporal = [range(step.bound) for step in loops if not step.spatial]
    return Counts(
        macs=sum(1 for _ in itertools.product(*(range(bound) for bound in problem.bounds))),
        mac_instances=instances[0],
        steps=sum(1 for _ in itertools.product(*temporal)),
        levels=tuple(
            LevelTally(
                level.name,
                instances[index + 1],
                tuple(tallies[index][t] for t in TENSORS if t in tallies[index]),
            )
            for index, level in enumerate(mapping.levels)
        ),
    )


def _loops(mapping: Mapping) -> list[_Step]:
    """All loops, innermost first; those of a fan-out lie inside the temporal loops of their level."""
    inside = dict.fromkeys(DIMS, 1)
    steps = []
    for index, level in enumerate(mapping.levels):
        for loops, spatial in ((level.x, True), (level.y, True), (level.temporal, False)):
            for dim, bound in loops:
                steps.append(_Step(index, dim, bound, inside[dim], spatial))
                inside[dim] *= bound
    return steps


@dataclass(frozen=True)
class _Walk:
    """One tensor on its way through the nest, seen from instance 0 of everything."""

    problem: Problem
    tensor: str
    loops: list[_Step]
    window: Window

    def point(self, **at: int) -> Point:
        """The element that an iteration touches."""
        n, g, k, c, p, q, r, s = (at.get(dim, 0) for dim in DIMS)
        if self.tensor == "weights":
            return (g, k, c, r, s)
        if self.tensor == "outputs":
            return (n, g, k, p, q)
        (rows, columns), (row_gap, column_gap) = self.problem.stride, self.problem.dilation
        return (n, g, c, rows * p + row_gap * r, columns * q + column_gap * s)

    def points(self, steps: list[_Step]) -> list[Point]:
        """Elements of all iterations of `steps`, the last of them turning slowest."""
        found = [self.point()]
        for step in steps:
            moves = [self.point(**{step.dim: index * step.stride}) for index in range(step.bound)]
            found = [_sum(point, move) for move in moves for point in found]
        return found

    def box(self, level: int) -> frozenset[Point]:
        """What level `level` holds at the start: the bounding box of what the loops inside it touch."""
        touched = set(self.points([step for step in self.loops if step.level <= level]))
        sides = [range(min(axis), max(axis) + 1) for axis in zip(*touched, strict=True)]
        g, k, c, r, s = sides
        return frozenset(itertools.product(g, k, c, r, s))

    def fetches(self, level: int) -> Iterator[frozenset[Point]]:
        """What level `level` (-1: a MAC unit) asks of its parent, one set per arrival, over the whole run."""
        outside = [step for step in self.loops if step.level > level and not step.spatial and step.bound > 1]
        if level < 0:
            yield from (frozenset((point,)) for point in self.points(outside))
            return
        box = self.box(level)
        origin = self.point()
        mover = next(
            (place for place, step in enumerate(outside) if self.point(**{step.dim: step.stride}) != origin),
            None,
        )
        held: frozenset[Point] = frozenset()
        ranges = [range(step.bound) for step in reversed(outside)]
        before: tuple[int, ...] | None = None
        for indices, base in zip(itertools.product(*ranges), self.points(outside), strict=True):
            tile = frozenset(_shifted(box, base))
            if before is None:
                asked = tile
            else:
                # the outermost loop whose index differs is the one that stepped
                slowest = next(
                    i for i, (old, new) in enumerate(zip(before, indices, strict=True)) if old != new
                )
                stepped = len(outside) - 1 - slowest
                if self.window == "set_difference" or stepped == mover:
                    asked = tile - held
                elif mover is None or stepped < mover:
                    asked = frozenset()
                else:
                    asked = tile
            before, held = indices, tile
            if asked:
                yield asked

    def requests(self, child: int, parent: int) -> list[Point]:
        """Offsets of the children below one parent that are served apart.

        At every fan-out on the way, instances at equal offsets are one request.
        """
        served = [self.point()]
        for level in range(child + 1, parent + 1):
            here = set(self.points([step for step in self.loops if step.level == level and step.spatial]))
            served = [_sum(one, other) for one in served for other in sorted(here)]
        return served


def _sum(one: Point, other: Point) -> Point:
    (a, b, c, d, e), (f, g, h, i, j) = one, other
    return (a + f, b + g, c + h, d + i, e + j)


def _shifted(points: frozenset[Point], by: Point) -> Iterator[Point]:
    for point in points:
        yield _sum(point, by)


def _serve(walk: _Walk, child: int, parent: int) -> tuple[int, int, int]:
    """(reads, updates, first visits) of one instance of `parent` by its children.

    An output that a parent sees for the first time starts from zero; later its old partial sum is read.
    """
    reads = updates = 0
    seen: set[Point] = set()
    apart = walk.requests(child, parent)
    for asked in walk.fetches(child):
        for offset in apart:
            if walk.tensor != "outputs":
                reads += len(asked)
                continue
            for point in _shifted(asked, offset):
                updates += 1
                if point in seen:
                    reads += 1
                else:
                    seen.add(point)
    return reads, updates, len(seen)


def _fill(walk: _Walk, level: int) -> tuple[int, int]:
    """(fills, elements that leave again) of one instance of `level`."""
    fills = moved = 0
    seen: set[Point] = set()
    for asked in walk.fetches(level):
        moved += len(asked)
        fills += len(asked & seen) if walk.tensor == "outputs" else len(asked)
        seen |= asked
    return fills, moved
