"""Fronts of the programme: golden sizes, both ways, budgets."""

import numpy as np
import pytest

from bitjoule.search.pareto import hypervolume
from bitjoule.search.programme import ProgrammeError
from bitjoule.search.programme_front import budgets_between, exact_front, programme_front
from tests.search.toy_programme import enumerated, random_programme, toy_programme


def test_the_exact_front_of_six_layers() -> None:
    points = exact_front(toy_programme(6, (2, 4, 8)), quantum_pj=1000.0)
    assert len(points) == 119
    assert points[29].energy_pj == 1_630_000
    assert 0.9 - 0.05 * points[29].loss == pytest.approx(0.846875, rel=1e-12)
    assert points[89].energy_pj == 3_932_000
    volume = hypervolume([(p.energy_pj, 0.9 - 0.05 * p.loss) for p in points], (6_592_000, 0.0))
    assert volume == pytest.approx(0.6779131013755763, rel=1e-9)


def test_the_exact_front_of_twenty_layers() -> None:
    points = exact_front(toy_programme(20, range(2, 9)), quantum_pj=1000.0)
    assert len(points) == 1768
    ends = [(p.energy_pj, 0.9 - 0.05 * p.loss) for p in (points[0], points[-1])]
    assert ends[0] == pytest.approx((3_890_000, 0.465625), rel=1e-12)
    assert ends[1] == pytest.approx((23_600_000, 0.8998939514160157), rel=1e-12)
    volume = hypervolume([(p.energy_pj, 0.9 - 0.05 * p.loss) for p in points], (23_600_000, 0.0))
    assert volume == pytest.approx(0.6494721146622147, rel=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_both_exact_fronts_equal_enumeration(seed: int) -> None:
    programme = random_programme(seed)
    best: list[tuple[float, float]] = []
    for loss, energy, _, _ in sorted(enumerated(programme), key=lambda entry: (entry[1], entry[0])):
        if not best or loss < best[-1][1] - 1e-9:
            best.append((energy, loss))
    for points in (exact_front(programme), exact_front(programme, quantum_pj=1.0)):
        assert [(p.energy_pj, pytest.approx(p.loss, abs=1e-9)) for p in points] == best


def test_the_front_of_budgets_lies_on_the_exact_front() -> None:
    programme = toy_programme(6, (2, 4, 8))
    exact = {p.energy_pj: p.loss for p in exact_front(programme, quantum_pj=1000.0)}
    points = programme_front(programme, count=8)
    assert 5 <= len(points) <= 8 and all(p.proven for p in points)
    assert points[0].energy_pj == min(exact) and points[-1].energy_pj == max(exact)
    assert all(p.loss == pytest.approx(exact[p.energy_pj], abs=1e-9) for p in points)


def test_budgets_and_limits() -> None:
    assert budgets_between(5.0, 5.0) == (5.0,)
    spaced = budgets_between(1.0, 8.0, 4)
    assert spaced == pytest.approx((1, 2, 4, 8)) and np.all(np.diff(spaced) > 0)
    with pytest.raises(ProgrammeError, match="a front needs at least 2 budgets, not 1"):
        budgets_between(1.0, 2.0, 1)
    with pytest.raises(ProgrammeError, match="the front has more than 3 points: raise most_points"):
        exact_front(toy_programme(6, (2, 4, 8)), most_points=3)
