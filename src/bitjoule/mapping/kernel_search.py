"""Compiled search: the cheapest nest of one spatial assignment, by labels that grow outwards stage by stage.

A label whose bound cannot beat the incumbent is dropped; of labels with one tile only those stay that no
other makes needless (`kernel_labels`). Tiles are tried in the order of their bounds, so that a label stops
at the first tile that cannot win.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from bitjoule.mapping.kernel_bounds import open_bound
from bitjoule.mapping.kernel_frame import Frame, Spread
from bitjoule.mapping.kernel_goal import Goal, cannot_win, cycles_of, improved
from bitjoule.mapping.kernel_labels import (
    ALIVE,
    BOUND,
    COST,
    FINAL,
    HEAD,
    NEXT,
    NODE,
    ORDER,
    ORIGIN,
    PARTIAL,
    extend,
    grown,
    row_size,
    settled_among,
    traffic_at,
)
from bitjoule.mapping.kernel_lattice import Lattice, Stages, stage_bounds
from bitjoule.mapping.kernel_orders import MAX_ORDERS, loop_orders, order_code
from bitjoule.mapping.kernel_step import finish, start
from bitjoule.mapping.kernel_tiles import fits

__all__ = ["BOUNDED", "COMPLETE", "DOMINATED", "GIVEN_UP", "LABELS", "TOO_LARGE", "search_spread"]

LABELS = 0
BOUNDED = 1
DOMINATED = 2
COMPLETE = 3
TOO_LARGE = 4
GIVEN_UP = 5
"""Counters: labels kept, dropped by their bound, made needless by others, complete nests priced, tiles that
fit no level; 1 if given up."""


@njit(cache=True, error_model="numpy")
def _open(f: Frame, x: Spread, level: int, tile: Any, row: Any, nothing: Any) -> float:
    """`open_bound` of a label."""
    count = f.child.shape[0]
    return open_bound(
        f,
        x,
        level,
        tile,
        row[HEAD : HEAD + count],
        row[HEAD + count : HEAD + 2 * count],
        row[HEAD + 2 * count : HEAD + 3 * count],
        row[PARTIAL],
        nothing,
    )


@njit(cache=True, error_model="numpy")
def _may_follow(stages: Stages, stage: int, before: Any, after: Any) -> bool:
    """Do the factors from one tile to the next keep to the constraints of a stage?"""
    for d in range(8):
        exact, most = stages.exact[stage, d], stages.most[stage, d]
        if after[d] == before[d]:
            if exact > 1:
                return False
            continue
        if not stages.may[stage, d] or after[d] % before[d] != 0:
            return False
        ratio = after[d] // before[d]
        if (exact > 0 and ratio != exact) or (most > 0 and ratio > most):
            return False
    return True


@njit(cache=True, error_model="numpy")
def _least_first(stages: Stages, lattice: Lattice, with_tile: Any) -> float:
    """Least bound of the tiles that the first stage can reach."""
    least = np.inf
    for node in range(lattice.tile.shape[0]):
        if with_tile[0, node] < least:
            reachable = True
            for d in range(8):
                if lattice.tile[node, d] > 1 and not stages.may[0, d]:
                    reachable = False
            if reachable:
                least = with_tile[0, node]
    return least


@njit(cache=True, error_model="numpy", nogil=True)
def search_spread(
    f: Frame,
    x: Spread,
    stages: Stages,
    lattice: Lattice,
    goal: Goal,
    partial: int,
    shared: Any,
    place: Any,
    beam: int,
    scan: int,
    max_labels: int,
    max_steps: int,
    thorough: bool,
) -> Any:
    """The best nest of one spatial assignment, if it beats the incumbent of `goal`.

    `partial`: levels known to hold partial sums. `shared`, `place`: see `stage_bounds`. `beam`, `scan`:
    keep only so many labels per stage and tiles per label (0: all, which is what proves the optimum).
    `max_labels`,
    `max_steps`: give up beyond so many labels, or nests extended by a stage (0: never); `thorough`: see
    `stage_bounds`.

    Returns (found, energy without constants and leakage, cycles, tile and order code per stage, least bound
    of the assignment, counters).
    """
    count = stages.first.size
    counters = np.zeros(6, np.int64)
    best_nodes = np.zeros(count, np.int64)
    best_orders = np.zeros(count, np.int64)
    best_energy, best_cycles, found = 0.0, 0, False
    nothing = np.zeros(0, np.int64)
    ones = np.ones(8, np.int64)
    children, begin = f.child.shape[0], traffic_at(f)

    size = 256
    values = np.empty((size, 2))
    rows = np.empty((size, row_size(f)), np.int64)
    row = rows[0]
    row[:] = 0
    row[ORIGIN], row[PARTIAL], row[NEXT], row[ALIVE] = -1, partial, -1, 1
    wide = HEAD + children
    start(f, x, row[HEAD:wide], row[wide : wide + children], row[begin - children : begin])
    energy, fit = extend(f, x, 0, stages.lead - 1, ones, ones, np.arange(8), row)
    for level in range(stages.lead):
        fit = fit and fits(f, x, level, ones, False)
    if not fit:
        return found, best_energy, best_cycles, best_nodes, best_orders, np.inf, counters
    root = energy + _open(f, x, stages.lead - 1, ones, row, nothing)
    with_tile, outside, counters[TOO_LARGE] = stage_bounds(
        f, x, stages, lattice, goal, root, partial, shared, place, thorough
    )
    root += _least_first(stages, lattice, with_tile)
    if root == np.inf or cannot_win(goal, root, goal.cycles):
        counters[BOUNDED] += 1
        return found, best_energy, best_cycles, best_nodes, best_orders, root, counters
    values[0, COST], values[0, BOUND] = energy, root

    heads = np.empty(lattice.tile.shape[0], np.int64)
    orders = np.empty((MAX_ORDERS, 8), np.int64)
    row = np.empty(rows.shape[1], np.int64)
    room = np.empty(rows.shape[1] - begin, np.int64)
    used, low, high, steps = 1, 0, 1, 0
    for s in range(count):
        first, last = stages.first[s], stages.last[s]
        heads[:] = -1
        nodes = np.flatnonzero(with_tile[s] < np.inf)
        nodes = nodes[np.argsort(with_tile[s][nodes], kind="mergesort")]
        labels = np.arange(low, high)
        if beam > 0 and high - low > beam:
            labels = low + np.argsort(values[low:high, BOUND], kind="mergesort")[:beam]
        for label in labels:
            if rows[label, ALIVE] == 0:
                continue
            cycles = cycles_of(goal, f.bandwidth, rows[label, begin:])
            if cannot_win(goal, values[label, BOUND], cycles):
                counters[BOUNDED] += 1
                continue
            before = lattice.tile[rows[label, NODE]]
            base = values[label, COST] + _open(f, x, first - 1, before, rows[label], nothing)
            seen = 0
            for rank in range(nodes.size):
                node = nodes[rank]
                if cannot_win(goal, base + with_tile[s, node], cycles):
                    break
                after = lattice.tile[node]
                if not _may_follow(stages, s, before, after):
                    continue
                seen += 1
                if scan > 0 and seen > scan:
                    break
                resting = rows[label, begin - children : begin]
                many = loop_orders(f, stages, s, before, after, resting, orders)
                steps += many
                if max_steps > 0 and steps > max_steps:
                    counters[GIVEN_UP] = 1
                    return found, best_energy, best_cycles, best_nodes, best_orders, root, counters
                for o in range(many):
                    row[:] = rows[label]
                    energy, fit = extend(f, x, first, last, before, after, orders[o], row)
                    energy += values[label, COST]
                    if not fit:
                        counters[TOO_LARGE] += 1
                        continue
                    if s == count - 1:
                        counters[COMPLETE] += 1
                        added, row[PARTIAL], row[FINAL], fit = finish(
                            f,
                            x,
                            row[HEAD : HEAD + children],
                            row[HEAD + children : HEAD + 2 * children],
                            row[begin - children : begin],
                            row[PARTIAL],
                            row[FINAL],
                            row[begin:],
                        )
                        energy += added
                        took = cycles_of(goal, f.bandwidth, row[begin:])
                        if not fit or cannot_win(goal, energy, took):
                            continue
                        found, best_energy, best_cycles = True, energy, took
                        goal = improved(goal, energy, took)
                        best_nodes[s], best_orders[s] = node, order_code(orders[o])
                        at = label
                        for back in range(s):
                            best_nodes[s - 1 - back] = rows[at, NODE]
                            best_orders[s - 1 - back] = rows[at, ORDER]
                            at = rows[at, ORIGIN]
                        continue
                    bound = energy + outside[s, node] + _open(f, x, last, after, row, nothing)
                    if cannot_win(goal, bound, cycles_of(goal, f.bandwidth, row[begin:])):
                        counters[BOUNDED] += 1
                        continue
                    needless = settled_among(f, x, last, values, rows, heads, node, energy, row, room)
                    counters[DOMINATED] += abs(needless)
                    if needless < 0:
                        continue
                    if used == size:
                        size *= 2
                        values, rows = grown(values, size), grown(rows, size)
                    row[NODE], row[ORDER], row[ORIGIN] = node, order_code(orders[o]), label
                    row[NEXT], row[ALIVE] = heads[node], 1
                    rows[used] = row
                    values[used, COST], values[used, BOUND] = energy, bound
                    heads[node] = used
                    used += 1
                    counters[LABELS] += 1
                    if used >= max_labels:
                        counters[GIVEN_UP] = 1
                        return found, best_energy, best_cycles, best_nodes, best_orders, root, counters
        low, high = high, used
    return found, best_energy, best_cycles, best_nodes, best_orders, root, counters
