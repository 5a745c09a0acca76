"""The search as a whole: workers, time limits, fronts, certificates and what it refuses."""

from __future__ import annotations

import pytest

from bitjoule.mapping import search as room
from bitjoule.mapping.infeasible import InfeasibleMapping
from bitjoule.mapping.search import Objective, solve
from tests.mapping.exhaustive import optima
from tests.mapping.toy import GOLDEN, Case, cases, toy

OBJECTIVES: tuple[Objective, ...] = ("energy", "edp", "latency")
CONV, FANOUT_DIMS, _, _ = GOLDEN[0]


def feasible(count: int, first: int) -> list[Case]:
    """Cases with a mapping."""
    return [
        case
        for case in cases(count, first=first, heaviest=1500)
        if optima(case.problem, case.accelerator, case.mode) is not None
    ]


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_workers_change_nothing(objective: Objective) -> None:
    for case in feasible(20, 610_000):
        alone, crowd = (
            solve(case.problem, case.accelerator, mode=case.mode, objective=objective, workers=workers)
            for workers in (1, 3)
        )
        for name in ("mapping", "energy_pj", "latency_cycles", "bound", "evaluated", "pruned", "space_size"):
            assert getattr(alone, name) == getattr(crowd, name)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_time_limit_leaves_a_valid_mapping_and_a_true_bound(objective: Objective) -> None:
    open_ends = 0
    for case in feasible(60, 611_000):
        front = optima(case.problem, case.accelerator, case.mode)
        assert front is not None
        best = {
            "energy": front.energy.energy_pj,
            "edp": front.edp.energy_pj * front.edp.cycles,
            "latency": front.latency.cycles,
        }[objective]
        try:
            found = solve(
                case.problem, case.accelerator, mode=case.mode, objective=objective, time_limit_s=0.0
            )
        except TimeoutError:
            continue
        assert found.evaluation.valid
        assert found.bound <= best * (1 + 1e-12) and found.value >= best * (1 - 1e-12)
        assert found.gap == pytest.approx((found.value - found.bound) / found.bound) and found.gap >= 0
        assert found.gap == 0 or not found.optimal
        open_ends += not found.optimal
    assert open_ends > 0 or objective == "latency"


def test_the_front_is_that_of_all_mappings(monkeypatch: pytest.MonkeyPatch) -> None:
    several = 0
    for case in feasible(40, 612_000):
        monkeypatch.setattr(room, "problem_of", lambda *_, case=case, **__: case.problem)
        monkeypatch.setattr(room, "accelerator_of", lambda _, case=case: case.accelerator)
        front = optima(case.problem, case.accelerator, case.mode)
        assert front is not None
        found = room.pareto_mappings(None, None, mode=case.mode)  # type: ignore[arg-type]
        assert [result.latency_cycles for result in found] == [point.cycles for point in front.pareto]
        assert [result.energy_pj for result in found] == pytest.approx(
            [point.energy_pj for point in front.pareto], rel=1e-12
        )
        assert all(result.optimal for result in found)
        several += len(found) > 1
    assert several > 5


def test_what_was_pruned_is_counted() -> None:
    found = solve(CONV, toy(FANOUT_DIMS))
    assert set(found.pruned) == {"bound", "dominated", "assignments"}
    assert found.evaluated > 0 and sum(found.pruned.values()) > 0
    assert found.space_size > found.evaluated
    assert (found.bound, found.gap, found.value) == (found.energy_pj, 0.0, found.energy_pj)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"objective": "speed"}, ValueError, "objective must be energy, edp or latency, not 'speed'"),
        ({"workers": 0}, ValueError, "workers must be >= 1, not 0"),
        ({"latency_cap_cycles": 0}, ValueError, "latency_cap_cycles is a number of cycles >= 1"),
        ({"latency_cap_cycles": 9, "objective": "edp"}, ValueError, "goes with objective='energy'"),
        (
            {"latency_cap_cycles": 1},
            ValueError,
            "no mapping takes at most 1 cycles; raise latency_cap_cycles",
        ),
    ],
)
def test_questions_without_an_answer(options: dict[str, object], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        solve(CONV, toy(FANOUT_DIMS), **options)  # type: ignore[arg-type]


def test_what_does_not_fit_says_why() -> None:
    with pytest.raises(InfeasibleMapping, match=r"^conv does not fit toy:\n  glb holds 16 bits"):
        solve(CONV, toy(FANOUT_DIMS, glb_words=1))
