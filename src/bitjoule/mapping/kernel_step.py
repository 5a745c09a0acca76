"""Compiled counting: what one level adds to a nest that is built from the MAC units outwards.

A *child* is a buffer (or the MAC units) that fetches one tensor from its *parent*, the next level outwards
that keeps it. Its fills F are V times all loops outside it; walking outwards, F shrinks while the loops
leave the tensor at rest, takes the window factor at the first loop that moves it, and is then fixed (law
E2). Once F is fixed and the parent is reached, everything the child costs is known exactly, packing
included: the energy of a nest is a sum over its children of non-decreasing functions of F.

The same law in plain Python is `counts.py` and `evaluate.py`; tests hold the two together.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

__all__ = [
    "BLOCK_D",
    "BLOCK_N",
    "BORN",
    "CAPACITY",
    "CAPPED",
    "CLOSED",
    "CLUSTERS",
    "DISTINCT",
    "DRAIN",
    "FIXED",
    "FRAME_COLUMNS",
    "INNER",
    "INSTANCES",
    "LEVEL",
    "NOC",
    "OUTER",
    "OUTERMOST",
    "PARENT",
    "PSUM_D",
    "PSUM_N",
    "READ",
    "REST",
    "SPREAD_COLUMNS",
    "TENSOR",
    "TRACK",
    "UNBORN",
    "UPDATE",
    "VARIES",
    "VISITS",
    "WORD_D",
    "WORD_N",
    "WRITE",
    "Frame",
    "Spread",
    "ceil_div",
    "child_cost",
    "distinct_offsets",
    "finish",
    "fits",
    "input_box",
    "start",
    "step_level",
]

UNBORN = 0
REST = 1
FIXED = 2
CLOSED = 3
"""States of a child: not reached yet (UNBORN); no loop has moved it; F is known; its cost is in the sum."""

N, G, K, C, P, Q, R, S = range(8)
WEIGHTS, INPUTS, OUTPUTS = range(3)


TENSOR = 0
LEVEL = 1
PARENT = 2
INNER = 3
OUTER = 4
"""Columns of `Frame.child`: tensor, level (-1: MAC units), parent level, next child inwards and outwards of
the same tensor (-1: none)."""

CAPACITY = 0
PSUM_N = 1
PSUM_D = 2
BLOCK_N = 3
BLOCK_D = 4
DRAIN = 5
OUTERMOST = 6
TRACK = 7
CAPPED = 8
WORD_N = 11
WORD_D = 14
BORN = 17
FRAME_COLUMNS = 20
"""Columns of `Frame.level`: words (-1: unbounded); words of n partial sums are ceil(n*PSUM_N/PSUM_D);
accesses of n words are ceil(n*BLOCK_D/BLOCK_N); are finished outputs read out again; is it the home of
outputs; place of its traffic in `bandwidth` (-1: no limit that can bind). Per tensor: does it count in the
capacity; words of n elements are ceil(n*WORD_N/WORD_D); the child born there (-1: none)."""

READ = 0
WRITE = 1
UPDATE = 2
NOC = 3
"""Columns of `Frame.price`, in pJ."""

INSTANCES = 0
CLUSTERS = 1
VISITS = 2
VARIES = 3
DISTINCT = 4
SPREAD_COLUMNS = 7
"""Columns of `Spread.level`: instances and clusters in use; outputs that one instance writes once, U of law
E4; do distinct input offsets depend on the tile; per tensor the distinct offsets of the fan-out, for inputs
a lower bound where they vary."""


class Frame(NamedTuple):
    """A problem on a hardware with a keep set. Levels innermost first, children by tensor, then level.

    `child`, `level`, `price`: see the columns above. `window`: stride and dilation of rows, then of columns.
    `bandwidth`: words per cycle, reads at 2k and writes at 2k+1. Few arrays, because a call of a compiled
    function costs time for each.
    """

    child: Any
    level: Any
    price: Any
    window: Any
    bandwidth: Any


class Spread(NamedTuple):
    """A spatial assignment: what is unrolled where, and what follows from it.

    `sp[l, d]`: fan-out factors of level l; `inner[l, d]`: their product up to and with level l. `bounds`:
    what is left to iterate in time. `level`: see the columns above. `least[t, l]`: product of the distinct
    offsets of tensor t over levels < l.
    """

    sp: Any
    inner: Any
    bounds: Any
    level: Any
    least: Any


@njit(cache=True, error_model="numpy")
def ceil_div(a: int, b: int) -> int:
    """ceil(a / b) of non-negative whole numbers."""
    return (a + b - 1) // b


@njit(cache=True, error_model="numpy")
def _gcd(a: int, b: int) -> int:
    while b:
        a, b = b, a % b
    return a


@njit(cache=True, error_model="numpy")
def distinct_offsets(count_a: int, step_a: int, count_b: int, step_b: int) -> int:
    """Distinct values of i*step_a + j*step_b over i < count_a, j < count_b."""
    if count_a == 1 or count_b == 1:
        return count_a * count_b
    common = _gcd(step_a, step_b)
    return count_a * count_b - max(0, count_a - step_b // common) * max(0, count_b - step_a // common)


@njit(cache=True, error_model="numpy")
def input_distinct(f: Frame, x: Spread, level: int, tile: Any) -> Any:
    """Distinct input offsets of the fan-out of `level`, `tile` being the temporal tile below it."""
    if x.level[level, VARIES] == 0:
        return x.level[level, DISTINCT + INPUTS]
    sp = x.sp[level]
    step = np.ones(8, np.int64)
    for d in (P, Q, R, S):
        step[d] = tile[d] * (x.inner[level - 1, d] if level > 0 else 1)
    rows = distinct_offsets(sp[P], f.window[0] * step[P], sp[R], f.window[1] * step[R])
    columns = distinct_offsets(sp[Q], f.window[2] * step[Q], sp[S], f.window[3] * step[S])
    return sp[N] * sp[G] * sp[C] * rows * columns


@njit(cache=True, error_model="numpy")
def input_box(f: Frame, x: Spread, level: int, tile: Any) -> Any:
    """(product of the N, G and C extents, rows, columns) of the inputs of a tile held at `level`."""
    inner = x.inner[level]
    area = tile[N] * inner[N] * tile[G] * inner[G] * tile[C] * inner[C]
    rows = 1 + f.window[0] * (tile[P] * inner[P] - 1) + f.window[1] * (tile[R] * inner[R] - 1)
    columns = 1 + f.window[2] * (tile[Q] * inner[Q] - 1) + f.window[3] * (tile[S] * inner[S] - 1)
    return area, rows, columns


@njit(cache=True, error_model="numpy")
def volume(f: Frame, x: Spread, tensor: int, level: int, tile: Any) -> Any:
    """Elements in the bounding box of a tensor's tile at `level` (law E1)."""
    inner = x.inner[level]
    if tensor == INPUTS:
        area, rows, columns = input_box(f, x, level, tile)
        return area * rows * columns
    size = tile[G] * inner[G] * tile[K] * inner[K]
    if tensor == WEIGHTS:
        return size * tile[C] * inner[C] * tile[R] * inner[R] * tile[S] * inner[S]
    return size * tile[N] * inner[N] * tile[P] * inner[P] * tile[Q] * inner[Q]


