"""The integer programme by HiGHS (`scipy.optimize.milp`): what is asked for, then the best among its equals.

`programme_model.py` holds the variables and the call of the solver.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

from bitjoule.search.programme import RESOURCES, Answer, Budget, Programme, ProgrammeError, Resource
from bitjoule.search.programme_model import MOST_CUTS, Goal, MilpModel

__all__ = ["least", "solve_by_milp"]

LOSS_SLACK = 1e-9
"""By how much the second solve may exceed the loss of the first, in shares of the greatest loss of a gene."""

UNITS: Mapping[Resource, tuple[str, float, str]] = {
    "energy_pj": ("energy", 1e6, "uJ"),
    "size_bits": ("size", 8000.0, "kB"),
    "latency_cycles": ("latency", 1e6, "Mcycles"),
}


def solve_by_milp(
    programme: Programme, budget: Budget, *, minimise: Literal["loss", "energy"], time_limit_s: float
) -> Answer:
    """See `programme.solve`; `time_limit_s` holds for each of the two solves."""
    started = time.monotonic()
    model = MilpModel(programme)
    first_goal: Goal = "loss" if minimise == "loss" else "energy_pj"
    first = model.minimise(first_goal, budget, time_limit_s)
    if first.assignment is None:
        if first.proven:
            raise ProgrammeError(_refusal(programme, budget, time_limit_s))
        raise ProgrammeError(
            f"no assignment was found within {time_limit_s:g} s and {MOST_CUTS} cuts: raise time_limit_s "
            "or the budget by a millionth, or use solver dp"
        )
    best = programme.answer(first.assignment, solver="milp", proven=first.proven, gap=first.gap)
    equal = LOSS_SLACK * max((max(gene.loss) for gene in programme.genes), default=0.0)
    if minimise == "loss":
        slack = replace(budget, loss=min(best.loss + equal, math.inf if budget.loss is None else budget.loss))
        second = model.minimise("energy_pj", slack, time_limit_s)
    else:
        slack = replace(budget, energy_pj=best.energy_pj * (1 + 1e-12))
        second = model.minimise("loss", slack, time_limit_s)
    if second.assignment is not None:
        other = programme.answer(
            second.assignment,
            solver="milp",
            proven=first.proven and second.proven,
            gap=max(first.gap, second.gap),
        )
        key = _key(other, minimise, equal), _key(best, minimise, equal)
        best = other if key[0] <= key[1] else replace(best, proven=other.proven, gap=other.gap)
    else:
        best = replace(best, proven=best.proven and second.proven)
    return replace(best, seconds=time.monotonic() - started)


def least(programme: Programme, resource: Resource, *, time_limit_s: float = 30.0) -> float:
    """The least energy, size or latency of any assignment.

    Raises:
        ProgrammeError: no assignment is allowed at all.
    """
    found = MilpModel(programme).minimise(resource, Budget(), time_limit_s)
    if found.assignment is None:
        raise ProgrammeError("no assignment is allowed: every one has a combination of infinite energy")
    return programme.value(found.assignment, resource)


def _key(answer: Answer, minimise: Literal["loss", "energy"], equal: float) -> tuple[float, float]:
    """What is minimised first and second; losses no farther apart than `equal` count as one."""
    if minimise == "loss":
        return (float(round(answer.loss / (2 * equal))) if equal else 0.0), answer.energy_pj
    return answer.energy_pj, answer.loss


def _refusal(programme: Programme, budget: Budget, time_limit_s: float) -> str:
    """Which limit cannot be met, and the least that can be asked for."""
    asked = [(resource, getattr(budget, resource)) for resource in RESOURCES]
    limits = {resource: limit for resource, limit in asked if limit is not None}
    for resource, limit in limits.items():
        lowest = least(programme, resource, time_limit_s=time_limit_s)
        if lowest > limit:
            name, unit, symbol = UNITS[resource]
            asked_for = f"{limit / unit:.3f} {symbol}"
            return f"least {name} is {lowest / unit:.3f} {symbol}, the budget asks for {asked_for}"
    if budget.loss is not None:
        found = MilpModel(programme).minimise("loss", Budget(), time_limit_s).assignment
        if found is not None and programme.loss(found) > budget.loss:
            return f"least loss is {programme.loss(found):g}, the budget asks for {budget.loss:g}"
    if not limits and budget.loss is None:
        return "no assignment is allowed: every one has a combination of infinite energy"
    names = [UNITS[resource][0] for resource in limits] + (["loss"] if budget.loss is not None else [])
    return f"no assignment meets the limits of {' and '.join(names)} together: relax one of them"
