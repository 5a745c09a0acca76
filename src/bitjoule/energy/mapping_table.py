"""The best mapping of a layer as a function of what lives on chip and of the room that remains.

E(m, free) of energy.md 5.1: m is the set of the layer's tensors that live in the residency level as a whole,
free the words that remain there for tiles of the others. free enters only through the capacity bound, so an
optimum that is found with much room and whose tiles are small is the optimum for every room down to what it
takes: a table of (asked, taken, mapping) needs few searches.

Outputs that live on chip are stored at their own width; what a mapping holds of them as partial sums at a
time is wider, and the difference is taken from the free words. A mapping that has no room for it gives way
to the best of three: the optimum with as much room set aside as its sums take, the same among mappings that
sum up below the level, so that no partial sum comes there, and among those that finish their sums at the
level one after another [assumed: the optimum of all that fit would need a search of its own].
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Protocol

from bitjoule.mapping.accelerator import Accelerator
from bitjoule.mapping.counts import packing_of
from bitjoule.mapping.evaluate import Evaluation, Mode
from bitjoule.mapping.infeasible import InfeasibleMapping
from bitjoule.mapping.nest import Mapping
from bitjoule.mapping.packing import words
from bitjoule.mapping.problem import DIMS, REDUCED, RELEVANT, Problem

__all__ = ["LayerSolver", "MappingTable", "PlacedMapping", "Solved", "partial_elements"]

REDUCTION_FIRST = ("R", "S", "C")
"""Reduction loops, innermost first, of a level that finishes its sums."""


class Solved(Protocol):
    """What a mapper returns: the mapping, its cost, and whether it is proven the best."""

    @property
    def mapping(self) -> Mapping:
        """The loop nest."""
        ...

    @property
    def evaluation(self) -> Evaluation:
        """Its cost."""
        ...

    @property
    def optimal(self) -> bool:
        """Is no mapping of the map space better?"""
        ...


class LayerSolver(Protocol):
    """A mapper of least energy; it raises InfeasibleMapping when nothing fits."""

    def __call__(self, problem: Problem, accelerator: Accelerator, *, mode: Mode) -> Solved:
        """The best mapping of `problem` on `accelerator`."""
        ...


@dataclass(frozen=True)
class PlacedMapping:
    """A solved mapping, the accelerator it is for, and the words of the residency level that it takes.

    `bound_pj`: no mapping of this layer in this room costs less; below `energy_pj` only where partial sums of
    a resident output had no room in the unconstrained optimum (`constrained`).
    """

    solved: Solved
    accelerator: Accelerator
    taken_words: int
    bound_pj: float
    constrained: bool = False

    @property
    def energy_pj(self) -> float:
        """Energy of the mapping."""
        return self.solved.evaluation.energy_pj


@dataclass
class MappingTable:
    """Solved mappings of one problem; `home` is the residency level, None without one."""

    problem: Problem
    accelerator: Accelerator
    home: str | None
    mode: Mode
    solver: LayerSolver
    searches: int = 0
    _known: dict[tuple[str, ...], list[tuple[float, PlacedMapping | None]]] = field(default_factory=dict)

    def at(self, resident: tuple[str, ...], free_words: int | None) -> PlacedMapping | None:
        """The best mapping with these tensors on chip and this room (None: unlimited); None: none fits."""
        free = math.inf if free_words is None else free_words
        entries = self._known.setdefault(resident, [])
        fitting = [entry for _, entry in entries if entry is not None and entry.taken_words <= free]
        if any(asked >= free and (entry is None or entry.taken_words <= free) for asked, entry in entries):
            return min(fitting, key=lambda entry: entry.energy_pj, default=None)
        entry = self._solve(resident, free_words)
        entries.append((free, entry))
        return entry

    def bound(
        self, resident: tuple[str, ...], free_words: int | None, most_words: int | None
    ) -> tuple[PlacedMapping | None, bool]:
        """The best mapping known for at least this room, and whether it fits into it.

        Asks for `most_words`, the greatest room, when nothing is known. Its energy is a lower bound.
        """
        free = math.inf if free_words is None else free_words
        self.at(resident, most_words)
        roomier = [known for known in self._known[resident] if known[0] >= free]
        if not roomier or any(entry is None or entry.taken_words <= free for _, entry in roomier):
            return self.at(resident, free_words), True
        return min(roomier, key=lambda known: known[0])[1], False

    def bounds(self, resident: tuple[str, ...], most_words: int) -> list[tuple[int, PlacedMapping]]:
        """(words from which `bound` answers with it, mapping), the greatest room first, up to `most_words`.

        Lower bounds as far as they are known; every answer of `at` refines them.
        """
        self.at(resident, most_words)
        known = sorted(self._known[resident], key=lambda entry: -entry[0])
        found: list[tuple[int, PlacedMapping]] = []
        for place, (asked, entry) in enumerate(known):
            below = known[place + 1][0] if place + 1 < len(known) else -1
            if entry is not None and below < min(asked, most_words):
                found.append((int(below) + 1, entry))
        return found

    def _solve(self, resident: tuple[str, ...], free_words: int | None) -> PlacedMapping | None:
        if self.home is None:
            return self._searched(self.accelerator)
        hardware = self.accelerator.resident(self.home, resident, free_words)
        best = self._searched(hardware)
        if best is None or free_words is None or best.taken_words <= free_words:
            return best
        spaces = (hardware, _summed_below(hardware, self.home), _summed_at_once(hardware, self.home))
        found = [self._with_room_for_sums(space, self.home, free_words) for space in spaces]
        fitting = [entry for entry in found if entry is not None]
        if not fitting:
            return None
        cheapest = min(fitting, key=lambda entry: entry.energy_pj)
        return replace(cheapest, bound_pj=best.bound_pj, constrained=True)

    def _with_room_for_sums(self, space: Accelerator, home: str, free_words: int) -> PlacedMapping | None:
        """The optimum of a map space with so much of the room set aside that its partial sums fit."""
        room = free_words
        while room >= 0:
            levels = tuple(
                replace(level, words=room) if level.name == home else level for level in space.levels
            )
            entry = self._searched(replace(space, levels=levels))
            if entry is None or entry.taken_words <= free_words:
                return entry
            room -= entry.taken_words - free_words
        return None

    def _searched(self, hardware: Accelerator) -> PlacedMapping | None:
        self.searches += 1
        try:
            solved = self.solver(self.problem, hardware, mode=self.mode)
        except InfeasibleMapping:
            return None
        return PlacedMapping(solved, hardware, self._taken(solved, hardware), solved.evaluation.energy_pj)

    def _taken(self, solved: Solved, hardware: Accelerator) -> int:
        """Words of the residency level that tiles and widened partial sums take."""
        if self.home is None:
            return 0
        level = hardware.level(self.home)
        cost = next(entry for entry in solved.evaluation.levels if entry.name == self.home)
        tiles = sum(tensor.tile_words for tensor in cost.tensors if tensor.tensor not in level.holds)
        partial = any(tensor.tensor == "outputs" and tensor.partial for tensor in cost.tensors)
        if "outputs" not in level.holds or not partial:
            return tiles
        index = [entry.name for entry in hardware.levels].index(self.home)
        return tiles + self._widening(partial_elements(self.problem, solved.mapping, index))

    def _widening(self, elements: int) -> int:
        """Words that partial sums take more than results do."""
        if self.mode != "physical" or self.home is None:
            return 0
        word_bits = self.accelerator.level(self.home).word_bits
        packing = packing_of(self.accelerator, self.mode)
        wide = words(elements, self.problem.psum_bits, word_bits, packing)
        return max(0, wide - words(elements, self.problem.output_bits, word_bits, packing))


def partial_elements(problem: Problem, mapping: Mapping, home: int) -> int:
    """Outputs that are partial sums at a time in level `home`, when they live there as a whole.

    These are the outputs that the loops inside the outermost reduction loop at that level or outside touch.
    """
    inside = dict.fromkeys(DIMS, 1)
    partial = 0
    for index, nest in enumerate(mapping.levels):
        for dim, bound in nest.spatial:
            inside[dim] *= bound
        for dim, bound in nest.temporal:
            if index >= home and dim in REDUCED and bound > 1:
                partial = math.prod(inside[relevant] for relevant in RELEVANT["outputs"])
            inside[dim] *= bound
    return partial


def _summed_below(hardware: Accelerator, home: str) -> Accelerator:
    """No reduction loop in time at the level or outside."""
    index = [level.name for level in hardware.levels].index(home)
    return _without_reduction(hardware, index)


def _summed_at_once(hardware: Accelerator, home: str) -> Accelerator:
    """No reduction loop in time outside the level, and those at the level innermost."""
    index = [level.name for level in hardware.levels].index(home)
    level = hardware.levels[index]
    order = (*REDUCTION_FIRST, *(dim for dim in level.temporal_order if dim not in REDUCED))
    inside = (*hardware.levels[:index], replace(level, temporal_order=order))
    outside = _without_reduction(hardware, index + 1).levels[index + 1 :]
    return replace(hardware, levels=(*inside, *outside))


def _without_reduction(hardware: Accelerator, first: int) -> Accelerator:
    """No reduction loop in time from level `first` outwards."""
    outside = [
        replace(level, temporal_dims=tuple(dim for dim in level.temporal_dims if dim not in REDUCED))
        for level in hardware.levels[first:]
    ]
    return replace(hardware, levels=(*hardware.levels[:first], *outside))
