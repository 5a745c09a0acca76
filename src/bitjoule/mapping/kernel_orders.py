"""Compiled loop orders: the few orders of one level's loops that can be best (mapping.md 4.2).

Only the innermost run of loops matters: it leaves at most one tensor at rest, or slides the window of inputs.
Every permutation is matched or beaten, child by child, by one of these.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from bitjoule.mapping.kernel_frame import INPUTS, OUTPUTS, REST, TENSOR, WEIGHTS, Frame
from bitjoule.mapping.kernel_lattice import Stages

__all__ = ["MAX_ORDERS", "loop_orders", "order_code"]

N, G, K, C, P, Q, R, S = range(8)
MAX_ORDERS = 12
"""More orders than `loop_orders` ever writes."""


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
def order_code(order: Any) -> int:
    """An order as one number, three bits a place."""
    code = 0
    for i in range(8):
        code |= order[i] << (3 * i)
    return code
