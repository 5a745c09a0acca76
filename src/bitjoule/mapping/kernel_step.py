"""Compiled counting: what one level adds to a nest that is built from the MAC units outwards.

A *child* is a buffer (or the MAC units) that fetches one tensor from its *parent*, the next level outwards that
keeps it. Its fills F are V times all loops outside it; walking outwards, F shrinks while the loops leave the
tensor at rest, takes the window factor at the first loop that moves it, and is then fixed (law E2). Once F is
fixed and the parent is reached, everything the child costs is known exactly, packing included: the energy of a
nest is a sum over its children of non-decreasing functions of F.

The same law in plain Python is `counts.py` and `evaluate.py`; tests hold the two together.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

__all__ = [
    "CLOSED",
    "FIXED",
    "REST",
    "UNBORN",
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

UNBORN, REST, FIXED, CLOSED = 0, 1, 2, 3
"""States of a child: not reached yet; no loop has moved it; F is known; its cost is in the sum."""

N, G, K, C, P, Q, R, S = range(8)
WEIGHTS, INPUTS, OUTPUTS = range(3)


class Frame(NamedTuple):
    """A problem on a hardware with a keep set, as arrays. Levels innermost first, children by tensor then level.

    `ct`, `clev`, `cpar`, `cinner`, `couter`: tensor, level (-1: MAC units), parent level, next child inwards and
    outwards of the same tensor (-1: none). `cap`: words per level (-1: unbounded). `capped[l, t]`: t counts
    there. Words of a count: ceil(count*wn/wd), for partial sums with pn/pd. Accesses of words:
    ceil(words*bd/bn). `track`: position of a level's traffic, reads at 2k and writes at 2k+1 (-1: no limit that
    can bind). `window`: stride and dilation of rows, then of columns.
    """

    ct: Any
    clev: Any
    cpar: Any
    cinner: Any
    couter: Any
    born: Any
    cap: Any
    capped: Any
    wn: Any
    wd: Any
    pn: Any
    pd: Any
    bn: Any
    bd: Any
    read_pj: Any
    write_pj: Any
    update_pj: Any
    noc_pj: Any
    drain: Any
    outermost: Any
    window: Any
    track: Any
    bandwidth: Any


class Spread(NamedTuple):
    """A spatial assignment: what is unrolled where, and what follows from it.

    `sp[l, d]`: fan-out factors of level l; `inner[l, d]`: their product up to and with level l. `bounds`: what
    is left to iterate in time. `instances`, `clusters`: per level. `visits[l]`: outputs written once by one
    instance, U of law E4. `distinct[t, l]`: distinct offsets of the fan-out of level l, for inputs a lower bound
    where `varies[l]`. `least[t, l]`: product of `distinct` over levels < l.
    """

    sp: Any
    inner: Any
    bounds: Any
    instances: Any
    clusters: Any
    visits: Any
    distinct: Any
    varies: Any
    least: Any


@njit(cache=True, inline="always")
def ceil_div(a: int, b: int) -> int:
    """ceil(a / b) of non-negative whole numbers."""
    return (a + b - 1) // b


@njit(cache=True)
def _gcd(a: int, b: int) -> int:
    while b:
        a, b = b, a % b
    return a


@njit(cache=True)
def distinct_offsets(count_a: int, step_a: int, count_b: int, step_b: int) -> int:
    """Distinct values of i*step_a + j*step_b over i < count_a, j < count_b."""
    if count_a == 1 or count_b == 1:
        return count_a * count_b
    common = _gcd(step_a, step_b)
    return count_a * count_b - max(0, count_a - step_b // common) * max(0, count_b - step_a // common)


@njit(cache=True)
def input_distinct(f: Frame, x: Spread, level: int, tile: Any) -> int:
    """Distinct input offsets of the fan-out of `level`, `tile` being the temporal tile below it."""
    if not x.varies[level]:
        return x.distinct[INPUTS, level]
    sp = x.sp[level]
    step = np.ones(8, np.int64)
    for d in (P, Q, R, S):
        step[d] = tile[d] * (x.inner[level - 1, d] if level > 0 else 1)
    rows = distinct_offsets(sp[P], f.window[0] * step[P], sp[R], f.window[1] * step[R])
    columns = distinct_offsets(sp[Q], f.window[2] * step[Q], sp[S], f.window[3] * step[S])
    return sp[N] * sp[G] * sp[C] * rows * columns


@njit(cache=True)
def input_box(f: Frame, x: Spread, level: int, tile: Any) -> Any:
    """(product of the N, G and C extents, rows, columns) of the inputs of a tile held at `level`."""
    inner = x.inner[level]
    area = tile[N] * inner[N] * tile[G] * inner[G] * tile[C] * inner[C]
    rows = 1 + f.window[0] * (tile[P] * inner[P] - 1) + f.window[1] * (tile[R] * inner[R] - 1)
    columns = 1 + f.window[2] * (tile[Q] * inner[Q] - 1) + f.window[3] * (tile[S] * inner[S] - 1)
    return area, rows, columns


@njit(cache=True)
def volume(f: Frame, x: Spread, tensor: int, level: int, tile: Any) -> int:
    """Elements in the bounding box of a tensor's tile at `level` (law E1)."""
    inner = x.inner[level]
    if tensor == INPUTS:
        area, rows, columns = input_box(f, x, level, tile)
        return area * rows * columns
    size = tile[G] * inner[G] * tile[K] * inner[K]
    if tensor == WEIGHTS:
        return size * tile[C] * inner[C] * tile[R] * inner[R] * tile[S] * inner[S]
    return size * tile[N] * inner[N] * tile[P] * inner[P] * tile[Q] * inner[Q]


