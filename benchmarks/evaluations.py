"""How many given nests a core prices per second: the kernels of the search on random valid nests.

The nests share a keep set and fan-outs (those of the best mapping of the layer) and differ in factors and
orders. Every nest is priced from the MAC units to the outermost level; energies of a sample are held against
the reference `evaluate`.
"""

from __future__ import annotations

import math
import random
import resource
from typing import Any

import numpy as np
from numba import njit

from bitjoule.mapping.accelerator import Accelerator
from bitjoule.mapping.evaluate import evaluate
from bitjoule.mapping.frames import constants_of, frame_of, spread_of
from bitjoule.mapping.kernel_step import finish, start, step_level
from bitjoule.mapping.nest import LevelNest, Mapping
from bitjoule.mapping.problem import DIMS, Problem
from bitjoule.mapping.search import solve
from bitjoule.mapping.space import SpatialAssignment

__all__ = ["kernel_rate", "reference_rate"]


@njit(cache=True)
def priced(frame: Any, spread: Any, tiles: Any, orders: Any, partial: int, energies: Any) -> int:
    """Energy per nest, -1 where it does not fit; returns how many fit. tiles, orders: (nest, level, 8)."""
    count, levels = tiles.shape[0], tiles.shape[1]
    size = frame.ct.size
    fills, wide, state = np.zeros(size, np.int64), np.zeros(size, np.int64), np.zeros(size, np.int64)
    traffic, ones = np.zeros(0, np.int64), np.ones(8, np.int64)
    valid = 0
    for nest in range(count):
        start(frame, spread, fills, wide, state)
        energy, flags, final, ok = 0.0, partial, 0, True
        before = ones
        for level in range(levels):
            after = tiles[nest, level]
            added, flags, final, ok = step_level(
                frame,
                spread,
                level,
                before,
                after,
                orders[nest, level],
                fills,
                wide,
                state,
                flags,
                final,
                traffic,
            )
            energy += added
            before = after
            if not ok:
                break
        if ok:
            added, flags, final, ok = finish(frame, spread, fills, wide, state, flags, final, traffic)
            energy += added
        energies[nest] = energy if ok else -1.0
        valid += ok
    return valid


def _random_nests(spread: Any, accelerator: Accelerator, count: int) -> tuple[Any, Any]:
    """Temporal tiles and orders of random nests."""
    draw = random.Random(0)
    levels = accelerator.levels
    tiles = np.ones((count, len(levels), 8), np.int64)
    orders = np.tile(np.arange(8), (count, len(levels), 1))
    for nest in range(count):
        factors = np.ones((len(levels), 8), np.int64)
        for d, dim in enumerate(DIMS):
            homes = [i for i, level in enumerate(levels) if dim in level.loop_dims]
            left, prime = int(spread.bounds[d]), 2
            while left > 1:
                while left % prime == 0:
                    factors[draw.choice(homes), d] *= prime
                    left //= prime
                prime += 1
        tiles[nest] = np.cumprod(factors, axis=0)
        for level in range(len(levels)):
            orders[nest, level] = draw.sample(range(8), 8)
    return tiles, orders


def kernel_rate(
    problem: Problem, accelerator: Accelerator, *, nests: int = 20_000, rounds: int = 20
) -> float:
    """Complete evaluations per CPU second of the compiled kernels.

    Raises:
        AssertionError: the kernels and the reference disagree.
    """
    best = solve(problem, accelerator).mapping
    keeps = tuple(level.keeps for level in best.levels)

    def factors(loops: tuple[tuple[str, int], ...]) -> tuple[int, ...]:
        return tuple(math.prod(bound for name, bound in loops if name == dim) for dim in DIMS)

    fan_outs = SpatialAssignment(
        tuple(factors(level.x) for level in best.levels), tuple(factors(level.y) for level in best.levels)
    )
    frame = frame_of(problem, accelerator, keeps, "physical", limited=False)
    spread = spread_of(problem, accelerator, fan_outs)
    constants = constants_of(problem, accelerator, frame, spread)
    tiles, orders = _random_nests(spread, accelerator, nests)
    energies = np.zeros(nests)
    priced(frame, spread, tiles, orders, constants.partial, energies)
    fitting = energies >= 0
    tiles, orders = np.ascontiguousarray(tiles[fitting]), np.ascontiguousarray(orders[fitting])
    energies = np.zeros(len(tiles))
    priced(frame, spread, tiles, orders, constants.partial, energies)
    _compare(problem, accelerator, best, tiles[:50], orders[:50], energies[:50])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    for _ in range(rounds):
        priced(frame, spread, tiles, orders, constants.partial, energies)
    return rounds * len(tiles) / (resource.getrusage(resource.RUSAGE_SELF).ru_utime - before)


def _compare(
    problem: Problem, accelerator: Accelerator, best: Mapping, tiles: Any, orders: Any, energies: Any
) -> None:
    for tile, order, energy in zip(tiles, orders, energies, strict=True):
        nests, before = [], np.ones(8, np.int64)
        for index, level in enumerate(best.levels):
            loops = tuple((DIMS[d], int(tile[index, d] // before[d])) for d in order[index])
            before = tile[index]
            nests.append(LevelNest(level.name, level.keeps, loops, level.x, level.y))
        reference = evaluate(problem, Mapping(tuple(nests)), accelerator)
        rest = math.fsum(
            [reference.mac_energy_pj, reference.mac_leak_pj, *(l.leak_pj for l in reference.levels)]
        )
        assert not reference.violations and math.isclose(energy + rest, reference.energy_pj, rel_tol=1e-12)


def reference_rate(problem: Problem, accelerator: Accelerator, *, count: int = 500) -> float:
    """Evaluations per CPU second of the reference in plain Python."""
    nest = solve(problem, accelerator).mapping
    before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    for _ in range(count):
        evaluate(problem, nest, accelerator)
    return count / (resource.getrusage(resource.RUSAGE_SELF).ru_utime - before)
