"""Compiled search: the cheapest nest of one spatial assignment, by labels that grow outwards stage by stage.

A label is an inner part of a nest: its temporal tile, its cost so far and, for every child whose cost is
still open, the fills F it has now. Of two labels with one tile the one that can never do worse stays: its
known cost and, where its open children fetch more, their present cost stay below the other's known cost,
and likewise its traffic where bandwidth counts. Packing is inside the cost, so dominance is exact. A label
whose bound cannot beat the incumbent is dropped.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from bitjoule.mapping.kernel_bounds import Lattice, Stages, open_bound, stage_bounds
from bitjoule.mapping.kernel_goal import Goal, cannot_win, value_of
from bitjoule.mapping.kernel_step import (
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
    WEIGHTS,
    Frame,
    Spread,
    child_cost,
    finish,
    start,
    step_level,
)

__all__ = ["search_spread"]

N, G, K, C, P, Q, R, S = range(8)
MAX_ORDERS = 12


@njit(cache=True, error_model="numpy")
def _cycles(f: Frame, goal: Goal, traffic: Any) -> int:
    """Cycles with the traffic known so far."""
    cycles = goal.cycles
    for i in range(traffic.size):
        cycles = max(cycles, int(np.ceil(traffic[i] / f.bandwidth[i])))
    return cycles


@njit(cache=True, error_model="numpy")
def _put(orders: Any, count: int, stages: Stages, stage: int, lead: Any, many: int) -> int:
    """Write one order: the dimensions that the level puts first, then `lead`, then the rest, groups last."""
    used = np.zeros(8, np.bool_)
    place = 0
    for i in range(stages.ordered[stage]):
        d = stages.order[stage, i]
        orders[count, place] = d
        used[d] = True
        place += 1
    for i in range(many):
        d = lead[i]
        if not used[d]:
            orders[count, place] = d
            used[d] = True
            place += 1
    for d in (N, P, Q, C, R, S, K, G):
        if not used[d]:
            orders[count, place] = d
            place += 1
    return count + 1


@njit(cache=True, error_model="numpy")
def loop_orders(
    f: Frame, stages: Stages, stage: int, before: Any, after: Any, state: Any, orders: Any
) -> int:
    """The orders of one level that can be best (mapping.md 4.2); returns how many."""
    resting = np.zeros(3, np.bool_)
    for c in range(f.child.shape[0]):
        if state[c] == REST:
            resting[f.child[c, TENSOR]] = True
    has = np.zeros(8, np.bool_)
    for d in range(8):
        has[d] = after[d] > before[d]
    lead = np.zeros(8, np.int64)
    count = 0
    by_output = has[P] or has[Q]
    by_kernel = has[R] or has[S]
    if (resting[WEIGHTS] or resting[INPUTS]) and (by_output or has[N]):
        if has[P] or not has[Q]:
            lead[0], lead[1], lead[2] = P, Q, N
            count = _put(orders, count, stages, stage, lead, 3)
        if has[Q] and (resting[INPUTS] or not has[P]):
            lead[0], lead[1], lead[2] = Q, P, N
            count = _put(orders, count, stages, stage, lead, 3)
    if (resting[OUTPUTS] or resting[INPUTS]) and (by_kernel or has[C]):
        if has[R] or not has[S]:
            lead[0], lead[1], lead[2] = R, S, C
            count = _put(orders, count, stages, stage, lead, 3)
        if has[S] and (resting[INPUTS] or not has[R]):
            lead[0], lead[1], lead[2] = S, R, C
            count = _put(orders, count, stages, stage, lead, 3)
    if resting[INPUTS] and has[K]:
        lead[0] = K
        sliding = 0
        for d in (P, Q, R, S):
            if has[d]:
                lead[1] = d
                count = _put(orders, count, stages, stage, lead, 2)
                sliding += 1
        if sliding == 0:
            count = _put(orders, count, stages, stage, lead, 1)
    if count == 0:
        count = _put(orders, count, stages, stage, lead, 0)
    return count


@njit(cache=True, error_model="numpy")
def _code(order: Any) -> int:
    """An order as one number, three bits a place."""
    code = 0
    for i in range(8):
        code |= order[i] << (3 * i)
    return code


@njit(cache=True, error_model="numpy")
def _dominates(
    f: Frame,
    x: Spread,
    level: int,
    energy_a: float,
    fills_a: Any,
    spread_a: Any,
    state_a: Any,
    partial_a: int,
    final_a: int,
    traffic_a: Any,
    energy_b: float,
    fills_b: Any,
    spread_b: Any,
    state_b: Any,
    partial_b: int,
    final_b: int,
    traffic_b: Any,
    scratch: Any,
) -> bool:
    """Can no completion of b be better than the same completion of a? Both have one tile after `level`."""
    if energy_a > energy_b or (partial_a & ~partial_b) != 0 or (final_a & ~final_b) != 0:
        return False
    for i in range(traffic_a.size):
        scratch[i] = traffic_a[i]
    loose = False
    for c in range(f.child.shape[0]):
        if f.child[c, TENSOR] == OUTPUTS and (state_a[c] == REST or state_a[c] == FIXED):
            if not _no_more(c, fills_a, spread_a, state_a, fills_b, spread_b, state_b):
                if f.child[c, PARENT] > level or f.level[f.child[c, PARENT], DRAIN] == 1 or final_a != 0:
                    return False
                loose = True
    for c in range(f.child.shape[0]):
        if state_a[c] == CLOSED or state_a[c] == UNBORN:
            continue
        t = f.child[c, TENSOR]
        if t == OUTPUTS:
            if not loose:
                continue
        elif _no_more(c, fills_a, spread_a, state_a, fills_b, spread_b, state_b):
            continue
        # as if no loop outside left it at rest: the most it can still cost
        wide = spread_a[c]
        if f.child[c, PARENT] > level:
            if t == INPUTS:
                for outer in range(level + 1, f.child[c, PARENT] + 1):
                    if x.level[outer, VARIES] == 1:
                        return False
            wide *= x.least[t, f.child[c, PARENT] + 1] // x.least[t, level + 1]
        energy_a += child_cost(f, x, c, fills_a[c], wide, np.int64(-1), np.int64(0), scratch)[0]
        if energy_a > energy_b:
            return False
    for i in range(traffic_a.size):
        if scratch[i] > traffic_b[i]:
            return False
    return True


@njit(cache=True, error_model="numpy")
def _no_more(
    c: int, fills_a: Any, spread_a: Any, state_a: Any, fills_b: Any, spread_b: Any, state_b: Any
) -> bool:
    """Will child c of label a never fetch more than that of b?"""
    if state_b[c] == CLOSED or fills_a[c] > fills_b[c] or spread_a[c] > spread_b[c]:
        return False
    return bool(state_a[c] == state_b[c] or state_b[c] == FIXED)


@njit(cache=True, error_model="numpy")
def _grown(array: Any, size: int) -> Any:
    """The same rows in an array of `size` rows."""
    wider = np.empty((size, array.shape[1]), array.dtype)
    wider[: array.shape[0]] = array
    return wider


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
    `max_labels`, `max_steps`: give up beyond so many labels, or nests extended by a level; `thorough`: see
    `stage_bounds`. Returns (found, energy without constants and leakage, cycles, tile and order code per
    stage, least bound of the assignment, counters: labels, dropped by bound, dominated, complete nests, 1 if
    given up).
    """
    count = stages.first.size
    children = f.child.shape[0]
    tracked = f.bandwidth.size
    counters = np.zeros(5, np.int64)
    best_nodes = np.zeros(count, np.int64)
    best_orders = np.zeros(count, np.int64)
    best_energy, best_cycles, found = 0.0, 0, False
    nothing = np.zeros(0, np.int64)
    nodes = lattice.tile.shape[0]

    fills = np.zeros(children, np.int64)
    spread = np.ones(children, np.int64)
    state = np.zeros(children, np.int64)
    traffic = np.zeros(tracked, np.int64)
    scratch = np.zeros(tracked, np.int64)
    ones = np.ones(8, np.int64)
    straight = np.arange(8)
    start(f, x, fills, spread, state)
    energy, flags, final = 0.0, partial, np.int64(0)
    for level in range(stages.lead):
        added, flags, final, ok = step_level(
            f, x, level, ones, ones, straight, fills, spread, state, flags, final, traffic
        )
        energy += added
        if not ok:
            return False, 0.0, 0, best_nodes, best_orders, np.inf, counters
    # the tile of ones before the first stage: what is open now, and the least of what follows
    root = energy + open_bound(f, x, stages.lead - 1, ones, fills, spread, state, flags, nothing)
    with_tile, outside = stage_bounds(f, x, stages, lattice, goal, root, partial, shared, place, thorough)
    ahead = np.full(nodes, np.inf)
    ahead[:] = with_tile[0]
    least = np.inf
    for node in range(nodes):
        if ahead[node] < least:
            reachable = True
            for d in range(8):
                if lattice.tile[node, d] > 1 and not stages.may[0, d]:
                    reachable = False
            if reachable:
                least = ahead[node]
    root += least
    if root == np.inf or cannot_win(goal, root, goal.cycles):
        counters[1] += 1
        return False, 0.0, 0, best_nodes, best_orders, root, counters

    size = 256
    L_energy = np.empty((size, 1))
    L_bound = np.empty((size, 1))
    L_fills = np.empty((size, children), np.int64)
    L_spread = np.empty((size, children), np.int64)
    L_state = np.empty((size, children), np.int64)
    L_traffic = np.empty((size, tracked), np.int64)
    # node, order code, parent, partial, final, next in bucket, alive
    L_info = np.empty((size, 7), np.int64)
    L_energy[0, 0] = energy
    L_bound[0, 0] = root
    L_fills[0] = fills
    L_spread[0] = spread
    L_state[0] = state
    L_traffic[0] = traffic
    L_info[0] = np.array([0, 0, -1, flags, final, -1, 1])
    used = 1
    low, high = 0, 1
    head = np.empty(nodes, np.int64)
    orders = np.empty((MAX_ORDERS, 8), np.int64)

    steps = 0
    for s in range(count):
        last_stage = s == count - 1
        top = stages.last[s]
        head[:] = -1
        candidates = np.flatnonzero(with_tile[s] < np.inf)
        candidates = candidates[np.argsort(with_tile[s][candidates], kind="mergesort")]
        mine = np.arange(low, high)
        if beam > 0 and high - low > beam:
            mine = low + np.argsort(L_bound[low:high, 0], kind="mergesort")[:beam]
        for label in mine:
            if L_info[label, 6] == 0:
                continue
            cycles_so_far = _cycles(f, goal, L_traffic[label])
            if cannot_win(goal, L_bound[label, 0], cycles_so_far):
                counters[1] += 1
                continue
            before = lattice.tile[L_info[label, 0]]
            base = L_energy[label, 0] + open_bound(
                f,
                x,
                stages.first[s] - 1,
                before,
                L_fills[label],
                L_spread[label],
                L_state[label],
                L_info[label, 3],
                nothing,
            )
            seen = 0
            for rank in range(candidates.size):
                node = candidates[rank]
                if cannot_win(goal, base + with_tile[s, node], cycles_so_far):
                    break
                after = lattice.tile[node]
                ok = True
                for d in range(8):
                    if after[d] == before[d]:
                        if stages.exact[s, d] > 1:
                            ok = False
                            break
                        continue
                    if not stages.may[s, d] or after[d] % before[d] != 0:
                        ok = False
                        break
                    ratio = after[d] // before[d]
                    if stages.exact[s, d] > 0 and ratio != stages.exact[s, d]:
                        ok = False
                        break
                    if stages.most[s, d] > 0 and ratio > stages.most[s, d]:
                        ok = False
                        break
                if not ok:
                    continue
                seen += 1
                if scan > 0 and seen > scan:
                    break
                many = loop_orders(f, stages, s, before, after, L_state[label], orders)
                steps += many
                if max_steps > 0 and steps > max_steps:
                    counters[4] = 1
                    return found, best_energy, best_cycles, best_nodes, best_orders, root, counters
                for o in range(many):
                    fills[:] = L_fills[label]
                    spread[:] = L_spread[label]
                    state[:] = L_state[label]
                    traffic[:] = L_traffic[label]
                    energy, flags, final = L_energy[label, 0], L_info[label, 3], L_info[label, 4]
                    inside = before
                    for level in range(stages.first[s], stages.last[s] + 1):
                        added, flags, final, ok = step_level(
                            f, x, level, inside, after, orders[o], fills, spread, state, flags, final, traffic
                        )
                        energy += added
                        inside = after
                        if not ok:
                            break
                    if not ok:
                        continue
                    if last_stage:
                        added, flags, final, ok = finish(f, x, fills, spread, state, flags, final, traffic)
                        energy += added
                        counters[3] += 1
                        if not ok:
                            continue
                        cycles = _cycles(f, goal, traffic)
                        if cannot_win(goal, energy, cycles):
                            continue
                        found = True
                        best_energy, best_cycles = energy, cycles
                        goal = Goal(
                            goal.objective,
                            goal.cap,
                            goal.cycles,
                            goal.leak_pj,
                            goal.constant_pj,
                            value_of(goal, energy, cycles),
                            cycles,
                        )
                        best_nodes[s] = node
                        best_orders[s] = _code(orders[o])
                        at = label
                        for back in range(s):
                            stage = s - 1 - back
                            best_nodes[stage] = L_info[at, 0]
                            best_orders[stage] = L_info[at, 1]
                            at = L_info[at, 2]
                        continue
                    bound = energy + outside[s, node]
                    bound += open_bound(f, x, stages.last[s], after, fills, spread, state, flags, nothing)
                    if cannot_win(goal, bound, _cycles(f, goal, traffic)):
                        counters[1] += 1
                        continue
                    worse = False
                    other = head[node]
                    while other >= 0:
                        if _dominates(
                            f,
                            x,
                            top,
                            L_energy[other, 0],
                            L_fills[other],
                            L_spread[other],
                            L_state[other],
                            L_info[other, 3],
                            L_info[other, 4],
                            L_traffic[other],
                            energy,
                            fills,
                            spread,
                            state,
                            flags,
                            final,
                            traffic,
                            scratch,
                        ):
                            worse = True
                            break
                        other = L_info[other, 5]
                    if worse:
                        counters[2] += 1
                        continue
                    previous = -1
                    other = head[node]
                    while other >= 0:
                        following = L_info[other, 5]
                        if _dominates(
                            f,
                            x,
                            top,
                            energy,
                            fills,
                            spread,
                            state,
                            flags,
                            final,
                            traffic,
                            L_energy[other, 0],
                            L_fills[other],
                            L_spread[other],
                            L_state[other],
                            L_info[other, 3],
                            L_info[other, 4],
                            L_traffic[other],
                            scratch,
                        ):
                            L_info[other, 6] = 0
                            counters[2] += 1
                            if previous < 0:
                                head[node] = following
                            else:
                                L_info[previous, 5] = following
                        else:
                            previous = other
                        other = following
                    if used == size:
                        size *= 2
                        L_energy = _grown(L_energy, size)
                        L_bound = _grown(L_bound, size)
                        L_fills = _grown(L_fills, size)
                        L_spread = _grown(L_spread, size)
                        L_state = _grown(L_state, size)
                        L_traffic = _grown(L_traffic, size)
                        L_info = _grown(L_info, size)
                    L_energy[used, 0] = energy
                    L_bound[used, 0] = bound
                    L_fills[used] = fills
                    L_spread[used] = spread
                    L_state[used] = state
                    L_traffic[used] = traffic
                    L_info[used] = np.array([node, _code(orders[o]), label, flags, final, head[node], 1])
                    head[node] = used
                    used += 1
                    counters[0] += 1
                    if used >= max_labels:
                        counters[4] = 1
                        return found, best_energy, best_cycles, best_nodes, best_orders, root, counters
        low, high = high, used
    return found, best_energy, best_cycles, best_nodes, best_orders, root, counters
