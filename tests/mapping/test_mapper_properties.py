"""What must hold of optima, whatever the numbers: more freedom, room or narrower data never cost energy."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bitjoule.mapping.accelerator import Accelerator, Axis, StorageLevel
from bitjoule.mapping.infeasible import InfeasibleMapping
from bitjoule.mapping.problem import DIMS, Problem
from bitjoule.mapping.search import solve
from tests.mapping.toy import Case, cases, toy

SLACK = 1 + 1e-12
SWAPPED = str.maketrans("PQRS", "QPSR")


def least(problem: Problem, accelerator: Accelerator, case: Case) -> float:
    """Least energy; infinite where nothing fits."""
    try:
        return solve(problem, accelerator, mode=case.mode).energy_pj
    except InfeasibleMapping:
        return float("inf")


def with_level(accelerator: Accelerator, index: int, level: StorageLevel) -> Accelerator:
    levels = accelerator.levels
    return replace(accelerator, levels=(*levels[:index], level, *levels[index + 1 :]))


def test_fewer_bits_never_cost_more() -> None:
    for case in cases(25, first=20_000):
        if case.mode == "native":
            continue
        before = least(case.problem, case.accelerator, case)
        for key in ("weight_bits", "input_bits", "output_bits"):
            bits = getattr(case.problem, key)
            fewer = replace(case.problem, **{key: max(1, bits - 1)})
            assert least(fewer, case.accelerator, case) <= before * SLACK


def test_narrower_partial_sums_never_cost_more() -> None:
    for case in cases(25, first=21_000):
        problem = case.problem
        if case.mode == "physical" and (problem.psum_bits or 0) > (problem.output_bits or 0):
            fewer = replace(problem, psum_bits=(problem.psum_bits or 0) - 1)
            before = least(problem, case.accelerator, case)
            assert least(fewer, case.accelerator, case) <= before * SLACK


def test_larger_memories_never_cost_more() -> None:
    for case in cases(25, first=22_000):
        before = least(case.problem, case.accelerator, case)
        for index, level in enumerate(case.accelerator.levels):
            if level.words is not None:
                for words in (level.words + 1, level.words * 2, None):
                    larger = with_level(case.accelerator, index, replace(level, words=words))
                    assert least(case.problem, larger, case) <= before * SLACK


def test_more_fan_out_never_costs_more() -> None:
    for case in cases(25, first=23_000):
        before = least(case.problem, case.accelerator, case)
        roomy = replace(case.accelerator, mac_count=case.accelerator.mac_count * 2)
        assert least(case.problem, roomy, case) <= before * SLACK
        for index, level in enumerate(case.accelerator.levels):
            wider = replace(level, x=Axis(level.x.size + 1, level.x.dims), y=Axis(level.y.size, DIMS))
            assert least(case.problem, with_level(roomy, index, wider), case) <= before * SLACK


def test_permitted_bypass_never_costs_more() -> None:
    for case in cases(20, first=24_000):
        before = least(case.problem, case.accelerator, case)
        for index, level in enumerate(case.accelerator.levels[:-1]):
            free = tuple(tensor for tensor in level.keeps if tensor not in level.holds)
            freer = with_level(case.accelerator, index, replace(level, bypass_allowed=free))
            assert least(case.problem, freer, case) <= before * SLACK


def swapped(level: StorageLevel) -> StorageLevel:
    """The level with rows and columns exchanged in every limit."""

    def dims(names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(name.translate(SWAPPED) for name in names)

    def limits(pairs: tuple[tuple[str, int], ...]) -> tuple[tuple[str, int], ...]:
        return tuple((name.translate(SWAPPED), factor) for name, factor in pairs)

    return replace(
        level,
        x=Axis(level.x.size, dims(level.x.dims)),
        y=Axis(level.y.size, dims(level.y.dims)),
        temporal_dims=dims(level.temporal_dims),
        temporal_order=dims(level.temporal_order),
        fixed_temporal=limits(level.fixed_temporal),
        max_temporal=limits(level.max_temporal),
        fixed_spatial=limits(level.fixed_spatial),
    )


def test_rows_and_columns_are_alike() -> None:
    for case in cases(25, first=25_000):
        n, g, k, c, p, q, r, s = case.problem.bounds
        other = replace(
            case.problem,
            bounds=(n, g, k, c, q, p, s, r),
            stride=case.problem.stride[::-1],
            dilation=case.problem.dilation[::-1],
        )
        turned = replace(case.accelerator, levels=tuple(map(swapped, case.accelerator.levels)))
        assert least(other, turned, case) == pytest.approx(
            least(case.problem, case.accelerator, case), rel=1e-12
        )


@pytest.mark.parametrize("objective", ["energy", "edp", "latency"])
def test_the_same_answer_every_time(objective: str) -> None:
    for case in cases(8, first=26_000):
        first = solve(case.problem, case.accelerator, mode=case.mode, objective=objective)  # type: ignore[arg-type]
        again = solve(case.problem, case.accelerator, mode=case.mode, objective=objective)  # type: ignore[arg-type]
        assert (again.mapping, again.energy_pj, again.bound, again.evaluated, again.pruned) == (
            first.mapping,
            first.energy_pj,
            first.bound,
            first.evaluated,
            first.pruned,
        )


def test_the_name_of_a_layer_changes_nothing() -> None:
    problem = Problem("a", (1, 1, 4, 2, 4, 1, 3, 1), weight_bits=4, input_bits=4, output_bits=8, psum_bits=16)
    first, other = (solve(replace(problem, name=name), toy(("K", "C"))) for name in ("a", "b"))
    assert first.mapping == other.mapping
