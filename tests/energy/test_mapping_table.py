"""Mappings as a function of the room that is left: few searches, the same optimum."""

from __future__ import annotations

import pytest

from bitjoule.energy.mapping_table import MappingTable, partial_elements
from bitjoule.mapping.accelerator import Accelerator
from bitjoule.mapping.evaluate import Mode
from bitjoule.mapping.hardware_levels import accelerator_of
from bitjoule.mapping.infeasible import InfeasibleMapping
from bitjoule.mapping.nest import LevelNest, Mapping
from bitjoule.mapping.problem import Problem
from tests.energy.tiny_hierarchy import Found, enumerating, tiny

PROBLEM = Problem(
    "conv",
    (1, 1, 4, 3, 4, 1, 2, 1),
    weight_bits=8,
    input_bits=8,
    output_bits=8,
    psum_bits=24,
    mac_pj=0.3,
)
ROOMS = range(0, 41, 3)


def table() -> MappingTable:
    return MappingTable(PROBLEM, accelerator_of(tiny()), "buffer", "physical", enumerating)


@pytest.mark.parametrize("resident", [(), ("inputs",), ("outputs",), ("inputs", "outputs")])
def test_every_room_has_its_optimum(resident: tuple[str, ...]) -> None:
    asked, downwards = table(), table()
    energies = []
    for words in ROOMS:
        found = asked.at(resident, words)
        energies.append(float("inf") if found is None else found.energy_pj)
        if found is not None:
            assert found.taken_words <= words
        if "outputs" not in resident and found is not None:
            hardware = asked.accelerator.resident("buffer", resident, words)
            golden = enumerating(PROBLEM, hardware, mode="physical").evaluation.energy_pj
            assert found.energy_pj == pytest.approx(golden, rel=1e-12)
    assert energies == sorted(energies, reverse=True)
    for words, energy in reversed(list(zip(ROOMS, energies, strict=True))):
        found = downwards.at(resident, words)
        if "outputs" not in resident:
            assert (float("inf") if found is None else found.energy_pj) == pytest.approx(energy)
            assert downwards.searches < len(ROOMS) / 2


def test_bounds_become_exact() -> None:
    known = table()
    entry, exact = known.bound((), 3, 40)
    assert entry is not None and not exact and known.searches == 1
    assert entry == known.at((), 40)
    settled = known.at((), 3)
    assert settled is not None and settled.energy_pj > entry.energy_pj
    assert known.bound((), 3, 40) == (settled, True)


def test_bounds_are_listed_and_refined() -> None:
    known, golden = table(), table()

    def least(words: int) -> float:
        return min(entry.energy_pj for need, entry in known.bounds((), 40) if need <= words)

    assert [need for need, _ in known.bounds((), 40)] == [0] and known.searches == 1
    for words in reversed(ROOMS):
        exact = golden.at((), words)
        assert exact is not None and least(words) <= exact.energy_pj
        known.at((), words)
        assert least(words) == pytest.approx(exact.energy_pj)
    needs = [need for need, _ in known.bounds((), 40)]
    assert needs == sorted(needs, reverse=True) and len(needs) > 2
    assert all(entry.bound_pj == entry.energy_pj for _, entry in known.bounds((), 40))


def test_partial_sums_of_a_resident_output_take_room() -> None:
    # 16 outputs of 8 bits live in the buffer; held as 24-bit sums they take up to 32 words more
    known = table()
    roomy, tight = known.at(("outputs",), 40), known.at(("outputs",), 3)
    assert roomy is not None and tight is not None
    assert roomy.taken_words > tight.taken_words <= 3 and tight.constrained and not roomy.constrained
    assert tight.energy_pj >= roomy.energy_pj
    assert roomy.bound_pj == roomy.energy_pj and roomy.energy_pj <= tight.bound_pj <= tight.energy_pj
    assert known.at(("outputs",), 1) is None  # one 24-bit sum beside its 8-bit result


def test_outputs_that_are_partial_at_a_time() -> None:
    everything = ("weights", "inputs", "outputs")

    def mapping(*temporal: tuple[str, int]) -> Mapping:
        return Mapping(
            (LevelNest("buffer", ("outputs",), (("R", 2),)), LevelNest("dram", everything, temporal))
        )

    def partial(*temporal: tuple[str, int]) -> int:
        return partial_elements(PROBLEM, mapping(*temporal), 0)

    assert partial(("K", 4), ("P", 4), ("C", 3)) == 16  # all outputs wait for the next channel
    assert partial(("K", 4), ("C", 3), ("P", 4)) == 4  # one row of them
    assert partial(("C", 3), ("K", 4), ("P", 4)) == 1
    assert partial_elements(PROBLEM, mapping(("C", 3), ("K", 4), ("P", 4)), 1) == 1


def test_what_fits_nowhere_is_none() -> None:
    def never(problem: Problem, accelerator: Accelerator, *, mode: Mode) -> Found:
        raise InfeasibleMapping(problem.name, accelerator.name)

    assert MappingTable(PROBLEM, accelerator_of(tiny()), "buffer", "physical", never).at((), 40) is None
