"""The integer programme as HiGHS takes it: variables, equations, limits, one call of the solver.

x[g,c] is 1 where gene g takes choice c; u[t,...] is 1 where term t has that combination. sum_c x[g,c] = 1,
and for every gene g of term t and choice c the u with c there sum to x[g,c]. With x binary these force u to
be one combination, so u needs no integrality (search.md section 3.4: z and y there are the x of weights and
of tensors). Terms of one gene need no u. HiGHS stops within an absolute gap of 1e-6 and meets rows within
1e-6, so objectives are scaled to 1,000 and rows to 1 (to more, and HiGHS loses answers that fill a row), and
every answer is evaluated exactly afterwards.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array

from bitjoule.search.programme import RESOURCES, Budget, Programme, ProgrammeError, Resource, Term
from bitjoule.search.solver_output import quiet_stdout

__all__ = ["MOST_CUTS", "Found", "Goal", "MilpModel"]

OBJECTIVE_SCALE = 1e3
ROW_SCALE = 1.0
"""Greatest coefficient of objectives and of budget rows."""

ROUNDING = 1e-12
"""Relative rounding of sums."""

MOST_CUTS = 64
"""Assignments cut off one by one because they exceed a limit by less than the solver sees."""

Goal = Resource | Literal["loss"]
GOALS: tuple[Goal, ...] = ("loss", *RESOURCES)
Floats = NDArray[np.float64]
TIME_LIMIT = 1
INFEASIBLE = 2


@dataclass(frozen=True)
class _Limit:
    """An upper limit: what every variable adds, and the room without what no gene moves."""

    name: Goal
    limit: float
    values: Floats
    room: float

    def row(self, upper: Floats) -> tuple[Floats, float]:
        """Scaled coefficients of the variables that may be used, and their bound."""
        kept = np.where(upper > 0, self.values, 0.0)
        top = float(kept.max())
        scale = ROW_SCALE / top if top > 0 else 1.0
        return kept * scale, self.room * scale


@dataclass(frozen=True)
class Found:
    """What one call of HiGHS brought: an assignment or None, whether it is proven, its relative gap."""

    assignment: dict[str, str] | None
    proven: bool
    gap: float


class MilpModel:
    """Variables and equations of a programme, built once; objectives and budgets change."""

    def __init__(self, programme: Programme) -> None:
        self.programme = programme
        self.start: dict[str, int] = {}
        count = 0
        for gene in programme.genes:
            self.start[gene.name] = count
            count += len(gene.choices)
        self.binaries = count
        self.joint: list[tuple[Term, int]] = []
        for term in programme.terms:
            if len(term.genes) > 1:
                self.joint.append((term, count))
                count += term.energy_pj.size
        self.count = count

    @cached_property
    def equations(self) -> LinearConstraint:
        """One choice per gene; combinations of a term sum to the choices."""
        rows: list[NDArray[np.int64]] = []
        columns: list[NDArray[np.int64]] = []
        values: list[Floats] = []
        right: list[float] = []
        for gene in self.programme.genes:
            size = len(gene.choices)
            rows.append(np.full(size, len(right)))
            columns.append(self.start[gene.name] + np.arange(size))
            values.append(np.ones(size))
            right.append(1.0)
        for term, start in self.joint:
            index = np.arange(term.energy_pj.size).reshape(term.energy_pj.shape)
            for axis, name in enumerate(term.genes):
                for choice in range(term.energy_pj.shape[axis]):
                    members = np.take(index, choice, axis=axis).ravel() + start
                    rows.append(np.full(members.size + 1, len(right)))
                    columns.append(np.append(members, self.start[name] + choice))
                    values.append(np.append(np.ones(members.size), -1.0))
                    right.append(0.0)
        matrix = csr_array(
            (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))),
            shape=(len(right), self.count),
        )
        return LinearConstraint(matrix, np.array(right), np.array(right))

    @cached_property
    def upper(self) -> Floats:
        """0 for what is not allowed."""
        bounds = np.ones(self.count)
        for term, start in self.joint:
            bounds[start : start + term.energy_pj.size] = np.isfinite(term.energy_pj).ravel()
        for term in self.programme.terms:
            if len(term.genes) == 1:
                place = self.start[term.genes[0]]
                allowed = np.isfinite(term.energy_pj)
                bounds[place : place + allowed.size] *= allowed
        return bounds

    def coefficients(self, goal: Goal) -> Floats:
        """What every variable adds to the loss or to a resource."""
        found = np.zeros(self.count)
        if goal == "loss":
            for gene in self.programme.genes:
                found[self.start[gene.name] : self.start[gene.name] + len(gene.choices)] = gene.loss
            return found
        for term, start in self.joint:
            found[start : start + term.energy_pj.size] = _finite(term.table(goal)).ravel()
        for term in self.programme.terms:
            if len(term.genes) == 1:
                place = self.start[term.genes[0]]
                found[place : place + term.energy_pj.size] += _finite(term.table(goal))
        return found

    def offset(self, resource: Goal) -> float:
        """What no gene moves."""
        if resource == "loss":
            return 0.0
        fixed = [float(term.table(resource)) for term in self.programme.terms if not term.genes]
        return math.fsum((*fixed, self.programme.constant.get(resource, 0.0)))

    def minimise(self, goal: Goal, budget: Budget, time_limit_s: float) -> Found:
        """Solve once. An assignment that breaks a limit within the solver's tolerance is cut off."""
        upper = self.upper.copy()
        limits: list[_Limit] = []
        for name in GOALS:
            limit = getattr(budget, name)
            if limit is None:
                continue
            room = limit - self.offset(name)
            rounding = ROUNDING * abs(limit) if math.isfinite(limit) else 0.0
            if room < -rounding:
                return Found(None, True, 0.0)
            values = self.coefficients(name)
            upper[values > room + rounding] = 0.0  # a part that exceeds the limit alone
            limits.append(_Limit(name, limit, values, room))
        rows = [limit.row(upper) for limit in limits]
        objective = np.where(upper > 0, self.coefficients(goal), 0.0)
        top = float(objective.max())
        objective = objective * (OBJECTIVE_SCALE / top) if top > 0 else objective
        for _ in range(MOST_CUTS):
            found = self._call(objective, rows, upper, time_limit_s)
            if found.assignment is None or self._within(limits, found.assignment):
                return found
            cut = np.zeros(self.count)
            for gene in self.programme.genes:
                cut[self.start[gene.name] + gene.choices.index(found.assignment[gene.name])] = 1.0
            rows.append((cut, len(self.programme.genes) - 1.0))
        return Found(None, False, math.inf)

    def _within(self, limits: list[_Limit], assignment: Mapping[str, str]) -> bool:
        for limit in limits:
            if limit.name == "loss":
                value = self.programme.loss(assignment)
            else:
                value = self.programme.value(assignment, limit.name)
            if value > limit.limit + ROUNDING * abs(limit.limit):
                return False
        return True

    def _call(
        self, objective: Floats, rows: list[tuple[Floats, float]], upper: Floats, time_limit_s: float
    ) -> Found:
        constraints = [self.equations]
        if rows:
            matrix = csr_array(np.stack([row for row, _ in rows]))
            constraints.append(LinearConstraint(matrix, -np.inf, np.array([above for _, above in rows])))
        integrality = np.zeros(self.count)
        integrality[: self.binaries] = 1
        with quiet_stdout():
            result = milp(
                objective,
                integrality=integrality,
                bounds=Bounds(0.0, upper),
                constraints=constraints,
                options={"mip_rel_gap": 0.0, "time_limit": time_limit_s},
            )
        if result.x is None:
            if result.status not in (TIME_LIMIT, INFEASIBLE):
                raise ProgrammeError(f"HiGHS gave up: {result.message}")
            return Found(None, result.status == INFEASIBLE, math.inf)
        assignment = {}
        for gene in self.programme.genes:
            start = self.start[gene.name]
            assignment[gene.name] = gene.choices[int(np.argmax(result.x[start : start + len(gene.choices)]))]
        gap = 0.0 if result.status == 0 else float(result.mip_gap)
        return Found(assignment, result.status == 0, gap)


def _finite(table: Floats) -> Floats:
    return np.where(np.isfinite(table), table, 0.0)
