"""Compiled lattice of tiles: for every tile after every stage, the least that all stages outside it must
cost.

A tile costs at least what the cheapest case of its own children costs, and what the cheapest tile costs that
the next stage can reach from it; the tables are filled from the outside in.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from bitjoule.mapping.kernel_bounds import inside_bound, open_bound
from bitjoule.mapping.kernel_frame import LEVEL, PARENT, REST, TENSOR, UNBORN, Frame, Spread
from bitjoule.mapping.kernel_goal import Goal, cannot_win
from bitjoule.mapping.kernel_tiles import fits, volume

__all__ = ["Lattice", "Stages", "outer_table", "stage_bounds"]


class Stages(NamedTuple):
    """Levels grouped by where loops may run: stage s is level `first[s]` with loops, up to `last[s]` without.

    `may[s, d]`: d may iterate there, `reach[s, d]`: there or inside; `must[s, d]`: not further out;
    `exact`, `most`: the only and the greatest factor (0: free). `order[s]`: dimensions that come innermost,
    `ordered[s]` many.
    `lead`: levels inside the first stage.
    """

    lead: int
    first: Any
    last: Any
    may: Any
    reach: Any
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


@njit(cache=True, error_model="numpy")
def _allowed(stages: Stages, stage: int, x: Spread, tile: Any) -> bool:
    """Can a nest have this tile after `stage`?"""
    for d in range(8):
        if tile[d] > 1 and not stages.reach[stage, d]:
            return False
        if stages.must[stage, d] and tile[d] != x.bounds[d]:
            return False
    return True


@njit(cache=True, error_model="numpy")
def _stage_fits(f: Frame, x: Spread, stages: Stages, stage: int, tile: Any, partial: int) -> bool:
    """Does the tile fit every level of a stage, with outputs as narrow as they can be?"""
    for level in range(stages.first[stage], stages.last[stage] + 1):
        if not fits(f, x, level, tile, (partial >> level) & 1 == 1):
            return False
    return True


@njit(cache=True, error_model="numpy")
def _born_bound(
    f: Frame,
    x: Spread,
    stages: Stages,
    stage: int,
    tile: Any,
    partial: int,
    fills: Any,
    spread: Any,
    state: Any,
    nothing: Any,
) -> float:
    """Least cost of the children that a stage with this tile gives rise to."""
    top = stages.last[stage]
    left = 1
    for d in range(8):
        left *= x.bounds[d] // tile[d]
    any_born = False
    for c in range(f.child.shape[0]):
        state[c] = UNBORN
        level = f.child[c, LEVEL]
        if stages.first[stage] <= level <= top:
            any_born = True
            state[c] = REST
            fills[c] = volume(f, x, f.child[c, TENSOR], level, tile) * left
            spread[c] = (
                x.least[f.child[c, TENSOR], min(top, f.child[c, PARENT]) + 1]
                // x.least[f.child[c, TENSOR], level + 1]
            )
    if not any_born:
        return 0.0
    return open_bound(f, x, top, tile, fills, spread, state, partial, nothing)


@njit(cache=True, error_model="numpy")
def outer_table(f: Frame, x: Spread, stages: Stages, stage: int, lattice: Lattice, partial: int) -> Any:
    """What `_born_bound` says of every tile of a stage without fan-outs outside it, and the least over all
    tiles that contain a tile. `x` unrolls nothing: tiles are whole extents, so that the table serves every
    spatial assignment inside."""
    nodes = lattice.tile.shape[0]
    fills = np.zeros(f.child.shape[0], np.int64)
    spread = np.ones(f.child.shape[0], np.int64)
    state = np.zeros(f.child.shape[0], np.int64)
    nothing = np.zeros(0, np.int64)
    table = np.full(nodes, np.inf)
    for node in range(nodes):
        tile = lattice.tile[node]
        if _stage_fits(f, x, stages, stage, tile, partial):
            table[node] = _born_bound(f, x, stages, stage, tile, partial, fills, spread, state, nothing)
    least = table.copy()
    for d in range(8):
        _spread_least(lattice, d, least)
    return table, least


@njit(cache=True, error_model="numpy")
def stage_bounds(
    f: Frame,
    x: Spread,
    stages: Stages,
    lattice: Lattice,
    goal: Goal,
    base: float,
    partial: int,
    shared: Any,
    place: Any,
    thorough: bool,
) -> Any:
    """Least cost of what is born at a tile after a stage and of all stages outside, and of the outside alone.

    Both [stage, node], infinite where the tile fits no level of the stage, no nest can have it, or none that
    has it can beat the incumbent of `goal`; then how many tiles fit no level. `base`: least cost of what is
    born before the first stage.
    `shared`: the `outer_table` of the last stage but one (empty: none), with `place[d, i]` what the i-th
    divisor adds to the index there. `thorough`: ask `inside_bound` too, which costs more and finds more.
    """
    count = stages.first.size
    nodes = lattice.tile.shape[0]
    with_tile = np.full((count, nodes), np.inf)
    outside = np.full((count, nodes), np.inf)
    fills = np.zeros(f.child.shape[0], np.int64)
    spread = np.ones(f.child.shape[0], np.int64)
    state = np.zeros(f.child.shape[0], np.int64)
    nothing = np.zeros(0, np.int64)
    too_large = 0
    for back in range(count):
        s = count - 1 - back
        from_table = shared.size > 0 and s == count - 2
        if s == count - 1:
            outside[s, nodes - 1] = 0.0
        else:
            outside[s] = with_tile[s + 1]
            for d in range(8):
                if stages.may[s + 1, d]:
                    _spread_least(lattice, d, outside[s])
        for node in range(nodes):
            if outside[s, node] == np.inf:
                continue
            tile = lattice.tile[node]
            if not _allowed(stages, s, x, tile):
                outside[s, node] = np.inf
            elif from_table:
                index = 0
                for d in range(8):
                    index += place[d, lattice.position[node, d]]
                with_tile[s, node] = outside[s, node] + shared[index]
            elif _stage_fits(f, x, stages, s, tile, partial):
                with_tile[s, node] = outside[s, node] + _born_bound(
                    f, x, stages, s, tile, partial, fills, spread, state, nothing
                )
            if with_tile[s, node] == np.inf:
                too_large += outside[s, node] < np.inf
            elif s < count - 1:
                if cannot_win(goal, base + with_tile[s, node], goal.cycles):
                    with_tile[s, node] = np.inf
                elif thorough and s > 0:
                    inside = inside_bound(f, x, stages.first[0], stages.last[s], tile, partial, nothing)
                    if cannot_win(goal, base + outside[s, node] + inside, goal.cycles):
                        with_tile[s, node] = np.inf
    return with_tile, outside, too_large


@njit(cache=True, error_model="numpy")
def _spread_least(lattice: Lattice, d: int, value: Any) -> None:
    """value[node] = least value of the tiles that are this one times factors of dimension d."""
    if lattice.count[d] == 1:
        return
    radix = lattice.radix[d]
    nodes = value.size
    for back in range(nodes):
        node = nodes - 1 - back
        at = lattice.position[node, d]
        for k in range(lattice.cover.shape[2]):
            above = lattice.cover[d, at, k]
            if above >= 0:
                other = value[node + (above - at) * radix]
                if other < value[node]:
                    value[node] = other
