"""The search as a whole: workers, time limits, fronts, certificates and what it refuses."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bitjoule.mapping import search as room
from bitjoule.mapping.accelerator import Accelerator, Axis, StorageLevel
from bitjoule.mapping.infeasible import InfeasibleMapping
from bitjoule.mapping.problem import TENSORS, Problem
from bitjoule.mapping.search import Objective, solve
from bitjoule.mapping.space import SpaceOptions
from tests.mapping.exhaustive import optima
from tests.mapping.toy import GOLDEN, Case, cases, random_case, toy

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
                case.problem, case.accelerator, mode=case.mode, objective=objective, time_limit_s=1e-9
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
    assert set(found.pruned) == {"bound", "dominated", "assignments", "capacity"}
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


def test_tiles_of_a_level_inside_all_loops_must_fit() -> None:
    reg = StorageLevel("reg", ("weights",), words=1, temporal_dims=(), x=Axis(4, ("K",)), read_pj=0.1)
    unit = Accelerator("a", (reg, StorageLevel("dram", TENSORS, read_pj=100.0)), 4)
    found = solve(Problem("p", (1, 1, 4, 1, 4, 1, 1, 1)), unit, mode="native")
    assert found.evaluation.mac_instances == 1


def test_clusters_that_are_not_full() -> None:
    rf = StorageLevel("rf", TENSORS, words=6, read_pj=1.0, width_bits=32, cluster=2)
    unit = Accelerator("a", (rf, StorageLevel("dram", TENSORS, read_pj=9.0, x=Axis(3, ("K",)))), 3)
    problem = Problem("p", (1, 1, 3, 2, 1, 1, 1, 1))
    front = optima(problem, unit, "native")
    assert front is not None
    assert solve(problem, unit, mode="native").energy_pj == front.energy.energy_pj


@pytest.mark.parametrize("options", [{"objective": "latency"}, {"objective": "edp"}])
def test_drained_reads_count_against_the_bandwidth(options: dict[str, str]) -> None:
    rf = StorageLevel(
        "rf", ("outputs",), charge_drain=True, read_words_per_cycle=1.5, read_pj=1.0, temporal_dims=()
    )
    unit = Accelerator("a", (rf, StorageLevel("dram", TENSORS, temporal_order=("K", "C"))), 1)
    assert solve(Problem("p", (1, 1, 4, 8, 1, 1, 1, 1)), unit, mode="native", **options).latency_cycles == 40


def test_a_cap_is_kept_where_drains_limit_the_bandwidth() -> None:
    rf = StorageLevel(
        "rf", ("outputs",), charge_drain=True, read_words_per_cycle=1.5, read_pj=1.0, temporal_dims=()
    )
    unit = Accelerator("a", (rf, StorageLevel("dram", TENSORS, temporal_order=("K", "C"))), 1)
    with pytest.raises(ValueError, match="no mapping takes at most 32 cycles"):
        solve(Problem("p", (1, 1, 4, 8, 1, 1, 1, 1)), unit, mode="native", latency_cap_cycles=32)


def test_a_fixed_factor_where_nothing_iterates_is_not_ignored() -> None:
    problem, dims, _, _ = GOLDEN[0]
    with pytest.raises((InfeasibleMapping, ValueError)):
        solve(problem, toy(dims), space=SpaceOptions(fixed={"rf_i": {"K": 2}}))


def test_of_equal_energies_the_fewest_cycles() -> None:
    """mapping.md 4.4: ties by (objective, energy, cycles)."""
    for seed in (500_031, 500_073, 500_096, 500_107):
        case = random_case(seed)
        front = optima(case.problem, case.accelerator, case.mode)
        assert front is not None
        found = solve(case.problem, case.accelerator, mode=case.mode)
        assert found.latency_cycles == front.energy.cycles


def test_a_latency_that_a_time_limit_cut_short_is_no_proof_of_its_energy() -> None:
    for case in cases(60, first=600_000, heaviest=1500):
        front = optima(case.problem, case.accelerator, case.mode)
        try:
            found = solve(
                case.problem, case.accelerator, mode=case.mode, objective="latency", time_limit_s=1e-6
            )
        except (TimeoutError, InfeasibleMapping):
            continue
        assert front is not None
        if found.optimal:
            assert found.energy_pj == pytest.approx(front.latency.energy_pj, rel=1e-12)


def test_user_constraints_only_remove_mappings() -> None:
    problem, dims, _, _ = GOLDEN[0]
    hardware = toy(dims)
    dram = replace(hardware.levels[-1], fixed_temporal=(("C", 2),), temporal_order=("R", "C"))
    limited = replace(hardware, levels=(*hardware.levels[:-1], dram))
    with pytest.raises((InfeasibleMapping, ValueError)):
        solve(problem, limited, space=SpaceOptions(fixed={"dram": {"C": 1}}))
    with pytest.raises(
        ValueError, match=r"orders the loops of dram R C \(innermost first\), which C R contradicts"
    ):
        solve(problem, limited, space=SpaceOptions(order={"dram": ("C", "R")}))
    longer = solve(problem, limited, space=SpaceOptions(order={"dram": ("R", "C", "P")}))
    assert longer.energy_pj >= solve(problem, limited).energy_pj


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf")])
def test_a_time_limit_is_a_number_of_seconds(seconds: float) -> None:
    with pytest.raises(ValueError, match="time_limit_s must be a finite number of seconds > 0"):
        solve(CONV, toy(FANOUT_DIMS), time_limit_s=seconds)


def test_counts_that_do_not_fit_62_bits_are_refused() -> None:
    huge = Problem(
        "huge", (1, 1, 2**28, 2**28, 1, 1, 1, 1), weight_bits=8, input_bits=8, output_bits=8, psum_bits=250
    )
    dram = StorageLevel("dram", TENSORS)
    with pytest.raises(ValueError, match="too many for exact 62-bit counts"):
        solve(huge, Accelerator("bare", (dram,), 1, packing="dense"))
