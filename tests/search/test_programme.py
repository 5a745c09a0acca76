"""The integer programme: vectors of search.md and ptq.md, enumeration, both solvers, texts of refusals."""

import math
from itertools import product

import numpy as np
import pytest

from bitjoule.search.programme import Budget, Gene, Programme, ProgrammeError, Solver, Term, solve
from tests.search.toy_programme import enumerated, random_programme, toy_programme


@pytest.mark.parametrize("solver", ["milp", "dp"])
def test_toy_chain_of_six_layers(solver: Solver) -> None:
    programme = toy_programme(6, (2, 4, 8))
    assert programme.size == 531_441
    first = solve(programme, Budget(energy_pj=1.5e6), solver=solver, quantum_pj=1000.0)
    assert first.loss == pytest.approx(1.296875, rel=1e-12)
    assert 0.9 - 0.05 * first.loss == pytest.approx(0.83515625, rel=1e-12)
    assert first.proven and first.status == "proven" and first.gap == 0 and first.error_pj == 0
    second = solve(programme, Budget(energy_pj=2.5e6), solver=solver, quantum_pj=1000.0)
    assert 0.9 - 0.05 * second.loss == pytest.approx(0.88935546875, rel=1e-12)
    assert [second.assignment[f"w{l}"] for l in range(6)] == ["4"] * 6
    assert [second.assignment[f"a{l}"] for l in range(6)] == ["4"] * 5 + ["2"]


@pytest.mark.parametrize("solver", ["milp", "dp"])
def test_a_budget_below_the_least_energy_says_the_least(solver: Solver) -> None:
    with pytest.raises(ProgrammeError) as caught:
        solve(toy_programme(6, (2, 4, 8)), Budget(energy_pj=1.0e6), solver=solver, quantum_pj=1000.0)
    assert str(caught.value) == "least energy is 1.102 uJ, the budget asks for 1.000 uJ"


@pytest.mark.parametrize(("energy_pj", "accuracy"), [(8e6, 0.86201171875), (12e6, 0.894091796875)])
def test_toy_chain_of_twenty_layers_and_seven_widths(energy_pj: float, accuracy: float) -> None:
    programme = toy_programme(20, range(2, 9))
    for solver in ("milp", "dp"):
        found = solve(programme, Budget(energy_pj=energy_pj), solver=solver, quantum_pj=1000.0)  # type: ignore[arg-type]
        assert found.proven and found.energy_pj <= energy_pj
        assert 0.9 - 0.05 * found.loss == pytest.approx(accuracy, rel=1e-12)


@pytest.mark.parametrize(("limit", "energy"), [(0, 55), (0.3, 41), (0.6, 29), (1.1, 22), (3, 16)])
@pytest.mark.parametrize("solver", ["milp", "dp"])
def test_least_energy_for_a_sum_of_sensitivities(limit: float, energy: float, solver: Solver) -> None:
    # ptq.md section 5.3
    energies = ((9, 5, 3), (16, 8, 4), (30, 16, 9))
    sensitivities = ((0, 0.2, 1.5), (0, 0.1, 0.7), (0, 0.3, 0.8))
    genes = tuple(Gene(f"l{i}", ("0", "1", "2"), tuple(map(float, s))) for i, s in enumerate(sensitivities))
    terms = tuple(Term(f"l{i}", (f"l{i}",), np.array(e, float)) for i, e in enumerate(energies))
    budget = Budget(loss=limit + 1e-12)
    found = solve(Programme(genes, terms), budget, minimise="energy", solver=solver, quantum_pj=1.0)
    assert found.energy_pj == energy
    choices = {0.3: ["0", "0", "1"], 0.6: ["1", "1", "1"], 1.1: ["1", "1", "2"]}
    if limit in choices:
        assert [found.assignment[f"l{i}"] for i in range(3)] == choices[limit]