@njit(cache=True, error_model="numpy")
def fits(f: Frame, x: Spread, level: int, tile: Any, partial: bool) -> bool:
    """Do the tiles of `level` fit it, partial sums at their own width?"""
    if f.level[level, CAPACITY] < 0:
        return True
    words = 0
    for t in range(3):
        if f.level[level, CAPPED + t] == 1:
            size = volume(f, x, t, level, tile)
            if t == OUTPUTS and partial:
                words += ceil_div(size * f.level[level, PSUM_N], f.level[level, PSUM_D])
            else:
                words += ceil_div(size * f.level[level, WORD_N + t], f.level[level, WORD_D + t])
    return bool(words <= f.level[level, CAPACITY])


@njit(cache=True, error_model="numpy")
def child_cost(
    f: Frame, x: Spread, c: int, fills: int, spread: int, partial: int, drained: int, traffic: Any
) -> Any:
    """Energy that child `c` causes at itself and its parent, and whether the parent's outputs are partial.

    `fills`: F; `spread`: D; `partial`: bit per level; `drained`: F of the parent where it drains. Words are
    added to `traffic` where it is not empty.
    """
    t, level, parent = f.child[c, TENSOR], f.child[c, LEVEL], f.child[c, PARENT]
    moved = fills * spread
    energy = 0.0
    if t != OUTPUTS:
        sent = ceil_div(moved * f.level[parent, WORD_N + t], f.level[parent, WORD_D + t])
        energy += (
            x.level[parent, CLUSTERS]
            * ceil_div(sent * f.level[parent, BLOCK_D], f.level[parent, BLOCK_N])
            * f.price[parent, READ]
        )
        received = 0
        if level >= 0:
            received = ceil_div(fills * f.level[level, WORD_N + t], f.level[level, WORD_D + t])
            energy += (
                x.level[level, CLUSTERS]
                * ceil_div(received * f.level[level, BLOCK_D], f.level[level, BLOCK_N])
                * f.price[level, WRITE]
            )
            energy += f.price[parent, NOC] * received * x.level[level, INSTANCES]
        if traffic.size:
            if f.level[parent, TRACK] >= 0:
                traffic[2 * f.level[parent, TRACK]] += sent
            if level >= 0 and f.level[level, TRACK] >= 0:
                traffic[2 * f.level[level, TRACK] + 1] += received
        return energy, False
    once = x.level[parent, VISITS]
    above = moved > once
    if above:
        back = ceil_div((moved - once + drained) * f.level[parent, PSUM_N], f.level[parent, PSUM_D])
        if f.level[parent, OUTERMOST] == 1:
            sent = ceil_div(once * f.level[parent, WORD_N + t], f.level[parent, WORD_D + t])
            sent += ceil_div((moved - once) * f.level[parent, PSUM_N], f.level[parent, PSUM_D])
        else:
            sent = ceil_div(moved * f.level[parent, PSUM_N], f.level[parent, PSUM_D])
    else:
        back = ceil_div((moved - once + drained) * f.level[parent, WORD_N + t], f.level[parent, WORD_D + t])
        sent = ceil_div(moved * f.level[parent, WORD_N + t], f.level[parent, WORD_D + t])
    energy += x.level[parent, CLUSTERS] * (
        ceil_div(back * f.level[parent, BLOCK_D], f.level[parent, BLOCK_N]) * f.price[parent, READ]
        + ceil_div(sent * f.level[parent, BLOCK_D], f.level[parent, BLOCK_N]) * f.price[parent, UPDATE]
    )
    received = 0
    if level >= 0:
        refills = fills - x.level[level, VISITS]
        if (partial >> level) & 1:
            received = ceil_div(refills * f.level[level, PSUM_N], f.level[level, PSUM_D])
        else:
            received = ceil_div(refills * f.level[level, WORD_N + t], f.level[level, WORD_D + t])
        energy += (
            x.level[level, CLUSTERS]
            * ceil_div(received * f.level[level, BLOCK_D], f.level[level, BLOCK_N])
            * f.price[level, WRITE]
        )
        energy += f.price[parent, NOC] * received * x.level[level, INSTANCES]
        energy += f.price[parent, NOC] * sent * x.level[parent, INSTANCES]
    if traffic.size:
        if f.level[parent, TRACK] >= 0:
            traffic[2 * f.level[parent, TRACK]] += back
            traffic[2 * f.level[parent, TRACK] + 1] += sent
        if level >= 0 and f.level[level, TRACK] >= 0:
            traffic[2 * f.level[level, TRACK] + 1] += received
    return energy, above


