"""The map space: its size, its padding and its constraints, against full enumeration."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest

from bitjoule.mapping.accelerator import Accelerator, Axis, StorageLevel
from bitjoule.mapping.infeasible import InfeasibleMapping
from bitjoule.mapping.problem import DIMS, TENSORS, Problem
from bitjoule.mapping.search import MappingResult, solve
from bitjoule.mapping.space import (
    SpaceOptions,
    constrained,
    divisors,
    keep_sets,
    padded_problems,
    space_size,
    spatial_assignments,
)
from tests.mapping.exhaustive import factorisations, optima
from tests.mapping.exhaustive import keep_sets as all_keep_sets
from tests.mapping.toy import GOLDEN, Case, cases, toy


def found(case: Case, options: SpaceOptions) -> MappingResult | None:
    """The least energy; None where nothing fits."""
    try:
        return solve(case.problem, case.accelerator, mode=case.mode, space=options)
    except InfeasibleMapping:
        return None


def least(case: Case, problem: Problem, accelerator: Accelerator) -> float:
    """Least energy of all mappings; infinite where there is none."""
    front = optima(problem, accelerator, case.mode)
    return front.energy.energy_pj if front else math.inf


def test_size_is_the_number_of_factorisations_times_keep_sets() -> None:
    for case in cases(40, first=600_000, heaviest=1500):
        levels = tuple(replace(l, fixed_temporal=(), max_temporal=()) for l in case.accelerator.levels)
        free = replace(case.accelerator, levels=levels)
        every = {
            tuple(tuple((time, x * y) for time, x, y in factors) for factors in chosen)
            for chosen in factorisations(case.problem, free)
        }
        assignments = spatial_assignments(case.problem, free, SpaceOptions())
        assert space_size(case.problem, free, assignments) == len(every) * len(keep_sets(free))


def test_keep_sets_are_those_of_the_enumeration() -> None:
    for case in cases(40, first=601_000):
        assert sorted(keep_sets(case.accelerator)) == sorted(all_keep_sets(case.accelerator))


def test_padding_is_the_best_of_all_padded_problems() -> None:
    padded = 0
    for case in cases(40, first=600_000, heaviest=1500):
        problems = padded_problems(case.problem, case.accelerator)
        best = min(least(case, problem, case.accelerator) for problem in problems)
        result = found(case, SpaceOptions(imperfect="pad"))
        assert (result is None) == math.isinf(best)
        if result is not None:
            assert result.optimal and result.energy_pj == pytest.approx(best, rel=1e-12)
            assert result.problem in problems
            assert result.padding_macs == result.problem.macs - case.problem.macs
            padded += result.padding_macs > 0
    assert padded > 0


def test_what_may_be_padded() -> None:
    glb = StorageLevel("glb", TENSORS, x=Axis(4, ("K",)), y=Axis(3, ("C",)))
    unit = Accelerator("a", (glb, StorageLevel("dram", TENSORS)), 12)
    problem = Problem("p", (1, 1, 11, 5, 7, 1, 1, 1))
    bounds = {p.bounds[2:4] for p in padded_problems(problem, unit)}
    # K to a multiple of 2, 3 or 4, C of 2 or 3; at most 1.25 * 55 = 68 products of both; P has no fan-out
    assert bounds == {(11, 5), (12, 5), (11, 6)}
    assert padded_problems(problem, unit)[0] == problem


def test_constraints_leave_the_best_of_what_they_permit() -> None:
    met = impossible = 0
    for case in cases(60, first=602_000, heaviest=1500):
        draw = random.Random(case.accelerator.name)
        names = [level.name for level in case.accelerator.levels if level.loop_dims]
        present = [dim for dim, bound in zip(DIMS, case.problem.bounds, strict=True) if bound > 1]
        name = draw.choice(names)
        kept = case.accelerator.level(name)
        looped = [dim for dim in present if dim in kept.loop_dims]
        free = looped and not kept.fixed_temporal
        fixed = {name: {draw.choice(looped): draw.choice((1, 2))}} if free else {}
        order = {} if kept.temporal_order else {name: tuple(draw.sample(present, len(present)))}
        most = {draw.choice(names): {draw.choice(present): draw.choice((1, 2, 3))}}
        options = SpaceOptions(fixed=fixed, most=most, order=order)
        best = least(case, case.problem, constrained(case.accelerator, options))
        result = found(case, options)
        assert (result is None) == math.isinf(best)
        assert best >= least(case, case.problem, case.accelerator) * (1 - 1e-12)
        if result is not None:
            assert result.energy_pj == pytest.approx(best, rel=1e-12)
        met, impossible = met + (result is not None), impossible + (result is None)
    assert met > 30 and impossible > 3


def test_only_the_fullest_arrays() -> None:
    fewer = 0
    for case in cases(30, first=603_000, heaviest=1500):
        most = max(
            math.prod(x * y for factors in chosen for _, x, y in factors)
            for chosen in factorisations(case.problem, case.accelerator)
        )
        result, free = found(case, SpaceOptions(spatial="max")), found(case, SpaceOptions())
        if result is not None and free is not None:
            assert result.evaluation.mac_instances == most
            assert result.energy_pj >= free.energy_pj * (1 - 1e-12)
            fewer += free.evaluation.mac_instances < most
    assert fewer > 0


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"spatial": "most"}, "spatial must be any or max, not 'most'"),
        ({"imperfect": "crop"}, "imperfect must be none or pad, not 'crop'"),
        ({"fixed": {"glb": {"Z": 2}}}, r"fixed\['glb'\] maps dimensions N G K C P Q R S to factors >= 1"),
        ({"most": {"glb": {"K": 0}}}, r"most\['glb'\] maps dimensions .* not 'K' to 0"),
        ({"order": {"glb": ("K", "K")}}, r"order\['glb'\] must hold different dimensions"),
    ],
)
def test_options_are_checked(options: dict[str, object], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        SpaceOptions(**options)  # type: ignore[arg-type]


def test_a_level_that_the_hardware_lacks() -> None:
    problem, dims, _, _ = GOLDEN[0]
    with pytest.raises(ValueError, match=r"toy has no level 'l2' \(has: rf_w, rf_i, rf_o, glb, dram\)"):
        solve(problem, toy(dims), space=SpaceOptions(most={"l2": {"K": 1}}))


def test_divisors_of_a_square_and_a_prime() -> None:
    assert (divisors(36), divisors(7)) == ((1, 2, 3, 4, 6, 9, 12, 18, 36), (1, 7))
