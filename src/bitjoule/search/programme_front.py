"""Fronts of the integer programme: one answer per budget, or every non-dominated assignment."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from bitjoule.search.programme import Answer, Budget, Programme, ProgrammeError, Solver, solve
from bitjoule.search.programme_dp import front_by_dp

__all__ = ["BUDGETS", "budgets_between", "exact_front", "programme_front"]

EPSILON = 1e-6
"""Relative distance of two points of the front that the integer programme tells apart."""

BUDGETS = 32
"""How many budgets a front asks for by default (search.md section 3.4)."""


def budgets_between(least_pj: float, greatest_pj: float, count: int = BUDGETS) -> tuple[float, ...]:
    """`count` energies, log-spaced, both ends included.

    >>> [round(pj) for pj in budgets_between(100, 10000, 3)]
    [100, 1000, 10000]
    """
    if count < 2:
        raise ProgrammeError(f"a front needs at least 2 budgets, not {count}")
    if least_pj <= 0 or greatest_pj <= least_pj:
        return (least_pj,)
    inner = np.geomspace(least_pj, greatest_pj, count)[1:-1]
    return (least_pj, *(float(value) for value in inner), greatest_pj)


def programme_front(
    programme: Programme,
    *,
    count: int = BUDGETS,
    solver: Solver = "milp",
    time_limit_s: float = 30.0,
    quantum_pj: float | None = None,
    limits: Budget | None = None,
) -> tuple[Answer, ...]:
    """Answers for `count` budgets from the least energy to that of the least loss, by rising energy.

    `limits`: on size and latency, for all of them. Several budgets may have one answer, which stands once.
    Every answer says whether it is proven. Beyond the energy of the least loss nothing is gained.

    Raises:
        ProgrammeError: nothing fits the limits.
    """
    bound = limits or Budget()
    settings = {"solver": solver, "time_limit_s": time_limit_s, "quantum_pj": quantum_pj}
    cheapest = solve(programme, bound, minimise="energy", **settings)  # type: ignore[arg-type]
    dearest = solve(programme, bound, **settings)  # type: ignore[arg-type]
    found = [cheapest, dearest]
    for energy_pj in budgets_between(cheapest.energy_pj, dearest.energy_pj, count)[1:-1]:
        found.append(solve(programme, replace(bound, energy_pj=energy_pj), **settings))  # type: ignore[arg-type]
    return non_dominated(found)


def exact_front(
    programme: Programme,
    *,
    quantum_pj: float | None = None,
    most_points: int = 500,
    time_limit_s: float = 30.0,
) -> tuple[Answer, ...]:
    """Every point of the front, by rising energy.

    With `quantum_pj` by one dynamic programme; without, by the epsilon constraint: the next budget lies just
    below the last answer's energy, one solve of the integer programme per point.

    Raises:
        ProgrammeError: more than `most_points` points by epsilon constraint, or a point that is not proven.
    """
    if quantum_pj is not None:
        return non_dominated(front_by_dp(programme, quantum_pj))
    found = [solve(programme, Budget(), time_limit_s=time_limit_s)]
    least = solve(programme, Budget(), minimise="energy", time_limit_s=time_limit_s).energy_pj
    while found[-1].energy_pj > least * (1 + EPSILON):
        if len(found) >= most_points:
            raise ProgrammeError(
                f"the front has more than {most_points} points: raise most_points, give quantum_pj, or use "
                "programme_front"
            )
        below = Budget(energy_pj=found[-1].energy_pj * (1 - EPSILON))
        found.append(solve(programme, below, time_limit_s=time_limit_s))
    unproven = [answer for answer in found if not answer.proven]
    if unproven:
        raise ProgrammeError(
            f"{len(unproven)} of {len(found)} points were not proven within {time_limit_s:g} s: "
            "raise time_limit_s, or give quantum_pj"
        )
    return non_dominated(found)


def non_dominated(answers: Iterable[Answer]) -> tuple[Answer, ...]:
    """Answers that no other one equals in energy and loss or beats, by rising energy."""
    kept: list[Answer] = []
    for answer in sorted(answers, key=lambda found: (found.energy_pj, found.loss)):
        if not kept or answer.loss < kept[-1].loss:
            kept.append(answer)
    return tuple(kept)
