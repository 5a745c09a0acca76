"""The exhaustive search against the golden optima of mapping.md 4.6: law and oracle agree with the paper."""

from __future__ import annotations

import pytest

from bitjoule.mapping.accelerator import Accelerator, Axis, StorageLevel
from bitjoule.mapping.problem import TENSORS, Problem
from tests.mapping.exhaustive import divisors, factorisations, keep_sets, optima, orders, splits
from tests.mapping.toy import GOLDEN, toy


@pytest.mark.parametrize(("problem", "dims", "energy", "cycles"), GOLDEN, ids=[g[0].name for g in GOLDEN])
def test_golden_optima(problem: Problem, dims: tuple[str, ...], energy: float, cycles: int) -> None:
    found = optima(problem, toy(dims))
    assert found is not None
    assert (found.energy.energy_pj, found.energy.cycles) == (energy, cycles)


def two_levels(**buffer: object) -> Accelerator:
    settings = {"words": 1000, "x": Axis(4, ("K", "C")), **buffer}
    levels = (StorageLevel("buffer", TENSORS, **settings), StorageLevel("dram", TENSORS))  # type: ignore[arg-type]
    return Accelerator("two", levels, mac_count=4)


def test_every_factorisation_once() -> None:
    problem = Problem("p", (1, 1, 4, 6, 1, 1, 1, 1))
    # over dram, buffer and fan-out: K in 6 ways, C in 9, of which one has a fan-out of 6; some pairs exceed 4
    pairs = [
        (k, c)
        for k in splits(two_levels().levels, "K", 4)
        for c in splits(two_levels().levels, "C", 6)
        if k[0][1] * c[0][1] <= 4
    ]
    assert len(splits(two_levels().levels, "K", 4)) == 6
    assert len(splits(two_levels().levels, "C", 6)) == 8
    found = list(factorisations(problem, two_levels()))
    assert len(found) == len(set(found)) == len(pairs)


def test_constraints_remove_factorisations() -> None:
    problem = Problem("p", (1, 1, 4, 6, 1, 1, 1, 1))
    everything = set(factorisations(problem, two_levels()))
    for limits in (
        {"temporal_dims": ("K",)},
        {"fixed_temporal": (("K", 2),)},
        {"max_temporal": (("C", 3),)},
        {"fixed_spatial": (("C", 2),)},
    ):
        fewer = set(factorisations(problem, two_levels(**limits)))
        assert fewer and fewer < everything


def test_orders_respect_the_listed_dimensions() -> None:
    level = StorageLevel("l", TENSORS, temporal_order=("C", "K"))
    loops = (("K", 2), ("P", 3), ("Q", 4), ("C", 5))
    assert orders(level, loops) == [
        (("C", 5), ("K", 2), ("P", 3), ("Q", 4)),
        (("C", 5), ("K", 2), ("Q", 4), ("P", 3)),
    ]
    assert len(orders(StorageLevel("l", TENSORS), loops)) == 24


def test_keep_sets_are_all_subsets_of_what_may_be_bypassed() -> None:
    accelerator = two_levels(bypass_allowed=("weights", "outputs"))
    assert sorted(kept for kept, _ in keep_sets(accelerator)) == sorted(
        [TENSORS, ("inputs", "outputs"), ("weights", "inputs"), ("inputs",)]
    )


def test_no_mapping_is_none() -> None:
    assert optima(Problem("p", (1, 1, 4, 1, 1, 1, 1, 1)), two_levels(words=2)) is None


def test_divisors() -> None:
    assert divisors(12) == [1, 2, 3, 4, 6, 12]
