"""Compiled labels: inner parts of nests, and which of two can never do worse.

A label has its cost so far, a bound of the whole, and a row of whole numbers: what leads to it, then per
child the fills F it has now, its distinct offsets D and its state, then the traffic where bandwidth counts.
Of two labels with one tile the one stays whose known cost, plus the present cost of those open children
that fetch more than the other's, is not above the other's known cost, and likewise its traffic. Packing is
inside the cost, so dominance is exact.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from bitjoule.mapping.kernel_frame import (
    CLOSED,
    DRAIN,
    FIXED,
    INPUTS,
    OUTPUTS,
    PARENT,
    REST,
    TENSOR,
    UNBORN,
    VARIES,
    Frame,
    Spread,
)
from bitjoule.mapping.kernel_step import child_cost, step_level

__all__ = [
    "ALIVE",
    "BOUND",
    "COST",
    "FINAL",
    "HEAD",
    "NEXT",
    "NODE",
    "ORDER",
    "ORIGIN",
    "PARTIAL",
    "extend",
    "grown",
    "row_size",
    "settled_among",
    "traffic_at",
]

COST = 0
BOUND = 1
"""Columns of a label's values: cost of what is known, least cost of the whole."""

NODE = 0
ORDER = 1
ORIGIN = 2
PARTIAL = 3
FINAL = 4
NEXT = 5
ALIVE = 6
HEAD = 7
"""Columns of a label's row: tile, code of the loop order of its stage, label it grew from, levels (bits)
that hold partial sums, levels that fit only final outputs, next label of the same tile, is it still wanted.
From HEAD on F, D and state of every child, then traffic."""


@njit(cache=True, error_model="numpy")
def traffic_at(f: Frame) -> Any:
    """Where the traffic begins in a row."""
    return HEAD + 3 * f.child.shape[0]


@njit(cache=True, error_model="numpy")
def row_size(f: Frame) -> Any:
    """Length of a row."""
    return traffic_at(f) + f.bandwidth.size


@njit(cache=True, error_model="numpy")
def grown(array: Any, size: int) -> Any:
    """The same rows in an array of `size` rows."""
    wider = np.empty((size, array.shape[1]), array.dtype)
    wider[: array.shape[0]] = array
    return wider


@njit(cache=True, error_model="numpy")
def extend(f: Frame, x: Spread, first: int, last: int, before: Any, after: Any, order: Any, row: Any) -> Any:
    """Add the levels `first` to `last` to the label in `row`, whose tile is `before`; loops reach `after`.

    Returns (cost that became known, does it fit); `row` is changed.
    """
    count = f.child.shape[0]
    fills = row[HEAD : HEAD + count]
    spread = row[HEAD + count : HEAD + 2 * count]
    state = row[HEAD + 2 * count : HEAD + 3 * count]
    traffic = row[HEAD + 3 * count :]
    energy = 0.0
    inside = before
    for level in range(first, last + 1):
        added, row[PARTIAL], row[FINAL], fits = step_level(
            f, x, level, inside, after, order, fills, spread, state, row[PARTIAL], row[FINAL], traffic
        )
        energy += added
        inside = after
        if not fits:
            return energy, False
    return energy, True


@njit(cache=True, error_model="numpy")
def _no_more(c: int, count: int, a: Any, b: Any) -> bool:
    """Will child c of label a never fetch more than that of b?"""
    state_a, state_b = a[HEAD + 2 * count + c], b[HEAD + 2 * count + c]
    if state_b == CLOSED or a[HEAD + c] > b[HEAD + c] or a[HEAD + count + c] > b[HEAD + count + c]:
        return False
    return bool(state_a == state_b or state_b == FIXED)


@njit(cache=True, error_model="numpy")
def _dominates(
    f: Frame, x: Spread, level: int, cost_a: float, a: Any, cost_b: float, b: Any, traffic: Any
) -> bool:
    """Can no completion of b be better than the same completion of a? Both have one tile after `level`.

    `traffic`: room for the traffic of a.
    """
    if cost_a > cost_b or (a[PARTIAL] & ~b[PARTIAL]) != 0 or (a[FINAL] & ~b[FINAL]) != 0:
        return False
    count = f.child.shape[0]
    begin = HEAD + 3 * count
    for i in range(traffic.size):
        traffic[i] = a[begin + i]
    # where a's outputs may be handed up more often than b's, the width of outer partial sums could differ
    loose = False
    for c in range(count):
        state = a[HEAD + 2 * count + c]
        waiting = f.child[c, TENSOR] == OUTPUTS and (state == REST or state == FIXED)
        if waiting and not _no_more(c, count, a, b):
            if f.child[c, PARENT] > level or f.level[f.child[c, PARENT], DRAIN] == 1 or a[FINAL] != 0:
                return False
            loose = True
    for c in range(count):
        state = a[HEAD + 2 * count + c]
        if state == CLOSED or state == UNBORN:
            continue
        t, parent = f.child[c, TENSOR], f.child[c, PARENT]
        if (not loose) if t == OUTPUTS else _no_more(c, count, a, b):
            continue
        # as if no loop outside left it at rest: the most it can still cost
        wide = a[HEAD + count + c]
        if parent > level:
            if t == INPUTS:
                for outer in range(level + 1, parent + 1):
                    if x.level[outer, VARIES] == 1:
                        return False
            wide *= x.least[t, parent + 1] // x.least[t, level + 1]
        cost_a += child_cost(f, x, c, a[HEAD + c], wide, np.int64(-1), np.int64(0), traffic)
        if cost_a > cost_b:
            return False
    for i in range(traffic.size):
        if traffic[i] > b[begin + i]:
            return False
    return True


@njit(cache=True, error_model="numpy")
def settled_among(
    f: Frame,
    x: Spread,
    level: int,
    values: Any,
    rows: Any,
    heads: Any,
    node: int,
    cost: float,
    row: Any,
    traffic: Any,
) -> int:
    """Compare a new label with those of its tile: -1 if one of them makes it needless, else how many it makes
    needless; these are taken out of the tile's list."""
    other = heads[node]
    while other >= 0:
        if _dominates(f, x, level, values[other, COST], rows[other], cost, row, traffic):
            return -1
        other = rows[other, NEXT]
    needless = 0
    previous = -1
    other = heads[node]
    while other >= 0:
        following = rows[other, NEXT]
        if _dominates(f, x, level, cost, row, values[other, COST], rows[other], traffic):
            rows[other, ALIVE] = 0
            needless += 1
            if previous < 0:
                heads[node] = following
            else:
                rows[previous, NEXT] = following
        else:
            previous = other
        other = following
    return needless
