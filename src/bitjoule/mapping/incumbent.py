"""Candidates and the incumbent: which assignments are searched, in which order, and when it is enough.

A candidate is a keep set with a spatial assignment. Each is bounded from below by what its MAC units must
fetch, by compulsory traffic and by the traffic of the outermost buffer; candidates are searched in
ascending order of that bound until the least open bound reaches the best nest found, the incumbent
(mapping.md 4.3).
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bitjoule.mapping.accelerator import Accelerator
from bitjoule.mapping.evaluate import Mode, evaluate
from bitjoule.mapping.frames import Constants, constants_of, frame_of, lattice_of, spread_of, stages_of
from bitjoule.mapping.kernel_bounds import compulsory_bound, open_bound
from bitjoule.mapping.kernel_frame import Frame, Spread
from bitjoule.mapping.kernel_goal import EDP, ENERGY, LATENCY, Goal, cannot_win, improved
from bitjoule.mapping.kernel_lattice import Lattice, Stages, outer_table
from bitjoule.mapping.kernel_search import search_spread
from bitjoule.mapping.kernel_step import start
from bitjoule.mapping.nest import LevelNest, Loop, Mapping
from bitjoule.mapping.problem import DIMS, Problem
from bitjoule.mapping.result import MappingResult, Objective, objective_value
from bitjoule.mapping.space import SpatialAssignment, divisors, keep_sets

__all__ = ["Candidate", "Incumbent"]

_CODES = {"energy": ENERGY, "edp": EDP, "latency": LATENCY}

TOLERANCE = 1e-9
"""Relative difference between the energies of kernel and reference that is taken as rounding."""

BEAM, SCAN, FIRST = 24, 48, 6
"""Labels per stage and tiles per label of the first, incomplete search, and how many assignments it tries."""

BATCH = 4
"""Assignments that are searched against one incumbent, side by side when there are workers."""

EASY = 2000
"""Nests extended by a level after which the better, slower bounds are worth their time."""

STEPS_PER_S = 300_000
"""Nests extended by a level in a second, about; it turns a time limit into a limit of work."""

HARD = 8
"""Batches that start with the better bounds after one that needed them."""

MAX_LABELS = 4_000_000
"""Labels of one spatial assignment before its search is given up (about 1 GB); the result is then not
proven."""


@dataclass
class Candidate:
    """One keep set and spatial assignment with the least that it can cost."""

    frame: Frame
    keeps: tuple[tuple[str, ...], ...]
    entry: SpatialAssignment
    problem: Problem
    spread: Spread
    constants: Constants
    shared: NDArray[np.float64]
    place: NDArray[np.int64]
    bound: float
    done: bool = False


class _Outcome(NamedTuple):
    """What `search_spread` returns."""

    found: bool
    energy: float
    cycles: int
    nodes: NDArray[np.int64]
    orders: NDArray[np.int64]
    root: float
    counters: NDArray[np.int64]
    hard: bool = False


@lru_cache(maxsize=64)
def _lattice(bounds: tuple[int, ...]) -> Lattice:
    return lattice_of(bounds)


def _places(whole: Lattice, spread: Spread) -> NDArray[np.int64]:
    """What each divisor of the temporal bounds adds to the index of its whole extent in `whole`."""
    unrolled = spread.inner[-1]
    lists = [divisors(int(bound)) for bound in spread.bounds]
    place = np.zeros((8, max(map(len, lists))), np.int64)
    for d, entries in enumerate(lists):
        known = whole.divisor[d, : whole.count[d]]
        place[d, : len(entries)] = np.searchsorted(known, np.array(entries) * unrolled[d]) * whole.radix[d]
    return place


class Incumbent:
    """The incumbent and the counters of one search."""

    def __init__(self, accelerator: Accelerator, mode: Mode, objective: Objective, cap: int | None) -> None:
        self.accelerator = accelerator
        self.mode: Mode = mode
        goal = Goal(_CODES[objective], cap or -1, 0, 0.0, 0.0, math.inf, 2**62)
        self.objective: Objective = objective
        self.goal = goal
        self.stages: Stages = stages_of(accelerator)
        limits = any(
            (level.read_words_per_cycle, level.write_words_per_cycle) != (None, None)
            for level in accelerator.levels
        )
        # cycles are part of every objective: at equal energy the fewest are asked for
        self.limited = limits
        self.best: tuple[Candidate, NDArray[np.int64], NDArray[np.int64]] | None = None
        self.hard = 0
        self.evaluated = self.bounded = self.dominated = self.skipped = self.too_large = 0

    def candidates(self, problem: Problem, assignments: Iterable[SpatialAssignment]) -> Iterator[Candidate]:
        """Every keep set with every spatial assignment, bounded by what the MAC units must fetch."""
        nothing = np.zeros(0, np.int64)
        ones = np.ones(8, np.int64)
        whole = _lattice(problem.bounds)
        spreads = [(entry, spread_of(problem, self.accelerator, entry)) for entry in assignments]
        for keeps in keep_sets(self.accelerator):
            frame = frame_of(problem, self.accelerator, keeps, self.mode, limited=self.limited)
            count = frame.child.shape[0]
            table, least = self._outer_table(problem, frame, whole)
            for entry, spread in spreads:
                constants = constants_of(problem, self.accelerator, frame, spread)
                place = _places(whole, spread) if table.size else np.zeros((8, 1), np.int64)
                fills, wide, state = (np.zeros(count, np.int64) for _ in range(3))
                start(frame, spread, fills, wide, state)
                energy = open_bound(frame, spread, -1, ones, fills, wide, state, constants.partial, nothing)
                inside = int(self.stages.first[-2]) if table.size else len(keeps)
                energy += compulsory_bound(frame, spread, inside, constants.partial, nothing)
                if table.size:
                    energy += float(least[place[:, 0].sum()])
                    if energy == math.inf:
                        self.skipped += 1
                        continue
                value = self._value(constants, energy)
                yield Candidate(frame, keeps, entry, problem, spread, constants, table, place, value)

    def _outer_table(
        self, problem: Problem, frame: Frame, whole: Lattice
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Bounds of the last stage but one, shared by all assignments when no fan-out lies outside it."""
        stage = self.stages.first.size - 2
        levels = self.accelerator.levels
        if stage < 0 or any(level.fanout > 1 for level in levels[self.stages.first[stage] + 1 :]):
            return np.zeros(0), np.zeros(0)
        nothing_unrolled = SpatialAssignment(*((((1,) * 8,) * len(levels),) * 3))
        spread = spread_of(problem, self.accelerator, nothing_unrolled)
        table, least = outer_table(frame, spread, self.stages, stage, whole, 0)
        return table, least

    def _value(self, constants: Constants, energy: float) -> float:
        total = energy + constants.mac_pj + constants.leak_pj * constants.cycles
        if self.goal.objective == LATENCY:
            return float(constants.cycles)
        return total * constants.cycles if self.goal.objective == EDP else total

    def run(self, candidates: list[Candidate], deadline: float, workers: int) -> None:
        """Search candidates in ascending order of bound until none can be better, or time is up.

        A batch is searched against the incumbent it began with and merged in order, so that the result does
        not depend on `workers`.
        """
        for candidate in candidates[:FIRST]:
            self._merge(candidate, self._search(candidate, BEAM, SCAN, 0), complete=False)
        with ThreadPoolExecutor(max_workers=workers) as pool:
            waiting = iter(candidates)
            while time.perf_counter() <= deadline:
                batch = []
                for candidate in waiting:
                    if self._hopeless(candidate):
                        candidate.done = True
                        self.skipped += 1
                        continue
                    batch.append(candidate)
                    if len(batch) == BATCH:
                        break
                if not batch:
                    break
                left = max(0.0, deadline - time.perf_counter())
                steps = 0 if left == math.inf else EASY + int(left * STEPS_PER_S)
                search = partial(self._search, beam=0, scan=0, most_steps=steps)
                found = pool.map(search, batch) if workers > 1 else map(search, batch)
                outcomes = list(found)
                for candidate, outcome in zip(batch, outcomes, strict=True):
                    self._merge(candidate, outcome, complete=True)
                if self.hard:
                    self.hard -= 1
                elif any(outcome.hard for outcome in outcomes):
                    self.hard = HARD

    def _goal(self, constants: Constants) -> Goal:
        return self.goal._replace(
            cycles=constants.cycles, leak_pj=constants.leak_pj, constant_pj=constants.mac_pj
        )

    def _hopeless(self, candidate: Candidate) -> bool:
        """Can the candidate not beat the incumbent, by its bound alone?"""
        constants = candidate.constants
        energy = self._energy(candidate, candidate.bound, constants)
        return bool(cannot_win(self._goal(constants), energy, constants.cycles))

    def _search(self, candidate: Candidate, beam: int, scan: int, most_steps: int) -> _Outcome:
        """The best nest of one candidate, completely when `beam`, `scan` and `most_steps` are 0."""

        def run(max_steps: int, thorough: bool) -> _Outcome:
            return _Outcome(
                *search_spread(
                    candidate.frame,
                    candidate.spread,
                    self.stages,
                    _lattice(tuple(int(b) for b in candidate.spread.bounds)),
                    self._goal(candidate.constants),
                    candidate.constants.partial,
                    candidate.shared,
                    candidate.place,
                    beam,
                    scan,
                    MAX_LABELS,
                    max_steps,
                    thorough,
                )
            )

        if beam:
            return run(0, False)
        if not self.hard:
            outcome = run(EASY, False)
            if not outcome.counters[-1]:
                return outcome
        return run(most_steps, True)._replace(hard=True)

    def _merge(self, candidate: Candidate, outcome: _Outcome, *, complete: bool) -> None:
        """Count what was done, and take a better nest as the incumbent."""
        _, bounded, dominated, evaluated, too_large, stopped = (int(n) for n in outcome.counters)
        self.too_large += too_large
        self.bounded += bounded
        self.dominated += dominated
        self.evaluated += evaluated
        goal = self._goal(candidate.constants)
        if outcome.found and not cannot_win(goal, outcome.energy, outcome.cycles):
            better = improved(goal, outcome.energy, outcome.cycles)
            self.goal = self.goal._replace(value=float(better.value), value_cycles=int(better.value_cycles))
            self.best = (candidate, outcome.nodes, outcome.orders)
        if complete:
            candidate.done = not stopped
            if stopped and math.isfinite(outcome.root):
                candidate.bound = max(candidate.bound, self._value(candidate.constants, outcome.root))

    def _energy(self, candidate: Candidate, bound: float, constants: Constants) -> float:
        """The path energy behind a bound."""
        if self.goal.objective == LATENCY:
            return 0.0
        total = bound / constants.cycles if self.goal.objective == EDP else bound
        return total - constants.mac_pj - constants.leak_pj * constants.cycles

    def result(
        self, problem: Problem, candidates: list[Candidate], size: int, seconds: float
    ) -> MappingResult:
        """The incumbent with its certificate."""
        assert self.best is not None
        candidate, nodes, orders = self.best
        mapping = self._mapping(candidate, nodes, orders)
        evaluation = evaluate(candidate.problem, mapping, self.accelerator, mode=self.mode)
        objective = self.objective
        energy, cycles = evaluation.energy_pj, evaluation.latency_cycles
        value = objective_value(objective, energy, cycles)
        priced = value if objective == "edp" else energy
        same = math.isclose(priced, self.goal.value, rel_tol=TOLERANCE) and cycles == self.goal.value_cycles
        if evaluation.violations or not same:
            raise AssertionError(
                f"layer {problem.name!r}: the search priced its mapping {self.goal.value} at "
                f"{self.goal.value_cycles} cycles, the reference {priced} at {cycles} "
                f"({'; '.join(evaluation.violations) or 'valid'}); please report this"
            )
        waiting = [entry.bound for entry in candidates if not entry.done]
        bound = min([value, *waiting])
        # at the least latency another candidate of as few cycles may still take less energy
        proven = not waiting or (bound >= value if objective != "latency" else min(waiting) > value)
        return MappingResult(
            problem=candidate.problem,
            mapping=mapping,
            evaluation=evaluation,
            energy_pj=evaluation.energy_pj,
            latency_cycles=evaluation.latency_cycles,
            optimal=proven,
            bound=bound,
            gap=(value - bound) / bound if bound else 0.0,
            objective=objective,
            evaluated=self.evaluated,
            pruned={
                "bound": self.bounded,
                "dominated": self.dominated,
                "assignments": self.skipped,
                "capacity": self.too_large,
            },
            space_size=size,
            seconds=seconds,
            padding_macs=candidate.problem.macs - problem.macs,
        )

    def _mapping(self, candidate: Candidate, nodes: NDArray[np.int64], orders: NDArray[np.int64]) -> Mapping:
        """The Mapping of a path through the lattice."""
        lattice = _lattice(tuple(int(b) for b in candidate.spread.bounds))
        loops: dict[int, tuple[Loop, ...]] = {}
        before = np.ones(8, np.int64)
        for stage, level in enumerate(self.stages.first):
            after = lattice.tile[nodes[stage]]
            order = [(int(orders[stage]) >> (3 * place)) & 7 for place in range(8)]
            loops[int(level)] = tuple(
                (DIMS[d], int(after[d] // before[d])) for d in order if after[d] > before[d]
            )
            before = after
        return Mapping(
            tuple(
                LevelNest(
                    level.name,
                    candidate.keeps[index],
                    loops.get(index, ()),
                    tuple((DIMS[d], n) for d, n in enumerate(candidate.entry.x[index]) if n > 1),
                    tuple((DIMS[d], n) for d, n in enumerate(candidate.entry.y[index]) if n > 1),
                )
                for index, level in enumerate(self.accelerator.levels)
            )
        )
