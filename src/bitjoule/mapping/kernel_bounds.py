"""Compiled bounds: what a nest must still cost, whatever its outer loops will be.

At the innermost loop outside a set of children one class of loops comes first, so at most one tensor is at
rest there: the others are fetched again by every loop. Splitting loops over levels never creates reuse
(mapping.md 4.3).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from bitjoule.mapping.kernel_frame import (
    CAPACITY,
    CLOSED,
    DISTINCT,
    FIXED,
    INPUTS,
    INSTANCES,
    LEVEL,
    OUTER,
    OUTPUTS,
    PARENT,
    TENSOR,
    UNBORN,
    VISITS,
    WEIGHTS,
    WORD_D,
    WORD_N,
    Frame,
    Spread,
)
from bitjoule.mapping.kernel_step import child_cost
from bitjoule.mapping.kernel_tiles import ceil_div, distinct_offsets, input_box, volume

__all__ = ["compulsory_bound", "inside_bound", "open_bound"]

N, G, K, C, P, Q, R, S = range(8)


@njit(cache=True, error_model="numpy")
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


@njit(cache=True, error_model="numpy")
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
    free_w = (x.bounds[N] // tile[N]) * (x.bounds[P] // tile[P]) * (x.bounds[Q] // tile[Q])
    free_o = (x.bounds[C] // tile[C]) * (x.bounds[R] // tile[R]) * (x.bounds[S] // tile[S])
    free_i = x.bounds[K] // tile[K]
    known = 0.0
    moving_w = resting_w = moving_o = resting_o = resting_i = sliding_w = sliding_o = 0.0
    for c in range(f.child.shape[0]):
        if state[c] == UNBORN or state[c] == CLOSED:
            continue
        t = f.child[c, TENSOR]
        wide = spread[c]
        if f.child[c, PARENT] > level:
            wide *= x.least[t, f.child[c, PARENT] + 1] // x.least[t, level + 1]
        if state[c] == FIXED:
            known += child_cost(f, x, c, fills[c], wide, partial, np.int64(0), nothing)
        elif t == WEIGHTS:
            cost = child_cost(f, x, c, fills[c], wide, partial, np.int64(0), nothing)
            moving_w += cost
            if free_w > 1:
                cost = child_cost(f, x, c, fills[c] // free_w, wide, partial, np.int64(0), nothing)
            resting_w += cost
        elif t == OUTPUTS:
            cost = child_cost(f, x, c, fills[c], wide, partial, np.int64(0), nothing)
            moving_o += cost
            if free_o > 1:
                cost = child_cost(f, x, c, fills[c] // free_o, wide, partial, np.int64(0), nothing)
            resting_o += cost
        else:
            by_output = _slide(f, x, f.child[c, LEVEL], tile, P, Q)
            by_kernel = _slide(f, x, f.child[c, LEVEL], tile, R, S)
            cost = child_cost(f, x, c, _part(fills[c], by_output), wide, partial, np.int64(0), nothing)
            sliding_w += cost
            if by_kernel != by_output:
                cost = child_cost(f, x, c, _part(fills[c], by_kernel), wide, partial, np.int64(0), nothing)
            sliding_o += cost
            left = _part(fills[c] // free_i, min(by_output, by_kernel))
            resting_i += child_cost(f, x, c, left, wide, partial, np.int64(0), nothing)
    weights = resting_w + moving_o + sliding_w
    outputs = resting_o + moving_w + sliding_o
    inputs = resting_i + moving_w + moving_o
    return known + min(weights, outputs, inputs)


@njit(cache=True, error_model="numpy")
def _part(fills: int, part: float) -> int:
    """A part of fills, rounded down with room for the rounding of the part."""
    return int(fills * part * (1.0 - 1e-12)) if part < 1.0 else fills


@njit(cache=True, error_model="numpy")
def _moves(f: Frame, x: Spread, tensor: int, level: int, tile: Any, grown: Any, to_end: bool) -> Any:
    """Least fetches of a child whose run of rest and window ended within `tile`.

    A run that ended inside makes the buffer fetch, for each loop outside, at least what the tile would
    hold, of inputs the least density of elements that a part of the tile can have (a stride may leave
    holes). `grown`: dimension that the window slid over to its end (-1: none); `to_end`: K too.
    """
    inner = x.inner[level]
    outside = 1
    for d in range(8):
        if d != grown and not (to_end and d == K):
            outside *= x.bounds[d] // tile[d]
    if tensor != INPUTS:
        return volume(f, x, tensor, level, tile) * outside
    area = tile[N] * inner[N] * tile[G] * inner[G] * tile[C] * inner[C]
    p = x.bounds[P] if grown == P else tile[P]
    q = x.bounds[Q] if grown == Q else tile[Q]
    r = x.bounds[R] if grown == R else tile[R]
    s = x.bounds[S] if grown == S else tile[S]
    rows = _least_extent(p, inner[P], f.window[0], r, inner[R], f.window[1])
    columns = _least_extent(q, inner[Q], f.window[2], s, inner[S], f.window[3])
    return int(area * outside * rows * columns * (1.0 - 1e-12))


@njit(cache=True, error_model="numpy")
def _least_extent(a: int, inner_a: int, step_a: int, b: int, inner_b: int, step_b: int) -> float:
    """a * b times the least extent per iteration of a part of a window axis: it lies at a corner."""
    least = np.inf
    for i in (1, a):
        for j in (1, b):
            extent = 1 + step_a * (i * inner_a - 1) + step_b * (j * inner_b - 1)
            least = min(least, extent / (i * j))
    return least * a * b


@njit(cache=True, error_model="numpy")
def inside_bound(f: Frame, x: Spread, lowest: int, top: int, tile: Any, partial: int, nothing: Any) -> float:
    """Least energy of all children born at levels `lowest` to `top` of nests with this tile after `top`.

    Outside the tile one class of loops comes first: children of one tensor may still be at rest there, and
    only with a tile that is whole in the dimensions they depend on, so that they hold what `tile` holds.
    The others have stopped inside.
    """
    moving_w = resting_w = moving_o = resting_o = resting_i = sliding_w = sliding_o = 0.0
    for c in range(f.child.shape[0]):
        level = f.child[c, LEVEL]
        if level < lowest or level > top:
            continue
        t = f.child[c, TENSOR]
        wide = x.least[t, f.child[c, PARENT] + 1] // x.least[t, level + 1]
        capacity = f.level[level, CAPACITY]
        held = ceil_div(volume(f, x, t, level, tile) * f.level[level, WORD_N + t], f.level[level, WORD_D + t])
        rests = capacity < 0 or held <= capacity
        if t == INPUTS:
            still = _moves(f, x, t, level, tile, np.int64(-1), False)
            by_output, by_kernel, at_rest = still, still, still
            for d in (P, Q, R, S):
                if x.bounds[d] > tile[d]:
                    slid = _moves(f, x, t, level, tile, d, False)
                    if d in (P, Q):
                        by_output = min(by_output, slid)
                    else:
                        by_kernel = min(by_kernel, slid)
                    if rests:
                        at_rest = min(at_rest, _moves(f, x, t, level, tile, d, True))
            if rests:
                at_rest = min(at_rest, _moves(f, x, t, level, tile, np.int64(-1), True))
            sliding_w += child_cost(f, x, c, by_output, wide, partial, np.int64(0), nothing)
            sliding_o += child_cost(f, x, c, by_kernel, wide, partial, np.int64(0), nothing)
            resting_i += child_cost(f, x, c, at_rest, wide, partial, np.int64(0), nothing)
            continue
        fills = _moves(f, x, t, level, tile, np.int64(-1), False)
        cost = child_cost(f, x, c, fills, wide, partial, np.int64(0), nothing)
        free = 1
        if t == WEIGHTS:
            moving_w += cost
            free = (x.bounds[N] // tile[N]) * (x.bounds[P] // tile[P]) * (x.bounds[Q] // tile[Q])
        else:
            moving_o += cost
            free = (x.bounds[C] // tile[C]) * (x.bounds[R] // tile[R]) * (x.bounds[S] // tile[S])
        if rests and free > 1:
            cost = child_cost(f, x, c, fills // free, wide, partial, np.int64(0), nothing)
        if t == WEIGHTS:
            resting_w += cost
        else:
            resting_o += cost
    return min(
        resting_w + moving_o + sliding_w, resting_o + moving_w + sliding_o, resting_i + moving_w + moving_o
    )


@njit(cache=True, error_model="numpy")
def compulsory_bound(f: Frame, x: Spread, inside: int, partial: int, nothing: Any) -> float:
    """Least energy of the children born inside level `inside` that fetch from a tensor's home.

    Every element of a tensor leaves its home at least once (those of inputs that a stride skips need not),
    and every output is handed up at least once.
    """
    energy = 0.0
    last = x.inner.shape[0] - 1
    total = np.empty(8, np.int64)
    for d in range(8):
        total[d] = x.bounds[d] * x.inner[last, d]
    for c in range(f.child.shape[0]):
        if f.child[c, OUTER] >= 0 or f.child[c, LEVEL] < 0 or f.child[c, LEVEL] >= inside:
            continue
        t, home = f.child[c, TENSOR], f.child[c, PARENT]
        wide = np.int64(1)
        for level in range(f.child[c, LEVEL] + 1, home + 1):
            if t == INPUTS:
                for d in (N, G, C, P, Q, R, S):
                    wide *= x.sp[level, d]
            else:
                wide *= x.level[level, DISTINCT + t]
        if t == OUTPUTS:
            fills = x.level[f.child[c, LEVEL], VISITS]
        else:
            elements = total[G] * total[C]
            if t == WEIGHTS:
                elements *= total[K] * total[R] * total[S]
            else:
                rows = distinct_offsets(total[P], f.window[0], total[R], f.window[1])
                columns = distinct_offsets(total[Q], f.window[2], total[S], f.window[3])
                elements *= total[N] * rows * columns
            fills = elements // (wide * x.level[home, INSTANCES])
        energy += child_cost(f, x, c, fills, wide, partial, np.int64(0), nothing)
    return energy