@njit(cache=True, error_model="numpy")
def start(f: Frame, x: Spread, fills: Any, spread: Any, state: Any) -> None:
    """The empty nest: the MAC units fetch every operand of every iteration."""
    iterations = 1
    for d in range(8):
        iterations *= x.bounds[d]
    for c in range(f.child.shape[0]):
        spread[c] = 1
        fills[c] = iterations if f.child[c, LEVEL] < 0 else 0
        state[c] = FIXED if f.child[c, LEVEL] < 0 else UNBORN


@njit(cache=True, error_model="numpy")
def step_level(
    f: Frame,
    x: Spread,
    level: int,
    before: Any,
    after: Any,
    order: Any,
    fills: Any,
    spread: Any,
    state: Any,
    partial: int,
    must_be_final: int,
    traffic: Any,
) -> Any:
    """Add `level`: its fan-out, its temporal loops in `order` (innermost first), the tiles it keeps.

    `before`, `after`: temporal tile inside and with this level. Returns (energy of the children whose cost
    became known, bits of partial levels, bits of levels that only fit final outputs, does it fit).
    """
    inner = x.inner[level]
    wide = input_distinct(f, x, level, before)
    for c in range(f.child.shape[0]):
        if state[c] != UNBORN and state[c] != CLOSED and f.child[c, PARENT] >= level:
            spread[c] *= (
                wide if f.child[c, TENSOR] == INPUTS else x.level[level, DISTINCT + f.child[c, TENSOR]]
            )
    for i in range(8):
        d = order[i]
        bound = after[d] // before[d]
        if bound == 1:
            continue
        for c in range(f.child.shape[0]):
            if state[c] != REST:
                continue
            t = f.child[c, TENSOR]
            if t == WEIGHTS:
                if d == N or d == P or d == Q:
                    fills[c] //= bound
                else:
                    state[c] = FIXED
            elif t == OUTPUTS:
                if d == C or d == R or d == S:
                    fills[c] //= bound
                else:
                    state[c] = FIXED
            elif d == K:
                fills[c] //= bound
            else:
                state[c] = FIXED
                if d == P or d == Q or d == R or d == S:
                    area, rows, columns = input_box(f, x, f.child[c, LEVEL], before)
                    move = before[d] * inner[d]
                    if d == P or d == R:
                        move *= f.window[0] if d == P else f.window[1]
                        kept = area * columns * max(0, rows - move)
                    else:
                        move *= f.window[2] if d == Q else f.window[3]
                        kept = area * rows * max(0, columns - move)
                    size = area * rows * columns
                    fills[c] = fills[c] // (size * bound) * (size + (bound - 1) * (size - kept))
    outside = 1
    for d in range(8):
        outside *= x.bounds[d] // after[d]
    for t in range(3):
        c = f.level[level, BORN + t]
        if c >= 0:
            fills[c] = volume(f, x, t, level, after) * outside
            spread[c] = 1
            state[c] = REST
    if (
        f.level[level, CAPACITY] >= 0
        and f.level[level, CAPPED + OUTPUTS] == 1
        and not fits(f, x, level, after, True)
    ):
        if not fits(f, x, level, after, False):
            return 0.0, partial, must_be_final, False
        must_be_final |= 1 << level
    return settle(f, x, level, fills, spread, state, partial, must_be_final, traffic)