@pytest.mark.parametrize("seed", range(50))
def test_equals_enumeration_on_random_tables(seed: int) -> None:
    programme = random_programme(seed)
    every = enumerated(programme)
    energies = sorted(entry[1] for entry in every)
    rng = np.random.default_rng(1000 + seed)
    for energy_pj in (energies[0], float(rng.choice(energies)), float(rng.choice(energies))):
        within = [entry for entry in every if entry[1] <= energy_pj]
        best = min(within, key=lambda entry: (round(entry[0], 9), entry[1]))
        for solver in ("milp", "dp"):
            found = solve(programme, Budget(energy_pj=energy_pj), solver=solver, quantum_pj=1.0)  # type: ignore[arg-type]
            assert found.proven
            assert found.loss == pytest.approx(best[0], abs=1e-9)
            assert found.energy_pj == pytest.approx(best[1], abs=1e-9)
            assert programme.loss(found.assignment) == found.loss
    limit = float(rng.choice([entry[0] for entry in every])) + 1e-6
    cheapest = min(entry[1] for entry in every if entry[0] <= limit)
    for solver in ("milp", "dp"):
        found = solve(programme, Budget(loss=limit), minimise="energy", solver=solver, quantum_pj=1.0)  # type: ignore[arg-type]
        assert found.energy_pj == cheapest
    size_bits = sorted(entry[2] for entry in every)[len(every) // 3]
    middle = energies[len(energies) // 2]
    within = [entry for entry in every if entry[1] <= middle and entry[2] <= size_bits]
    budget = Budget(energy_pj=middle, size_bits=size_bits)
    if within:
        found = solve(programme, budget)
        assert found.loss == pytest.approx(min(entry[0] for entry in within), abs=1e-9)
        assert found.size_bits <= size_bits
    else:
        with pytest.raises(
            ProgrammeError, match="no assignment meets the limits of energy and size together"
        ):
            solve(programme, budget)


def test_a_coarse_quantum_says_its_error_and_keeps_the_budget() -> None:
    programme = toy_programme(6, (2, 4, 8))
    exact = solve(programme, Budget(energy_pj=2.0e6))
    coarse = solve(programme, Budget(energy_pj=2.0e6), solver="dp", quantum_pj=7000.0)
    assert 0 < coarse.error_pj <= 6 * 7000 / 2
    assert coarse.energy_pj <= 2.0e6 and coarse.loss >= exact.loss
    assert coarse.status == f"exact within {coarse.error_pj:g} pJ"
    loose = solve(programme, Budget(energy_pj=2.0e6 - 2 * coarse.error_pj))
    assert coarse.loss <= loose.loss


def test_genes_that_no_term_reads_take_their_least_loss() -> None:
    genes = (Gene("a", ("2", "4"), (1.0, 0.0)), Gene("free", ("2", "4"), (0.25, 0.5)))
    programme = Programme(genes, (Term("a", ("a",), np.array([1.0, 2.0])),))
    for solver in ("milp", "dp"):
        found = solve(programme, Budget(energy_pj=1.0), solver=solver, quantum_pj=1.0)  # type: ignore[arg-type]
        assert found.assignment == {"a": "2", "free": "2"} and found.loss == 1.25


def test_limits_of_size_latency_and_loss_are_named() -> None:
    gene = Gene("fc", ("2", "8"), (1.0, 0.25))
    term = Term(
        "fc",
        ("fc",),
        np.array([1e6, 4e6]),
        size_bits=np.array([16000.0, 64000.0]),
        latency_cycles=np.array([2e6, 3e6]),
    )
    programme = Programme((gene,), (term,))
    for budget, text in (
        (Budget(size_bits=8000), "least size is 2.000 kB, the budget asks for 1.000 kB"),
        (Budget(latency_cycles=1e6), "least latency is 2.000 Mcycles, the budget asks for 1.000 Mcycles"),
        (Budget(loss=0.1), "least loss is 0.25, the budget asks for 0.1"),
    ):
        with pytest.raises(ProgrammeError) as caught:
            solve(programme, budget, minimise="energy")
        assert str(caught.value) == text
    assert solve(programme, Budget(size_bits=20000)).assignment == {"fc": "2"}
    with pytest.raises(ProgrammeError, match="solver dp follows energy and loss only"):
        solve(programme, Budget(size_bits=8000), solver="dp", quantum_pj=1.0)
    with pytest.raises(
        ProgrammeError, match="solver dp needs quantum_pj > 0, the energy of one unit, not None"
    ):
        solve(programme, Budget(), solver="dp")
    with pytest.raises(ProgrammeError, match="solver must be milp or dp, not 'cplex'"):
        solve(programme, Budget(), solver="cplex")  # type: ignore[arg-type]


def test_a_programme_without_any_allowed_assignment() -> None:
    programme = Programme(
        (Gene("a", ("2",), (0.0,)), Gene("b", ("2",), (0.0,))),
        (Term("t", ("a", "b"), np.full((1, 1), np.inf)),),
    )
    for solver in ("milp", "dp"):
        with pytest.raises(ProgrammeError) as caught:
            solve(programme, Budget(), solver=solver, quantum_pj=1.0)  # type: ignore[arg-type]
        assert str(caught.value) == "no assignment is allowed: every one has a combination of infinite energy"


def test_a_stopped_solver_says_so() -> None:
    programme = toy_programme(20, range(2, 9))
    with pytest.raises(ProgrammeError) as caught:
        solve(programme, Budget(energy_pj=7e6), time_limit_s=0.001)
    assert str(caught.value) == (
        "no assignment was found within 0.001 s and 64 cuts: raise time_limit_s "
        "or the budget by a millionth, or use solver dp"
    )
    assignment = {gene.name: "4" for gene in programme.genes}
    assert (
        programme.answer(assignment, solver="milp", proven=False, gap=0.02).status == "time limit, gap 2.00%"
    )
    with pytest.raises(ProgrammeError, match="time_limit_s must be > 0 seconds, not 0"):
        solve(programme, Budget(), time_limit_s=0)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Gene("a", (), ()), "gene 'a': choices must be distinct and at least one"),
        (lambda: Gene("a", ("2", "4"), (0.0,)), "gene 'a': 2 choices need as many losses, not 1"),
        (
            lambda: Gene("a", ("2",), (-0.5,)),
            "gene 'a': the loss of choice '2' must be finite and >= 0, not -0.5; "
            "clamp measured noise below 0 (programme_sensitivity.losses)",
        ),
        (
            lambda: Programme((), (Term("t", ("a",), np.zeros(1)),)),
            "term 't' reads gene 'a', which does not exist",
        ),
        (
            lambda: Programme((Gene("a", ("2",), (0.0,)),), (Term("t", ("a",), np.zeros(2)),)),
            "term 't': energy_pj has shape (2,), its genes ask for (1,)",
        ),
        (
            lambda: Programme((Gene("a", ("2",), (0.0,)),), (Term("t", ("a",), np.array([math.nan])),)),
            "term 't': energy_pj must be numbers >= 0",
        ),
    ],
)
def test_faults_are_named(make: object, text: str) -> None:
    with pytest.raises(ProgrammeError) as caught:
        make()  # type: ignore[operator]
    assert str(caught.value) == text


