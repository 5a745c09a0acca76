"""Every mapping of a small problem: the oracle of the mapper.

All factorisations, all permutations of the loops of a level and all keep sets that an Accelerator permits
(mapping.md 4.1) are written out; nothing is pruned but what does not fit. Mappings of the same factorisation
and keep set whose tensors move the same number of elements everywhere (E2) have equal Evaluations, so only
the first of them is evaluated. The E2 here is written a second time, from the text of the specification.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

from bitjoule.mapping.accelerator import Accelerator, StorageLevel
from bitjoule.mapping.evaluate import Mode, evaluate
from bitjoule.mapping.nest import LevelNest, Loop, Mapping
from bitjoule.mapping.problem import DIMS, TENSORS, Problem

__all__ = ["Found", "Optima", "Space", "factorisations", "keep_sets", "optima", "orders"]

Factors = tuple[tuple[int, int, int], ...]
"""Per level (temporal, x, y) factor of one dimension."""


@dataclass(frozen=True)
class Found:
    """One mapping with its two figures."""

    energy_pj: float
    cycles: int
    mapping: Mapping


@dataclass(frozen=True)
class Optima:
    """Non-dominated (energy, cycles), sorted by energy; the mappings that fit, and all there are."""

    pareto: tuple[Found, ...]
    valid: int
    total: int

    @property
    def energy(self) -> Found:
        """Least energy, then cycles."""
        return self.pareto[0]

    @property
    def latency(self) -> Found:
        """Least cycles, then energy."""
        return self.pareto[-1]

    @property
    def edp(self) -> Found:
        """Least energy * cycles."""
        return min(self.pareto, key=lambda found: found.energy_pj * found.cycles)

    def capped(self, cycles: int) -> Found | None:
        """Least energy within `cycles`."""
        return next((found for found in self.pareto if found.cycles <= cycles), None)


def divisors(number: int) -> list[int]:
    """All divisors, ascending."""
    return [n for n in range(1, number + 1) if number % n == 0]


def may_be(level: StorageLevel, dim: str, temporal: int, x: int, y: int) -> bool:
    """Does the level alone permit these factors of `dim`?"""
    if temporal > 1 and (dim not in level.temporal_dims or not (level.keeps or level.holds)):
        return False
    if (x > 1 and dim not in level.x.dims) or (y > 1 and dim not in level.y.dims):
        return False
    if x > level.x.size or y > level.y.size or temporal > dict(level.max_temporal).get(dim, temporal):
        return False
    return (
        dict(level.fixed_temporal).get(dim, temporal) == temporal
        and dict(level.fixed_spatial).get(dim, x * y) == x * y
    )


def splits(levels: tuple[StorageLevel, ...], dim: str, bound: int) -> list[Factors]:
    """All ways to spread `bound` over the levels."""
    if not levels:
        return [()] if bound == 1 else []
    found = []
    for temporal in divisors(bound):
        for x in divisors(bound // temporal):
            for y in divisors(bound // temporal // x):
                if may_be(levels[0], dim, temporal, x, y):
                    rest = splits(levels[1:], dim, bound // (temporal * x * y))
                    found += [((temporal, x, y), *more) for more in rest]
    return found


def factorisations(problem: Problem, accelerator: Accelerator) -> Iterator[tuple[Factors, ...]]:
    """Factors per dimension and level, with fan-outs and MAC units respected."""
    levels = accelerator.levels
    each = [splits(levels, dim, bound) for dim, bound in zip(DIMS, problem.bounds, strict=True)]
    for chosen in itertools.product(*each):
        x = [math.prod(dim[l][1] for dim in chosen) for l in range(len(levels))]
        y = [math.prod(dim[l][2] for dim in chosen) for l in range(len(levels))]
        fits = all(a <= level.x.size and b <= level.y.size for a, b, level in zip(x, y, levels, strict=True))
        if fits and math.prod(x) * math.prod(y) <= accelerator.mac_count:
            yield chosen


def orders(level: StorageLevel, loops: tuple[Loop, ...]) -> list[tuple[Loop, ...]]:
    """All permitted permutations of a level's loops, innermost first."""
    bound = dict(loops)
    listed = tuple((dim, bound[dim]) for dim in level.temporal_order if dim in bound)
    free = tuple(loop for loop in loops if loop not in listed)
    return [(*listed, *rest) for rest in itertools.permutations(free)]


def keep_sets(accelerator: Accelerator) -> list[tuple[tuple[str, ...], ...]]:
    """Kept tensors per level; the outermost level keeps all it can."""
    choices = []
    for index, level in enumerate(accelerator.levels):
        outermost = index == len(accelerator.levels) - 1
        free = [tensor for tensor in level.keeps if tensor in level.bypass_allowed and not outermost]
        subsets = itertools.chain.from_iterable(itertools.combinations(free, n) for n in range(len(free) + 1))
        choices.append([tuple(t for t in level.keeps if t not in left_out) for left_out in subsets])
    return list(itertools.product(*choices))


