"""Compiled tiles: their extents, their words, and how many of them a fan-out reads (laws E1 and E3)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from bitjoule.mapping.kernel_frame import (
    CAPACITY,
    CAPPED,
    DISTINCT,
    INPUTS,
    OUTPUTS,
    PSUM_D,
    PSUM_N,
    VARIES,
    WEIGHTS,
    WORD_D,
    WORD_N,
    Frame,
    Spread,
)

__all__ = ["ceil_div", "distinct_offsets", "fits", "input_box", "input_distinct", "volume"]

N, G, K, C, P, Q, R, S = range(8)


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