@njit(cache=True)
def fits(f: Frame, x: Spread, level: int, tile: Any, partial: bool) -> bool:
    """Do the tiles of `level` fit it, partial sums at their own width?"""
    if f.cap[level] < 0:
        return True
    words = 0
    for t in range(3):
        if f.capped[level, t]:
            size = volume(f, x, t, level, tile)
            if t == OUTPUTS and partial:
                words += ceil_div(size * f.pn[level], f.pd[level])
            else:
                words += ceil_div(size * f.wn[level, t], f.wd[level, t])
    return bool(words <= f.cap[level])


@njit(cache=True)
def child_cost(
    f: Frame, x: Spread, c: int, fills: int, spread: int, partial: int, drained: int, traffic: Any
) -> Any:
    """Energy that child `c` causes at itself and its parent, and whether the parent's outputs are partial.

    `fills`: F; `spread`: D; `partial`: bit per level; `drained`: F of the parent where it drains. Words are
    added to `traffic` where it is not empty.
    """
    t, level, parent = f.ct[c], f.clev[c], f.cpar[c]
    moved = fills * spread
    energy = 0.0
    if t != OUTPUTS:
        sent = ceil_div(moved * f.wn[parent, t], f.wd[parent, t])
        energy += x.clusters[parent] * ceil_div(sent * f.bd[parent], f.bn[parent]) * f.read_pj[parent]
        received = 0
        if level >= 0:
            received = ceil_div(fills * f.wn[level, t], f.wd[level, t])
            energy += x.clusters[level] * ceil_div(received * f.bd[level], f.bn[level]) * f.write_pj[level]
            energy += f.noc_pj[parent] * received * x.instances[level]
        if traffic.size:
            if f.track[parent] >= 0:
                traffic[2 * f.track[parent]] += sent
            if level >= 0 and f.track[level] >= 0:
                traffic[2 * f.track[level] + 1] += received
        return energy, False
    once = x.visits[parent]
    above = moved > once
    if above:
        back = ceil_div((moved - once + drained) * f.pn[parent], f.pd[parent])
        if f.outermost[parent]:
            sent = ceil_div(once * f.wn[parent, t], f.wd[parent, t])
            sent += ceil_div((moved - once) * f.pn[parent], f.pd[parent])
        else:
            sent = ceil_div(moved * f.pn[parent], f.pd[parent])
    else:
        back = ceil_div((moved - once + drained) * f.wn[parent, t], f.wd[parent, t])
        sent = ceil_div(moved * f.wn[parent, t], f.wd[parent, t])
    energy += x.clusters[parent] * (
        ceil_div(back * f.bd[parent], f.bn[parent]) * f.read_pj[parent]
        + ceil_div(sent * f.bd[parent], f.bn[parent]) * f.update_pj[parent]
    )
    received = 0
    if level >= 0:
        refills = fills - x.visits[level]
        if (partial >> level) & 1:
            received = ceil_div(refills * f.pn[level], f.pd[level])
        else:
            received = ceil_div(refills * f.wn[level, t], f.wd[level, t])
        energy += x.clusters[level] * ceil_div(received * f.bd[level], f.bn[level]) * f.write_pj[level]
        energy += f.noc_pj[parent] * received * x.instances[level]
        energy += f.noc_pj[parent] * sent * x.instances[parent]
    if traffic.size:
        if f.track[parent] >= 0:
            traffic[2 * f.track[parent]] += back
            traffic[2 * f.track[parent] + 1] += sent
        if level >= 0 and f.track[level] >= 0:
            traffic[2 * f.track[level] + 1] += received
    return energy, above


