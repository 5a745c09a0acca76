"""Many given nests priced at once: one keep set and fan-out, any factors and loop orders.

The law E1-E5 once more, compiled, as a walk per child and without search state; `evaluate` is its reference.
"""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from typing import Any

import numpy as np
from numba import njit

from bitjoule.mapping.accelerator import Accelerator
from bitjoule.mapping.counts import packing_of
from bitjoule.mapping.evaluate import Mode
from bitjoule.mapping.nest import Mapping
from bitjoule.mapping.problem import DIMS, RELEVANT, TENSORS, Problem

__all__ = ["energies_of"]

_Array = np.ndarray[Any, np.dtype[Any]]

N, G, K, C, P, Q, R, S = range(8)
WEIGHTS, INPUTS, OUTPUTS = range(3)
MOVES = np.array([[dim in RELEVANT[tensor] for dim in DIMS] for tensor in TENSORS])
"""Does a loop over this dimension move the tensor?"""


@njit(cache=True, inline="always")
def _ratio(count: int, a: int, b: int) -> int:
    """ceil(count * a / b)."""
    return count * a if b == 1 else (count * a + b - 1) // b


@njit(cache=True)
def _offsets(count_a: int, step_a: int, count_b: int, step_b: int) -> int:
    """Distinct values of i*step_a + j*step_b over i < count_a, j < count_b."""
    a, b = step_a, step_b
    while b:
        a, b = b, a % b
    return count_a * count_b - max(0, count_a - step_b // a) * max(0, count_b - step_a // a)


@njit(cache=True, error_model="numpy")
def _energies(
    dims: Any, bounds: Any, whole: Any, fan_out: Any, children: Any, hardware: Any, found: Any
) -> None:
    sp, clusters, instances, visits, distinct, varies = fan_out
    ct, clev, cpar, couter = children
    cap, capped, wn, wd, pn, pd, bn, bd, read_pj, write_pj, update_pj, noc_pj, drain, outermost, window = (
        hardware
    )
    levels = sp.shape[0]
    ext = np.ones((levels + 1, 8), np.int64)  # iterations inside level l at row l + 1
    room = np.zeros((levels, 3), np.int64)  # elements of the tiles
    outside = np.ones(levels + 1, np.int64)  # temporal iterations outside level l, of all at row levels
    traffic = np.zeros(ct.size, np.int64)
    asked = np.zeros(ct.size, np.int64)
    step = np.ones(8, np.int64)
    for nest in range(dims.shape[0]):
        for level in range(levels):
            for d in range(8):
                ext[level + 1, d] = ext[level, d] * sp[level, d]
            for place in range(8):
                ext[level + 1, dims[nest, level, place]] *= bounds[nest, level, place]
        if (ext[levels] != whole).any():
            found[nest] = np.nan
            continue
        total = 1
        for level in range(levels - 1, -1, -1):
            outside[level] = total
            for place in range(8):
                total *= bounds[nest, level, place]
        partial = 0
        for c in range(ct.size):
            t, level, parent = ct[c], clev[c], cpar[c]
            moved = total
            if level >= 0:
                e = ext[level + 1]
                area, rows, columns = 1, 1, 1
                if t == WEIGHTS:
                    area = e[G] * e[K] * e[C] * e[R] * e[S]
                elif t == OUTPUTS:
                    area = e[N] * e[G] * e[K] * e[P] * e[Q]
                else:
                    area = e[N] * e[G] * e[C]
                    rows = 1 + window[0] * (e[P] - 1) + window[1] * (e[R] - 1)
                    columns = 1 + window[2] * (e[Q] - 1) + window[3] * (e[S] - 1)
                size = area * rows * columns
                room[level, t] = size
                free, moving, times = 1, 0, 1
                outer = level + 1
                for d in range(8):
                    step[d] = e[d]
                while outer < levels and moving == 0:
                    for d in range(8):
                        step[d] *= sp[outer, d]
                    for place in range(8):
                        n = bounds[nest, outer, place]
                        if n == 1:
                            continue
                        d = dims[nest, outer, place]
                        if not MOVES[t, d]:
                            free *= n
                            step[d] *= n
                            continue
                        kept = 0
                        if t == INPUTS:
                            if d in (P, R):
                                kept = area * columns * max(0, rows - step[d] * window[0 if d == P else 1])
                            elif d in (Q, S):
                                kept = area * rows * max(0, columns - step[d] * window[2 if d == Q else 3])
                        moving, times = size + (n - 1) * (size - kept), n
                        break
                    outer += 1
                moved = size if moving == 0 else moving * (outside[level] // (free * times))
            spread = 1
            for between in range(level + 1, parent + 1):
                if t == INPUTS and varies[between]:
                    fan, at = sp[between], ext[between]
                    first = _offsets(fan[P], window[0] * at[P], fan[R], window[1] * at[R])
                    second = _offsets(fan[Q], window[2] * at[Q], fan[S], window[3] * at[S])
                    spread *= fan[N] * fan[G] * fan[C] * first * second
                else:
                    spread *= distinct[t, between]
            traffic[c], asked[c] = moved, moved * spread
            if t == OUTPUTS and asked[c] > visits[parent]:
                partial |= 1 << parent
            if couter[c] < 0:
                e = ext[parent + 1]
                if t == WEIGHTS:
                    room[parent, t] = e[G] * e[K] * e[C] * e[R] * e[S]
                elif t == OUTPUTS:
                    room[parent, t] = e[N] * e[G] * e[K] * e[P] * e[Q]
                else:
                    rows = 1 + window[0] * (e[P] - 1) + window[1] * (e[R] - 1)
                    columns = 1 + window[2] * (e[Q] - 1) + window[3] * (e[S] - 1)
                    room[parent, t] = e[N] * e[G] * e[C] * rows * columns
        energy = 0.0
        for level in range(levels):
            if cap[level] >= 0:
                words = 0
                for t in range(3):
                    if capped[level, t]:
                        if t == OUTPUTS and (partial >> level) & 1:
                            words += _ratio(room[level, t], pn[level], pd[level])
                        else:
                            words += _ratio(room[level, t], wn[level, t], wd[level, t])
                if words > cap[level]:
                    energy = -1.0
        if energy < 0:
            found[nest] = np.inf
            continue
        for c in range(ct.size):
            t, level, parent = ct[c], clev[c], cpar[c]
            above, below = (partial >> parent) & 1 == 1, level >= 0 and (partial >> level) & 1 == 1
            n, d = wn[parent, t], wd[parent, t]
            filled = traffic[c]
            sent = 0
            if t != OUTPUTS:
                back = _ratio(asked[c], n, d)
            else:
                once, drained = visits[parent], traffic[couter[c]] if couter[c] >= 0 and drain[parent] else 0
                if above:
                    back = _ratio(asked[c] - once + drained, pn[parent], pd[parent])
                    if outermost[parent]:
                        sent = _ratio(once, n, d) + _ratio(asked[c] - once, pn[parent], pd[parent])
                    else:
                        sent = _ratio(asked[c], pn[parent], pd[parent])
                else:
                    back = _ratio(asked[c] - once + drained, n, d)
                    sent = _ratio(asked[c], n, d)
                if level >= 0:
                    filled -= visits[level]
                energy += clusters[parent] * _ratio(sent, bd[parent], bn[parent]) * update_pj[parent]
            energy += clusters[parent] * _ratio(back, bd[parent], bn[parent]) * read_pj[parent]
            if level >= 0:
                if below and t == OUTPUTS:
                    received = _ratio(filled, pn[level], pd[level])
                else:
                    received = _ratio(filled, wn[level, t], wd[level, t])
                energy += clusters[level] * _ratio(received, bd[level], bn[level]) * write_pj[level]
                energy += noc_pj[parent] * (received * instances[level] + sent * instances[parent])
        found[nest] = energy


def _fan_out(accelerator: Accelerator, pattern: Mapping, problem: Problem) -> tuple[_Array, ...]:
    """Spatial factors, clusters, instances, outputs written once, distinct offsets, where these vary."""
    sp = np.array(
        [
            [math.prod(bound for name, bound in level.spatial if name == dim) for dim in DIMS]
            for level in pattern.levels
        ]
    )
    distinct = np.array([[math.prod(row[MOVES[t]]) for row in sp] for t in range(3)])
    above = [math.prod(sp[level + 1 :].flat) for level in range(len(sp))]
    existing = [
        -(-accelerator.total_instances(i) // level.cluster) for i, level in enumerate(accelerator.levels)
    ]
    outputs = problem.elements("outputs")
    visits = [outputs // math.prod(distinct[OUTPUTS, level + 1 :]) for level in range(len(sp))]
    varies = ((sp[:, P] > 1) & (sp[:, R] > 1)) | ((sp[:, Q] > 1) & (sp[:, S] > 1))
    return sp, np.minimum(above, existing), np.array(above), np.array(visits), distinct, varies


def _children(pattern: Mapping) -> tuple[_Array, ...]:
    """Every buffer that fetches from another: tensor, level (-1: MAC units), parent, next child outwards."""
    rows: list[tuple[int, int, int, int]] = []
    for t, tensor in enumerate(TENSORS):
        chain = [-1, *(i for i, level in enumerate(pattern.levels) if tensor in level.keeps)]
        for inner, outer in itertools.pairwise(chain):
            last = outer == chain[-1]
            rows.append((t, inner, outer, -1 if last else len(rows) + 1))
    return tuple(np.array(rows).T.copy())


def _hardware(problem: Problem, accelerator: Accelerator, pattern: Mapping, mode: Mode) -> tuple[_Array, ...]:
    """Sizes and prices of the levels, as `_energies` takes them."""
    packing, native = packing_of(accelerator, mode), mode == "native"
    psum = problem.psum_bits if mode == "physical" else problem.output_bits
    widths = [problem.weight_bits, problem.input_bits, problem.output_bits, psum]

    def ratio(bits: int | None, word_bits: int) -> tuple[int, int]:
        if native or bits is None:
            return 1, 1
        if packing == "dense":
            return bits, word_bits
        return (1, word_bits // bits) if bits <= word_bits else (-(-bits // word_bits), 1)

    levels = accelerator.levels
    ratios = np.array([[ratio(bits, level.word_bits) for bits in widths] for level in levels])
    words, sums = ratios[:, :3].copy(), ratios[:, 3].copy()
    blocks = [Fraction(level.width_bits, level.word_bits * level.cluster) for level in levels]
    kept = [nest.keeps for nest in pattern.levels]
    last = max(i for i, tensors in enumerate(kept) if "outputs" in tensors)
    counted = [
        [t in have and t not in level.holds for t in TENSORS]
        for have, level in zip(kept, levels, strict=True)
    ]
    return (
        np.array([-1 if level.words is None else level.words for level in levels]),
        np.array(counted),
        *(words[:, :, 0].copy(), words[:, :, 1].copy(), sums[:, 0].copy(), sums[:, 1].copy()),
        np.array([block.numerator for block in blocks]),
        np.array([block.denominator for block in blocks]),
        np.array([float(level.read_pj) for level in levels]),
        np.array([float(level.write_pj) for level in levels]),
        np.array([float(level.update_price_pj) for level in levels]),
        np.array([float(level.noc_pj_per_word) for level in levels]),
        np.array([level.charge_drain for level in levels]),
        np.array([i == last for i in range(len(levels))]),
        np.array([problem.stride[0], problem.dilation[0], problem.stride[1], problem.dilation[1]]),
    )


def energies_of(
    problem: Problem,
    accelerator: Accelerator,
    pattern: Mapping,
    dims: np.ndarray[Any, np.dtype[np.int64]],
    bounds: np.ndarray[Any, np.dtype[np.int64]],
    *,
    mode: Mode = "physical",
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Energy in pJ of many nests with the fan-outs and keep sets of `pattern`; inf where one does not fit.

    `dims`, `bounds`: (nest, level, 8), temporal loops innermost first (dimensions by their place
    in DIMS); the bounds of a dimension over all levels and fan-outs multiply to the problem's. Leakage is
    that of the compute cycles, exact where no bandwidth limits.

    Raises:
        ValueError: arrays of another shape, dimensions outside 0..7, or bounds with another product.
    """
    shape = (len(dims), len(accelerator.levels), 8)
    if dims.shape != shape or bounds.shape != shape:
        raise ValueError(f"dims and bounds are (nests, {shape[1]}, 8), not {dims.shape} and {bounds.shape}")
    fan_out = _fan_out(accelerator, pattern, problem)
    left = np.array(problem.bounds) // fan_out[0].prod(axis=0)
    if dims.size and not 0 <= dims.min() <= dims.max() < len(DIMS):
        raise ValueError(f"dims are places in {' '.join(DIMS)}, 0..7, not {dims.min()}..{dims.max()}")
    found = np.zeros(len(dims))
    hardware = _hardware(problem, accelerator, pattern, mode)
    _energies(dims, bounds, np.array(problem.bounds), fan_out, _children(pattern), hardware, found)
    if np.isnan(found).any():
        raise ValueError(
            f"the temporal bounds of every nest must multiply to {left.tolist()} ({' '.join(DIMS)})"
        )
    units, steps = math.prod(fan_out[0].flat), math.prod(left.tolist())
    rate = Fraction(problem.macs_per_cycle)
    instances = fan_out[2]
    leak = accelerator.mac_leak_pj_per_cycle * units + sum(
        level.leak_pj_per_cycle * n for level, n in zip(accelerator.levels, instances, strict=True)
    )
    found += problem.macs * problem.mac_pj + leak * math.ceil(steps / rate)
    return found
