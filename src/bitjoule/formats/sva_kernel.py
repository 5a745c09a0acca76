"""The compiled steps of successive vector approximation; ``successive.py`` loads them when first asked."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

__all__ = ["approximate_rows"]


@njit(cache=True)
def _ones(m: int) -> int:
    """One bits of a non-negative integer."""
    count = 0
    while m:
        m &= m - 1
        count += 1
    return count


@njit(cache=True)
def _terms(y: int, csd: bool) -> int:
    m = abs(y)
    return _ones((m ^ (3 * m)) >> 1) if csd else _ones(m)


@njit(cache=True)
def _largest(magnitude: Any, count: int, chosen: Any) -> None:
    """Indices of the ``count`` largest entries, ascending; of equal ones the first."""
    length = len(magnitude)
    border = np.partition(magnitude, length - count)[length - count]
    above = 0
    for i in range(length):
        above += magnitude[i] > border
    ties, place = count - above, 0
    for i in range(length):
        if magnitude[i] > border or (magnitude[i] == border and ties > 0):
            if magnitude[i] == border:
                ties -= 1
            chosen[place] = i
            place += 1
            if place == count:
                return


@njit(cache=True)
def approximate_rows(
    rows: Any, size: int, most_terms: Any, lowest: int, eps: float, csd: bool, strict: bool, record: bool
) -> Any:
    """Approximates rows that are normalised to magnitudes <= 1; see ``successive.approximate``.

    Args: rows (n, L) float64, entries per step, terms allowed per row (n,), the lowest exponent (<= 0).
    Returns integers (n, L) in units of ``2**lowest``, terms (n,), steps (n,), and for the last row, where
    recorded, the exponents (steps,), members (steps, size) and signs (steps, size) of its steps.
    """
    count, length = rows.shape
    integers = np.zeros((count, length), np.int64)
    terms, steps = np.zeros(count, np.int64), np.zeros(count, np.int64)
    room = 64 if record else 1
    exponents = np.zeros(room, np.int64)
    members, signs = np.zeros((room, size), np.int64), np.zeros((room, size), np.int8)
    chosen, magnitude = np.zeros(size, np.int64), np.zeros(length)
    for n in range(count):
        r, y = rows[n].copy(), integers[n]
        used, step = 0, 0
        while used < most_terms[n]:
            for i in range(length):
                magnitude[i] = abs(r[i])
            _largest(magnitude, size, chosen)
            total = 0.0
            for j in range(size):
                total += magnitude[chosen[j]]
            ip = total / size
            if ip == 0.0:
                break
            fraction, exponent = math.frexp(ip)
            k = exponent if fraction >= 0.75 else exponent - 1
            if k < lowest:
                break
            before = used
            for j in range(size):
                i = int(chosen[j])
                sign = 1 if r[i] >= 0 else -1
                used -= _terms(y[i], csd)
                y[i] += sign * (1 << (k - lowest))
                used += _terms(y[i], csd)
            if strict and used > most_terms[n]:
                for j in range(size):
                    i = int(chosen[j])
                    y[i] -= (1 if r[i] >= 0 else -1) * (1 << (k - lowest))
                used = before
                break
            if record and step == room:
                room *= 2
                wider_e = np.zeros(room, np.int64)
                wider_m, wider_s = np.zeros((room, size), np.int64), np.zeros((room, size), np.int8)
                wider_e[:step], wider_m[:step], wider_s[:step] = exponents, members, signs
                exponents, members, signs = wider_e, wider_m, wider_s
            norm = 0.0
            if record:
                exponents[step] = k
            for j in range(size):
                i = int(chosen[j])
                sign = 1 if r[i] >= 0 else -1
                r[i] -= sign * 2.0**k
                if record:
                    members[step, j], signs[step, j] = i, sign
            step += 1
            for i in range(length):
                norm += r[i] * r[i]
            if norm <= eps * eps:
                break
        terms[n], steps[n] = used, step
    last = steps[count - 1] if record and count else 0
    return integers, terms, steps, exponents[:last], members[:last], signs[:last]
