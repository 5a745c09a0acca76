"""How many given nests a core prices per second: the compiled kernel on random valid nests.

The nests share a keep set and fan-outs (those of the best mapping of the layer) and differ in factors and
orders. Checks of the arrays are part of the time; energies of a sample are held against
the reference `evaluate`.
"""

from __future__ import annotations

import math
import random
import resource
from dataclasses import replace
from typing import Any

import numpy as np

from bitjoule.mapping.accelerator import Accelerator
from bitjoule.mapping.evaluate import evaluate
from bitjoule.mapping.kernel_evaluate import energies_of
from bitjoule.mapping.nest import LevelNest, Mapping
from bitjoule.mapping.problem import DIMS, Problem
from bitjoule.mapping.search import solve

__all__ = ["kernel_rate", "reference_rate"]


def _random_nests(bounds: list[int], accelerator: Accelerator, count: int) -> tuple[Any, Any]:
    """Dimensions and bounds of the temporal loops of random nests."""
    draw = random.Random(0)
    levels = accelerator.levels
    factors = np.ones((count, len(levels), 8), np.int64)
    dims = np.zeros((count, len(levels), 8), np.int64)
    for nest in range(count):
        for d, dim in enumerate(DIMS):
            homes = [i for i, level in enumerate(levels) if dim in level.loop_dims]
            left, prime = bounds[d], 2
            while left > 1:
                while left % prime == 0:
                    factors[nest, draw.choice(homes), d] *= prime
                    left //= prime
                prime += 1
        for level in range(len(levels)):
            dims[nest, level] = draw.sample(range(8), 8)
    return dims, np.take_along_axis(factors, dims, axis=2)


def kernel_rate(
    problem: Problem, accelerator: Accelerator, *, nests: int = 40_000, rounds: int = 10
) -> float:
    """Complete evaluations per CPU second of the compiled kernel.

    Raises:
        AssertionError: the kernel and the reference disagree.
    """
    best = solve(problem, accelerator).mapping
    fan_outs = Mapping(tuple(replace(level, temporal=()) for level in best.levels)).bounds
    left = [bound // unrolled for bound, unrolled in zip(problem.bounds, fan_outs, strict=True)]
    dims, bounds = _random_nests(left, accelerator, nests)
    fitting = np.isfinite(energies_of(problem, accelerator, best, dims, bounds))
    dims, bounds = (np.ascontiguousarray(array[fitting]) for array in (dims, bounds))
    energies = energies_of(problem, accelerator, best, dims, bounds)
    for index in range(50):
        nest = tuple(
            LevelNest(
                level.name,
                level.keeps,
                tuple((DIMS[d], int(n)) for d, n in zip(dims[index, i], bounds[index, i], strict=True)),
                level.x,
                level.y,
            )
            for i, level in enumerate(best.levels)
        )
        reference = evaluate(problem, Mapping(nest), accelerator)
        assert not reference.violations
        leak = reference.mac_leak_pj + sum(level.leak_pj for level in reference.levels)
        waiting = leak * (1 - reference.compute_cycles / reference.latency_cycles)
        assert math.isclose(energies[index], reference.energy_pj - waiting, rel_tol=1e-12)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    for _ in range(rounds):
        energies_of(problem, accelerator, best, dims, bounds)
    return rounds * len(dims) / (resource.getrusage(resource.RUSAGE_SELF).ru_utime - before)


def reference_rate(problem: Problem, accelerator: Accelerator, *, count: int = 500) -> float:
    """Evaluations per CPU second of the reference in plain Python."""
    nest = solve(problem, accelerator).mapping
    before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    for _ in range(count):
        evaluate(problem, nest, accelerator)
    return count / (resource.getrusage(resource.RUSAGE_SELF).ru_utime - before)
