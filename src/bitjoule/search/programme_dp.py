"""The integer programme by dynamic programming over energies in units of a quantum.

Terms are taken in order; a state says what the genes have chosen that a later term still reads (for a chain:
the width of one tensor; for a residual block also that of its shortcut), and best[state][e] is the least loss
of all choices so far that cost e units. One pass gives the whole front. Exact when all energies are multiples
of the quantum; otherwise every term is rounded to the nearest unit, and the greatest sum of those roundings
(at most terms * quantum / 2) is the error of an energy, which answers carry.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bitjoule.search.programme import PJ_PER_UJ, Answer, Budget, Programme, ProgrammeError, Term

__all__ = ["front_by_dp", "solve_by_dp"]

MOST_CELLS = 200_000_000
"""States times energy units of all terms together: 3 bytes each."""

RELATIVE = 1e-9
"""An energy so near to a multiple of the quantum is one."""

State = tuple[int, ...]


def solve_by_dp(
    programme: Programme, budget: Budget, *, minimise: Literal["loss", "energy"], quantum_pj: float | None
) -> Answer:
    """See `programme.solve`."""
    if budget.size_bits is not None or budget.latency_cycles is not None:
        raise ProgrammeError("solver dp follows energy and loss only; use solver milp for size and latency")
    started = time.monotonic()
    table = _Table(programme, quantum_pj, budget.energy_pj)
    found = None
    for units, loss in table.front():
        if budget.loss is not None and loss > budget.loss:
            continue
        answer = table.answer(units)
        if budget.energy_pj is None or answer.energy_pj <= budget.energy_pj * (1 + 1e-12):
            found = answer
            if minimise == "energy":
                break
    if found is None:
        raise ProgrammeError(_refusal(programme, budget, quantum_pj))
    return replace(found, seconds=time.monotonic() - started)


def front_by_dp(programme: Programme, quantum_pj: float) -> tuple[Answer, ...]:
    """Every non-dominated assignment, by rising energy; of equal ones one."""
    started = time.monotonic()
    table = _Table(programme, quantum_pj, None)
    found = [table.answer(units) for units, _ in table.front()]
    seconds = time.monotonic() - started
    return tuple(replace(answer, seconds=seconds) for answer in found)


def _refusal(programme: Programme, budget: Budget, quantum_pj: float | None) -> str:
    table = _Table(programme, quantum_pj, None)
    points = list(table.front())
    if not points:
        return "no assignment is allowed: every one has a combination of infinite energy"
    least = table.answer(points[0][0]).energy_pj
    if budget.energy_pj is not None and least > budget.energy_pj:
        asked = budget.energy_pj / PJ_PER_UJ
        return f"least energy is {least / PJ_PER_UJ:.3f} uJ, the budget asks for {asked:.3f} uJ"
    if budget.loss is not None and points[-1][1] > budget.loss:
        return f"least loss is {points[-1][1]:g}, the budget asks for {budget.loss:g}"
    return "no assignment meets the limits of energy and loss together: relax one of them"


@dataclass(frozen=True)
class _Step:
    """One term: genes open before and after it, and all moves from state to state.

    A move: state before, state after, units, loss, choices of the genes that the term brings in.
    """

    moves: tuple[tuple[State, State, int, float, Mapping[str, int]], ...]
    after: tuple[State, ...]


class _Table:
    """The filled table."""

    def __init__(self, programme: Programme, quantum_pj: float | None, limit_pj: float | None) -> None:
        if quantum_pj is None or not (math.isfinite(quantum_pj) and quantum_pj > 0):
            raise ProgrammeError(f"solver dp needs quantum_pj > 0, the energy of one unit, not {quantum_pj}")
        self.programme, self.quantum = programme, quantum_pj
        self.offset = math.fsum(
            [float(term.energy_pj) for term in programme.terms if not term.genes]
            + [programme.constant.get("energy_pj", 0.0)]
        )
        self.terms = [term for term in programme.terms if term.genes]
        self.error_pj = math.fsum(_misjudged(term, quantum_pj) for term in self.terms)
        most = math.fsum(float(np.max(_allowed(term), initial=0.0)) for term in self.terms)
        if limit_pj is not None:
            most = min(most, max(0.0, limit_pj - self.offset) + self.error_pj)
        self.units = math.floor(most / quantum_pj + len(self.terms) / 2 + RELATIVE) + 1
        self.steps = list(self._steps())
        cells = self.units * sum(len(step.after) for step in self.steps)
        if cells > MOST_CELLS:
            raise ProgrammeError(
                f"the dynamic programme needs {cells:,} cells, at most {MOST_CELLS:,} are allowed: "
                "use a greater quantum_pj, or solver milp"
            )
        self.back: list[dict[State, NDArray[np.uint16]]] = []
        self.best = self._fill()

    def front(self) -> Iterator[tuple[int, float]]:
        """(units, loss) of every cell that no cheaper one equals."""
        least = math.inf
        for units in np.flatnonzero(np.isfinite(self.best)):
            if self.best[units] < least:
                least = float(self.best[units])
                yield int(units), least + self._free_loss

    def answer(self, units: int) -> Answer:
        """The assignment behind a cell of the front."""
        chosen: dict[str, int] = {}
        state: State = ()
        left = units
        for step, back in zip(reversed(self.steps), reversed(self.back), strict=True):
            before, _, cost, _, choices = step.moves[int(back[state][left])]
            chosen |= choices
            state, left = before, left - cost
        assignment = {
            gene.name: gene.choices[chosen.get(gene.name, int(np.argmin(gene.loss)))]
            for gene in self.programme.genes
        }
        return self.programme.answer(assignment, solver="dp", proven=True, error_pj=self.error_pj)

    @property
    def _free_loss(self) -> float:
        """Loss of genes that no term reads: their least."""
        read = {name for term in self.terms for name in term.genes}
        return math.fsum(min(gene.loss) for gene in self.programme.genes if gene.name not in read)

    def _steps(self) -> Iterator[_Step]:
        last = {name: number for number, term in enumerate(self.terms) for name in term.genes}
        opened: tuple[str, ...] = ()
        states: tuple[State, ...] = ((),)
        for number, term in enumerate(self.terms):
            fresh = tuple(name for name in term.genes if name not in opened)
            known = (*opened, *fresh)
            opened_after = tuple(name for name in known if last[name] > number)
            keep = [known.index(name) for name in opened_after]
            place = [known.index(name) for name in term.genes]
            best: dict[tuple[State, State], list[tuple[int, float, State]]] = {}
            sizes = [range(len(self.programme.by_name[name].choices)) for name in fresh]
            losses = [self.programme.by_name[name].loss for name in fresh]
            for state in states:
                for new in product(*sizes):
                    both = (*state, *new)
                    energy = float(term.energy_pj[tuple(both[index] for index in place)])
                    if math.isinf(energy):
                        continue
                    units = round(energy / self.quantum)
                    loss = math.fsum(values[index] for values, index in zip(losses, new, strict=True))
                    after = tuple(both[index] for index in keep)
                    best.setdefault((state, after), []).append((units, loss, new))
            moves = []
            for (state, after), ways in best.items():
                least = math.inf
                for units, loss, new in sorted(ways):  # a dearer way must lose less
                    if loss < least:
                        least = loss
                        moves.append((state, after, units, loss, dict(zip(fresh, new, strict=True))))
            states = tuple(dict.fromkeys(move[1] for move in moves))
            if len(moves) > np.iinfo(np.uint16).max:
                raise ProgrammeError(
                    f"term {term.name!r} joins too many genes for solver dp ({len(moves):,} moves): "
                    "use solver milp"
                )
            opened = opened_after
            yield _Step(tuple(moves), states)

    def _fill(self) -> NDArray[np.float64]:
        start = np.full(self.units, np.inf)
        start[0] = 0.0
        current: dict[State, NDArray[np.float64]] = {(): start}
        for step in self.steps:
            made = {state: np.full(self.units, np.inf) for state in step.after}
            back = {state: np.zeros(self.units, np.uint16) for state in step.after}
            for number, (before, after, units, loss, _) in enumerate(step.moves):
                if units >= self.units:
                    continue
                candidate = current[before][: self.units - units] + loss
                target = made[after][units:]
                better = candidate < target
                np.copyto(target, candidate, where=better)
                back[after][units:][better] = number
            current = made
            self.back.append(back)
        return current.get((), np.full(self.units, np.inf))


def _allowed(term: Term) -> NDArray[np.float64]:
    finite: NDArray[np.float64] = term.energy_pj[np.isfinite(term.energy_pj)]
    return finite


def _misjudged(term: Term, quantum_pj: float) -> float:
    """The most by which rounding to units changes one energy of this term."""
    energies = _allowed(term)
    if not energies.size:
        return 0.0
    off = np.abs(energies - np.round(energies / quantum_pj) * quantum_pj)
    exact = off <= RELATIVE * np.maximum(energies, quantum_pj)
    return float(np.max(np.where(exact, 0.0, off)))
