"""The compiled search of `flips.py`: single and double changes of one row after the other."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

__all__ = ["best_rows", "flip_rows"]


@njit(cache=True)
def _best_steps(
    row: int,
    index: Any,
    below: Any,
    above: Any,
    held: Any,
    levels: Any,
    scale: Any,
    g: Any,
    diagonal: Any,
    move: Any,
    change: Any,
    gain: Any,
) -> int:
    """The best change of each weight of a row: the place it moves to, by how much and what the error gains.

    Returns the weight of the lowest gain, the first of equals.
    """
    n = index.shape[1]
    best = 0
    for i in range(n):
        here = index[row, i]
        s = scale[row, i if scale.shape[1] > 1 else 0]
        move[i], change[i], gain[i] = here, 0.0, 0.0
        if held[row, i]:
            low, high = below[row, i], above[row, i]
            first, second = here - 1, here + 1  # outside floor and ceil: to either neighbour
            if here == low:
                first, second = high, here
            elif here == high:
                first, second = low, here
            for place in (first, second):
                if place != here and 0 <= place < len(levels):
                    t = (levels[place] - levels[here]) * s
                    value = 2 * t * g[i] + t * t * diagonal[i]
                    if change[i] == 0.0 or value < gain[i]:
                        move[i], change[i], gain[i] = place, t, value
        if gain[i] < gain[best]:
            best = i
    return best


@njit(cache=True)
def _lowest(gain: Any, change: Any, count: int, chosen: Any) -> int:
    """Places of the `count` lowest gains among weights that can change, the lowest first; how many."""
    found = 0
    for i in range(len(gain)):
        if change[i] == 0.0 or (found == count and gain[i] >= gain[chosen[found - 1]]):
            continue
        place = found if found < count else count - 1
        while place > 0 and gain[chosen[place - 1]] > gain[i]:
            chosen[place] = chosen[place - 1]
            place -= 1
        chosen[place] = i
        if found < count:
            found += 1
    return found


@njit(cache=True)
def flip_rows(
    index: Any,
    below: Any,
    above: Any,
    held: Any,
    levels: Any,
    scale: Any,
    a: Any,
    gradient: Any,
    error: Any,
    pairs: int,
    most: int,
) -> Any:
    """Changes `index` (rows, n) in place to a local optimum; see `flips.flips`.

    Args: places of the current levels, of floor and ceil, which weights may move (rows, n); the levels; scale
    (rows, 1 or n); A (n, n); A d (rows, n), changed; the error of each row, for the tolerance; how many of
    the best single changes are paired; most changes per row. Returns the number of changes of each row.
    """
    rows, n = index.shape
    diagonal = np.diag(a).copy()
    move, chosen = np.zeros(n, np.int64), np.zeros(pairs, np.int64)
    change, gain = np.zeros(n), np.zeros(n)
    changes = np.zeros(rows, np.int64)
    for row in range(rows):
        g = gradient[row]
        tolerance = 1e-12 * abs(error[row])
        while changes[row] < most:
            best = _best_steps(row, index, below, above, held, levels, scale, g, diagonal, move, change, gain)
            lowest, first, second = gain[best], best, -1
            found = _lowest(gain, change, pairs, chosen)
            for p in range(found):
                i = chosen[p]
                for q in range(p + 1, found):
                    j = chosen[q]
                    value = gain[i] + gain[j] + 2 * change[i] * change[j] * a[i, j]
                    if value < lowest:
                        lowest, first, second = value, i, j
            if not lowest < -tolerance:
                break
            for i in (first, second):
                if i >= 0:
                    t = change[i]
                    for j in range(n):
                        g[j] += t * a[i, j]
                    index[row, i] = move[i]
                    changes[row] += 1
    return changes


@njit(cache=True)
def best_rows(
    below: Any, above: Any, held: Any, levels: Any, scale: Any, a: Any, target: Any, out: Any
) -> Any:
    """The best of all choices between floor and ceil of every row, by a Gray code; for few columns.

    Args as in `flip_rows`, and the targets (rows, n). Writes places of levels to `out` (rows, n), 0 error for
    weights that are not held; those keep the place they have in `out`.
    """
    rows, n = below.shape
    d, g, step = np.zeros(n), np.zeros(n), np.zeros(n)
    free, up, best_up = np.zeros(n, np.int64), np.zeros(n, np.bool_), np.zeros(n, np.bool_)
    for row in range(rows):
        count = 0
        for i in range(n):
            s = scale[row, i if scale.shape[1] > 1 else 0]
            place = below[row, i] if held[row, i] else out[row, i]
            d[i] = levels[place] * s - target[row, i]
            up[i] = best_up[i] = False
            if held[row, i] and below[row, i] != above[row, i]:
                step[i] = (levels[above[row, i]] - levels[below[row, i]]) * s
                free[count] = i
                count += 1
        for i in range(n):
            g[i] = 0.0
            for j in range(n):
                g[i] += a[i, j] * d[j]
        total, best = 0.0, 0.0
        for code in range(1, 1 << count):
            bit = 0
            while not (code >> bit) & 1:
                bit += 1
            i = free[bit]
            t = -step[i] if up[i] else step[i]
            total += 2 * t * g[i] + t * t * a[i, i]
            up[i] = not up[i]
            for j in range(n):
                g[j] += t * a[i, j]
            if total < best:
                best = total
                best_up[:] = up
        for i in range(n):
            if held[row, i]:
                out[row, i] = above[row, i] if best_up[i] else below[row, i]