@pytest.mark.parametrize("scale", [1e-12, 1e-6, 1e6])
def test_losses_may_have_any_unit(scale: float) -> None:
    """Fisher information of a trained network may be below 1e-9 in all."""
    rng = np.random.default_rng(3)
    tokens = ("2", "4", "8")
    genes = [Gene(f"g{i}", tokens, tuple(scale * np.sort(rng.random(3))[::-1])) for i in range(4)]
    terms = [Term(f"t{i}", (f"g{i}", f"g{(i + 1) % 4}"), 1e6 * rng.random((3, 3))) for i in range(4)]
    programme = Programme(tuple(genes), tuple(terms))
    every = [dict(zip([g.name for g in genes], choice, strict=True)) for choice in product(tokens, repeat=4)]
    values = [(programme.loss(a), programme.value(a, "energy_pj")) for a in every]
    budget = float(np.quantile([energy for _, energy in values], 0.3))
    found = solve(programme, Budget(energy_pj=budget))
    assert (found.loss, found.energy_pj) == pytest.approx(min(v for v in values if v[1] <= budget), rel=1e-8)
    least = min(energy for _, energy in values)  # a budget that the cheapest assignment fills exactly
    assert solve(programme, Budget(energy_pj=least)).energy_pj == least


def test_a_budget_that_is_no_number() -> None:
    with pytest.raises(
        ProgrammeError, match=r"^budget: energy_pj must be a number, or None"
    ):
        Budget(energy_pj=float("nan"))