@njit(cache=True)
def start(f: Frame, x: Spread, fills: Any, spread: Any, state: Any) -> None:
    """The empty nest: the MAC units fetch every operand of every iteration."""
    iterations = 1
    for d in range(8):
        iterations *= x.bounds[d]
    for c in range(f.ct.size):
        spread[c] = 1
        fills[c] = iterations if f.clev[c] < 0 else 0
        state[c] = FIXED if f.clev[c] < 0 else UNBORN


@njit(cache=True)
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
    for c in range(f.ct.size):
        if state[c] != UNBORN and state[c] != CLOSED and f.cpar[c] >= level:
            spread[c] *= wide if f.ct[c] == INPUTS else x.distinct[f.ct[c], level]
    for i in range(8):
        d = order[i]
        bound = after[d] // before[d]
        if bound == 1:
            continue
        for c in range(f.ct.size):
            if state[c] != REST:
                continue
            t = f.ct[c]
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
                    area, rows, columns = input_box(f, x, f.clev[c], before)
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
        c = f.born[level, t]
        if c >= 0:
            fills[c] = volume(f, x, t, level, after) * outside
            spread[c] = 1
            state[c] = REST
    if f.cap[level] >= 0 and f.capped[level, OUTPUTS] and not fits(f, x, level, after, True):
        if not fits(f, x, level, after, False):
            return 0.0, partial, must_be_final, False
        must_be_final |= 1 << level
    return settle(f, x, level, fills, spread, state, partial, must_be_final, traffic)


@njit(cache=True)
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
    for c in range(f.ct.size):
        if state[c] != FIXED or f.cpar[c] > level:
            continue
        drained = 0
        outer = f.couter[c]
        if f.ct[c] == OUTPUTS:
            # known before it is charged: the width of the parent's partial sums
            if fills[c] * spread[c] > x.visits[f.cpar[c]]:
                partial |= 1 << f.cpar[c]
                if (must_be_final >> f.cpar[c]) & 1:
                    return energy, partial, must_be_final, False
            if outer >= 0 and f.drain[f.cpar[c]]:
                if state[outer] != FIXED and state[outer] != CLOSED:
                    continue
                drained = fills[outer]
        cost, _ = child_cost(f, x, c, fills[c], spread[c], partial, drained, traffic)
        energy += cost
        state[c] = CLOSED
    return energy, partial, must_be_final, True


@njit(cache=True)
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
    for c in range(f.ct.size):
        if state[c] == REST:
            state[c] = FIXED
    return settle(f, x, f.cap.size - 1, fills, spread, state, partial, must_be_final, traffic)
