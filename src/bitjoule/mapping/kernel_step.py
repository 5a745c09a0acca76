"""Compiled counting: what one level adds to a nest that is built from the MAC units outwards.

The fills F of a child are V times all loops outside it; walking outwards, F shrinks while the loops leave the
tensor at rest, takes the window factor at the first loop that moves it, and is then fixed (law E2). Once F is
fixed and the parent is reached, everything the child costs is known exactly, packing included: the energy of
a nest is a sum over its children of non-decreasing functions of F.

The same law in plain Python is `counts.py` and `evaluate.py`; tests hold the two together.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from bitjoule.mapping.kernel_frame import (
    BLOCK_D,
    BLOCK_N,
    BORN,
    CAPACITY,
    CAPPED,
    CLOSED,
    CLUSTERS,
    DISTINCT,
    DRAIN,
    FIXED,
    INPUTS,
    INSTANCES,
    LEVEL,
    NOC,
    OUTER,
    OUTERMOST,
    OUTPUTS,
    PARENT,
    PSUM_D,
    PSUM_N,
    READ,
    REST,
    TENSOR,
    TRACK,
    UNBORN,
    UPDATE,
    VISITS,
    WEIGHTS,
    WORD_D,
    WORD_N,
    WRITE,
    Frame,
    Spread,
)
from bitjoule.mapping.kernel_tiles import ceil_div, fits, input_box, input_distinct, volume

__all__ = ["child_cost", "finish", "start", "step_level"]

N, G, K, C, P, Q, R, S = range(8)


@njit(cache=True, error_model="numpy")
def child_cost(
    f: Frame, x: Spread, c: Any, fills: Any, spread: Any, partial: Any, drained: Any, traffic: Any
) -> Any:
    """Energy that child `c` causes at itself and its parent.

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
        return energy
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
    return energy


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
        cost = child_cost(f, x, c, fills[c], spread[c], partial, drained, traffic)
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
