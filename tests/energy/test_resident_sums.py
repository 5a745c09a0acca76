"""How near mappings come to the optimum when an output lives on chip beside its partial sums."""

from __future__ import annotations

import itertools
import random

from bitjoule.energy.mapping_table import MappingTable
from bitjoule.mapping.accelerator import Accelerator
from bitjoule.mapping.evaluate import evaluate
from bitjoule.mapping.hardware_levels import accelerator_of
from bitjoule.mapping.nest import LevelNest, Mapping
from bitjoule.mapping.problem import DIMS, Problem
from tests.energy.tiny_hierarchy import Found, enumerating, tiny
from tests.mapping.exhaustive import factorisations, keep_sets, orders


def all_mappings(problem: Problem, accelerator: Accelerator) -> list[Found]:
    """Every mapping, whatever room its partial sums take."""
    found = []
    levels = range(len(accelerator.levels))
    for factors in factorisations(problem, accelerator):
        loops = [
            tuple(
                (dim, each[level][0]) for dim, each in zip(DIMS, factors, strict=True) if each[level][0] > 1
            )
            for level in levels
        ]
        nests = [orders(accelerator.levels[level], loops[level]) for level in levels]
        for keeps, order in itertools.product(keep_sets(accelerator), itertools.product(*nests)):
            mapping = Mapping(
                tuple(
                    LevelNest(accelerator.levels[level].name, keeps[level], order[level]) for level in levels
                )
            )
            evaluation = evaluate(problem, mapping, accelerator)
            if evaluation.valid:
                found.append(Found(mapping, evaluation))
    return found


def test_nearly_all_are_the_optimum_and_the_bound_is_one() -> None:
    draw = random.Random(5)
    rooms = unlike = 0
    for _ in range(8):
        bounds = (1, 1, draw.choice((2, 4)), draw.choice((2, 3, 4)), draw.choice((2, 4)), 1, 1, 1)
        bits = draw.choice((2, 4, 8))
        problem = Problem("conv", bounds, weight_bits=8, input_bits=8, output_bits=bits, psum_bits=24)
        hardware = accelerator_of(tiny())
        measure = MappingTable(problem, hardware, "buffer", "physical", enumerating)
        resident = hardware.resident("buffer", ("outputs",), 200)
        taken = [
            (measure._taken(found, resident), found.evaluation.energy_pj)
            for found in all_mappings(problem, resident)
        ]
        for words in range(1, 30, 2):
            table = MappingTable(problem, hardware, "buffer", "physical", enumerating)
            entry = table.at(("outputs",), words)
            optimum = min((energy for need, energy in taken if need <= words), default=None)
            if entry is None or optimum is None:
                assert entry is None and optimum is None
                continue
            rooms += 1
            unlike += entry.energy_pj > optimum * (1 + 1e-9)
            assert entry.bound_pj <= optimum * (1 + 1e-9) <= entry.energy_pj * (1 + 2e-9)
    assert rooms > 100 and unlike <= 0.01 * rooms
