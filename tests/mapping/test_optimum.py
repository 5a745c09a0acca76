"""The mapper's optimum is the optimum: against the exhaustive search, for every objective.

A case whose Pareto front is known answers all objectives: least energy, least energy * cycles, least cycles
and then energy, and least energy within a number of cycles.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest

from bitjoule.mapping.evaluate import evaluate
from bitjoule.mapping.infeasible import InfeasibleMapping
from bitjoule.mapping.problem import Problem
from bitjoule.mapping.search import MappingResult, solve
from tests.mapping.exhaustive import Found, optima
from tests.mapping.toy import GOLDEN, Case, cases, random_case, toy, weight

EXACT = 1e-12


def agreed(case: Case, result: MappingResult, best: Found, objective: str) -> None:
    """The result is certified, is what it says, and is as good as the best there is."""
    assert result.optimal and result.gap == 0
    again = evaluate(case.problem, result.mapping, case.accelerator, mode=case.mode)
    assert not again.violations
    assert (again.energy_pj, again.latency_cycles) == (result.energy_pj, result.latency_cycles)
    values = {
        "energy": (result.energy_pj, best.energy_pj),
        "edp": (result.energy_pj * result.latency_cycles, best.energy_pj * best.cycles),
        "latency": (result.latency_cycles, best.cycles),
    }
    found, least = values[objective]
    assert math.isclose(found, least, rel_tol=EXACT)
    assert result.bound <= found * (1 + EXACT)
    if objective == "latency":
        assert math.isclose(result.energy_pj, best.energy_pj, rel_tol=EXACT)


def check(case: Case) -> bool:
    """All objectives of one case; False where it has no mapping."""
    problem, accelerator, mode = case.problem, case.accelerator, case.mode
    front = optima(problem, accelerator, mode)
    if front is None:
        with pytest.raises(InfeasibleMapping):
            solve(problem, accelerator, mode=mode)
        return False
    for objective, best in (("energy", front.energy), ("edp", front.edp), ("latency", front.latency)):
        agreed(case, solve(problem, accelerator, mode=mode, objective=objective), best, objective)
    for found in front.pareto:
        result = solve(problem, accelerator, mode=mode, latency_cap_cycles=found.cycles)
        assert result.latency_cycles <= found.cycles
        agreed(case, result, found, "energy")
    return True


def loose(count: int, first: int) -> Iterator[Case]:
    """Cases that may also be tiny, or have no mapping at all."""
    for seed in range(first, first + count):
        case = random_case(seed)
        if weight(case) <= 4000:
            yield case


@pytest.mark.parametrize(("problem", "dims", "energy", "cycles"), GOLDEN, ids=[g[0].name for g in GOLDEN])
def test_golden_optima(problem: Problem, dims: tuple[str, ...], energy: float, cycles: int) -> None:
    result = solve(problem, toy(dims))
    assert (result.energy_pj, result.latency_cycles, result.optimal) == (energy, cycles, True)


@pytest.mark.parametrize("batch", range(4))
def test_small_random_problems(batch: int) -> None:
    assert sum(check(case) for case in cases(55, first=1000 * batch)) >= 50


@pytest.mark.slow
@pytest.mark.parametrize("batch", range(8))
def test_many_random_problems(batch: int) -> None:
    assert sum(check(case) for case in loose(500, 100_000 + 1000 * batch)) >= 300


@pytest.mark.slow
def test_larger_random_problems() -> None:
    for case in cases(150, first=300_000, heaviest=40_000):
        check(case)