@njit(cache=True, error_model="numpy")
def settle(
    f: Frame,
    x: Spread,
    level: int,
    fills: Any,
    spread: Any,
    state: Any,
    partial: int,
    must_be_final: int,
    traffic: Any,
) -> Any:
    """Charge every child whose F is fixed and whose parent is `level` or inside it."""
    energy = 0.0
    for c in range(f.child.shape[0]):
        if state[c] != FIXED or f.child[c, PARENT] > level:
            continue
        drained = np.int64(0)
        outer = f.child[c, OUTER]
        if f.child[c, TENSOR] == OUTPUTS:
            # known before it is charged: the width of the parent's partial sums
            if fills[c] * spread[c] > x.level[f.child[c, PARENT], VISITS]:
                partial |= 1 << f.child[c, PARENT]
                if (must_be_final >> f.child[c, PARENT]) & 1:
                    return energy, partial, must_be_final, False
            if outer >= 0 and f.level[f.child[c, PARENT], DRAIN] == 1:
                if state[outer] != FIXED and state[outer] != CLOSED:
                    continue
                drained = fills[outer]
        cost, _ = child_cost(f, x, c, fills[c], spread[c], partial, drained, traffic)
        energy += cost
        state[c] = CLOSED
    return energy, partial, must_be_final, True


@njit(cache=True, error_model="numpy")
def finish(
    f: Frame,
    x: Spread,
    fills: Any,
    spread: Any,
    state: Any,
    partial: int,
    must_be_final: int,
    traffic: Any,
) -> Any:
    """No loops are left: what is still at rest was fetched once; charge the remaining children."""
    for c in range(f.child.shape[0]):
        if state[c] == REST:
            state[c] = FIXED
    return settle(f, x, f.level.shape[0] - 1, fills, spread, state, partial, must_be_final, traffic)