def words(count: int, bits: int | None, word_bits: int, packing: str) -> int:
    """Words of `count` elements."""
    if bits is None:
        return count
    if packing == "dense":
        return -(-count * bits // word_bits)
    if bits > word_bits:
        return count * -(-bits // word_bits)
    return -(-count // (word_bits // bits))


@dataclass(frozen=True)
class Space:
    """One factorisation of one problem: loops per level and the tiles they leave."""

    problem: Problem
    accelerator: Accelerator
    chosen: tuple[Factors, ...]

    def loops(self, level: int, kind: int) -> tuple[Loop, ...]:
        """Loops > 1 of a level: kind 0 temporal, 1 on x, 2 on y."""
        return tuple(
            (dim, factors[level][kind])
            for dim, factors in zip(DIMS, self.chosen, strict=True)
            if factors[level][kind] > 1
        )

    def inside(self, level: int) -> tuple[int, ...]:
        """Iterations per dimension at levels <= `level`, spatial included."""
        return tuple(math.prod(t * x * y for t, x, y in factors[: level + 1]) for factors in self.chosen)

    def may_fit(self, keeps: tuple[tuple[str, ...], ...]) -> bool:
        """Do the tiles fit if no output were a partial sum?"""
        problem = self.problem
        bits = dict(zip(TENSORS, (problem.weight_bits, problem.input_bits, problem.output_bits), strict=True))
        for index, level in enumerate(self.accelerator.levels):
            if level.words is None:
                continue
            tile = self.inside(index)
            need = sum(
                words(problem.elements(t, tile), bits[t], level.word_bits, self.accelerator.packing)
                for t in keeps[index]
                if t not in level.holds
            )
            if need > level.words:
                return False
        return True

    def moved(self, tensor: str, child: int, temporal: tuple[tuple[Loop, ...], ...]) -> int:
        """E2: elements that go into one instance of level `child` (-1: the MAC), over the whole run."""
        if child < 0:
            return math.prod(bound for level in temporal for _, bound in level)
        tile = self.inside(child)
        step = dict(zip(DIMS, tile, strict=True))
        extents = self.problem.extents(tensor, tile)
        whole, factor, mover = math.prod(extents), 1, False
        for index in range(child + 1, len(temporal)):
            for dim, _, bound in [(d, 0, b) for kind in (1, 2) for d, b in self.loops(index, kind)]:
                step[dim] *= bound
            for dim, bound in temporal[index]:
                shifts = self.shifts(tensor, dim, step[dim])
                step[dim] *= bound
                if mover:
                    factor *= bound
                elif any(shifts):
                    stays = math.prod(max(0, e - s) for e, s in zip(extents, shifts, strict=True))
                    whole, mover = whole + (bound - 1) * (whole - stays), True
        return whole * factor

    def shifts(self, tensor: str, dim: str, step: int) -> tuple[int, ...]:
        """How far a tensor's axes move when a loop of `dim` with this step advances."""
        at = {d: (step if d == dim else 0) for d in DIMS}
        if tensor == "weights":
            return (at["G"], at["K"], at["C"], at["R"], at["S"])
        if tensor == "outputs":
            return (at["N"], at["G"], at["K"], at["P"], at["Q"])
        rows = self.problem.stride[0] * at["P"] + self.problem.dilation[0] * at["R"]
        columns = self.problem.stride[1] * at["Q"] + self.problem.dilation[1] * at["S"]
        return (at["N"], at["G"], at["C"], rows, columns)

    def mapping(self, keeps: tuple[tuple[str, ...], ...], temporal: tuple[tuple[Loop, ...], ...]) -> Mapping:
        """The nest of these choices."""
        return Mapping(
            tuple(
                LevelNest(level.name, keeps[i], temporal[i], self.loops(i, 1), self.loops(i, 2))
                for i, level in enumerate(self.accelerator.levels)
            )
        )


def optima(problem: Problem, accelerator: Accelerator, mode: Mode = "physical") -> Optima | None:
    """The non-dominated mappings of the whole map space; None where no mapping is valid."""
    figures: dict[tuple[float, int], Mapping] = {}
    valid = total = 0
    keeping = keep_sets(accelerator)
    for chosen in factorisations(problem, accelerator):
        space = Space(problem, accelerator, chosen)
        each = [orders(level, space.loops(i, 0)) for i, level in enumerate(accelerator.levels)]
        nests = list(itertools.product(*each))
        total += len(nests) * len(keeping)
        fitting = [keeps for keeps in keeping if space.may_fit(keeps)]
        children = range(-1, len(accelerator.levels) - 1)
        groups: dict[tuple[int, ...], list[tuple[tuple[Loop, ...], ...]]] = {}
        for temporal in nests if fitting else []:
            key = tuple(space.moved(t, child, temporal) for t in TENSORS for child in children)
            groups.setdefault(key, []).append(temporal)
        for keeps in fitting:
            seen: dict[tuple[int, ...], tuple[float, int] | None] = {}
            for key, members in groups.items():
                used = tuple(
                    n
                    for n, (t, child) in zip(key, itertools.product(TENSORS, children), strict=True)
                    if child < 0 or t in keeps[child]
                )
                if used not in seen:
                    mapping = space.mapping(keeps, members[0])
                    result = evaluate(problem, mapping, accelerator, mode=mode)
                    seen[used] = None
                    if not result.violations:
                        seen[used] = (result.energy_pj, result.latency_cycles)
                        figures.setdefault((result.energy_pj, result.latency_cycles), mapping)
                valid += len(members) * (seen[used] is not None)
    front: list[Found] = []
    for energy, cycles in sorted(figures):
        if not front or cycles < front[-1].cycles:
            front.append(Found(energy, cycles, figures[energy, cycles]))
    return Optima(tuple(front), valid, total) if front else None
