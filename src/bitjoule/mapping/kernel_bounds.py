"""Compiled bounds: what a nest must still cost, whatever its outer loops will be.

At the innermost loop outside a set of children one class of loops comes first, so at most one tensor is at rest
there: the others are fetched again by every loop. Splitting loops over levels never creates reuse. So the
children born at a tile cost at least the cheapest of three cases (weights, outputs or inputs at rest through all
remaining loops that leave them at rest), and a tile costs at least what the cheapest reachable tile of the next
stage costs (mapping.md 4.3).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from bitjoule.mapping.kernel_step import (
    CLOSED,
    FIXED,
    INPUTS,
    OUTPUTS,
    REST,
    UNBORN,
    WEIGHTS,
    Frame,
    Spread,
    child_cost,
    fits,
    input_box,
    volume,
)

__all__ = ["Lattice", "Stages", "open_bound", "stage_bounds"]

N, G, K, C, P, Q, R, S = range(8)


class Stages(NamedTuple):
    """Levels grouped by where loops may run: stage s is level `first[s]` with loops, up to `last[s]` without.

    `may[s, d]`: d may iterate there; `must[s, d]`: d may not iterate further out; `exact`, `most`: the only and
    the greatest factor (0: free). `order[s]`: dimensions that come innermost, `ordered[s]` many.
    `lead`: levels inside the first stage.
    """

    lead: int
    first: Any
    last: Any
    may: Any
    must: Any
    exact: Any
    most: Any
    order: Any
    ordered: Any


class Lattice(NamedTuple):
    """All temporal tiles: divisors per dimension, and per node their positions and values.

    `cover[d, i]`: positions of the divisors that are a prime times divisor i (-1: none).
    """

    count: Any
    radix: Any
    divisor: Any
    cover: Any
    position: Any
    tile: Any


@njit(cache=True)
def _slide(f: Frame, x: Spread, level: int, tile: Any, first: int, second: int) -> Any:
    """Least part of the input fetches that is left when one of two loops slides the window."""
    area, rows, columns = input_box(f, x, level, tile)
    inner = x.inner[level]
    least = 1.0
    for i in range(2):
        d = first if i == 0 else second
        bound = x.bounds[d] // tile[d]
        if bound == 1:
            continue
        move = tile[d] * inner[d]
        if d == P or d == R:
            move *= f.window[0] if d == P else f.window[1]
            fresh = min(rows, move) / rows
        else:
            move *= f.window[2] if d == Q else f.window[3]
            fresh = min(columns, move) / columns
        part = (1.0 + (bound - 1) * fresh) / bound
        least = min(least, part)
    return least


@njit(cache=True)
def open_bound(
    f: Frame,
    x: Spread,
    level: int,
    tile: Any,
    fills: Any,
    spread: Any,
    state: Any,
    partial: int,
    nothing: Any,
) -> float:
    """Least energy of the children whose cost is not known yet, after `level` with temporal tile `tile`."""
    free = np.ones(3, np.int64)
    free[WEIGHTS] = (x.bounds[N] // tile[N]) * (x.bounds[P] // tile[P]) * (x.bounds[Q] // tile[Q])
    free[OUTPUTS] = (x.bounds[C] // tile[C]) * (x.bounds[R] // tile[R]) * (x.bounds[S] // tile[S])
    free[INPUTS] = x.bounds[K] // tile[K]
    known = 0.0
    moving = np.zeros(3)
    resting = np.zeros(3)
    sliding = np.zeros(2)
    for c in range(f.ct.size):
        if state[c] == UNBORN or state[c] == CLOSED:
            continue
        t = f.ct[c]
        wide = spread[c]
        if f.cpar[c] > level:
            wide *= x.least[t, f.cpar[c] + 1] // x.least[t, level + 1]
        if state[c] == FIXED:
            known += child_cost(f, x, c, fills[c], wide, partial, 0, nothing)[0]
            continue
        if t != INPUTS:
            moving[t] += child_cost(f, x, c, fills[c], wide, partial, 0, nothing)[0]
            resting[t] += child_cost(f, x, c, fills[c] // free[t], wide, partial, 0, nothing)[0]
            continue
        by_output = _slide(f, x, f.clev[c], tile, P, Q)
        by_kernel = _slide(f, x, f.clev[c], tile, R, S)
        sliding[0] += child_cost(f, x, c, _part(fills[c], by_output), wide, partial, 0, nothing)[0]
        sliding[1] += child_cost(f, x, c, _part(fills[c], by_kernel), wide, partial, 0, nothing)[0]
        left = _part(fills[c] // free[t], min(by_output, by_kernel))
        resting[t] += child_cost(f, x, c, left, wide, partial, 0, nothing)[0]
    weights = resting[WEIGHTS] + moving[OUTPUTS] + sliding[0]
    outputs = resting[OUTPUTS] + moving[WEIGHTS] + sliding[1]
    inputs = resting[INPUTS] + moving[WEIGHTS] + moving[OUTPUTS]
    return known + min(weights, outputs, inputs)


@njit(cache=True)
def _part(fills: int, part: float) -> int:
    """A part of fills, rounded down with room for the rounding of the part."""
    return int(fills * part * (1.0 - 1e-12)) if part < 1.0 else fills


@njit(cache=True)
def _allowed(stages: Stages, stage: int, x: Spread, tile: Any) -> bool:
    """Can a nest have this tile after `stage`?"""
    for d in range(8):
        if stages.must[stage, d] and tile[d] != x.bounds[d]:
            return False
        if tile[d] > 1:
            reachable = False
            for s in range(stage + 1):
                reachable = reachable or stages.may[s, d]
            if not reachable:
                return False
    return True


@njit(cache=True)
def stage_bounds(f: Frame, x: Spread, stages: Stages, lattice: Lattice, partial: int) -> Any:
    """(least cost of what is born at a tile after a stage and of all stages outside, least cost of the outside).

    Both [stage, node], infinite where the tile fits no level of the stage or no nest can have it.
    """
    count = stages.first.size
    nodes = lattice.tile.shape[0]
    with_tile = np.full((count, nodes), np.inf)
    outside = np.full((count, nodes), np.inf)
    fills = np.zeros(f.ct.size, np.int64)
    spread = np.ones(f.ct.size, np.int64)
    state = np.zeros(f.ct.size, np.int64)
    nothing = np.zeros(0, np.int64)
    for back in range(count):
        s = count - 1 - back
        top = stages.last[s]
        if s == count - 1:
            outside[s, nodes - 1] = 0.0
        else:
            _least_reachable(stages, s + 1, lattice, with_tile[s + 1], outside[s])
        for node in range(nodes):
            if outside[s, node] == np.inf:
                continue
            tile = lattice.tile[node]
            ok = _allowed(stages, s, x, tile)
            level = stages.first[s]
            while ok and level <= top:
                ok = fits(f, x, level, tile, (partial >> level) & 1 == 1)
                level += 1
            if not ok:
                outside[s, node] = np.inf
                continue
            left = 1
            for d in range(8):
                left *= x.bounds[d] // tile[d]
            any_born = False
            for c in range(f.ct.size):
                state[c] = UNBORN
                if stages.first[s] <= f.clev[c] <= top:
                    any_born = True
                    state[c] = REST
                    fills[c] = volume(f, x, f.ct[c], f.clev[c], tile) * left
                    spread[c] = x.least[f.ct[c], top + 1] // x.least[f.ct[c], f.clev[c] + 1]
                    if f.cpar[c] <= top:
                        spread[c] = x.least[f.ct[c], f.cpar[c] + 1] // x.least[f.ct[c], f.clev[c] + 1]
            with_tile[s, node] = outside[s, node]
            if any_born:
                with_tile[s, node] += open_bound(f, x, top, tile, fills, spread, state, partial, nothing)
    return with_tile, outside


@njit(cache=True)
def _least_reachable(stages: Stages, stage: int, lattice: Lattice, value: Any, out: Any) -> None:
    """out[node] = least value of the nodes that loops of `stage` lead to."""
    nodes = value.size
    for node in range(nodes):
        out[node] = value[node]
    for d in range(8):
        if not stages.may[stage, d] or lattice.count[d] == 1:
            continue
        radix = lattice.radix[d]
        for back in range(nodes):
            node = nodes - 1 - back
            at = lattice.position[node, d]
            for k in range(lattice.cover.shape[2]):
                above = lattice.cover[d, at, k]
                if above >= 0:
                    other = out[node + (above - at) * radix]
                    if other < out[node]:
                        out[node] = other
