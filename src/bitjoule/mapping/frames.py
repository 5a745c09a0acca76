"""Problems, hardware and spatial assignments as the arrays that the compiled kernels read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from bitjoule.mapping.accelerator import Accelerator
from bitjoule.mapping.counts import packing_of
from bitjoule.mapping.kernel_frame import (
    BLOCK_D,
    BLOCK_N,
    BORN,
    CAPACITY,
    CAPPED,
    CLUSTERS,
    DISTINCT,
    DRAIN,
    FRAME_COLUMNS,
    INSTANCES,
    OUTERMOST,
    OUTPUTS,
    PSUM_D,
    PSUM_N,
    SPREAD_COLUMNS,
    TRACK,
    VARIES,
    VISITS,
    WORD_D,
    WORD_N,
    Frame,
    Spread,
)
from bitjoule.mapping.kernel_lattice import Lattice, Stages
from bitjoule.mapping.packing import Mode
from bitjoule.mapping.problem import DIMS, RELEVANT, TENSORS, Problem
from bitjoule.mapping.space import SpatialAssignment, divisors

__all__ = ["Constants", "constants_of", "frame_of", "lattice_of", "spread_of", "stages_of"]

_RELEVANT = {t: [i for i, dim in enumerate(DIMS) if dim in RELEVANT[t]] for t in TENSORS}
_N, _G, _K, _C, _P, _Q, _R, _S = range(8)
LIMIT = 2**62
"""Counts above this do not fit the kernels."""


def _ratio(bits: int | None, word_bits: int, packing: str) -> tuple[int, int]:
    """(a, b): n elements take ceil(n * a / b) words."""
    if packing == "native" or bits is None:
        return 1, 1
    if packing == "dense":
        return bits, word_bits
    return (1, word_bits // bits) if bits <= word_bits else (-(-bits // word_bits), 1)


def frame_of(
    problem: Problem,
    accelerator: Accelerator,
    keeps: tuple[tuple[str, ...], ...],
    mode: Mode,
    *,
    limited: bool,
) -> Frame:
    """The Frame of a problem, a hardware and a keep set. `limited`: do cycles beyond the MAC units' matter?

    Raises:
        ValueError: counts that do not fit 62 bits.
    """
    levels = accelerator.levels
    count = len(levels)
    widest = math.prod(max(a, b) for a, b in zip(problem.stride, problem.dilation, strict=True))
    packing = packing_of(accelerator, mode)
    native = mode == "native"
    bits = {
        "weights": None if native else problem.weight_bits,
        "inputs": None if native else problem.input_bits,
        "outputs": None if native else problem.output_bits,
    }
    psum = problem.psum_bits if mode == "physical" else bits["outputs"]
    children: list[list[int]] = []
    born = np.full((count, 3), -1, np.int64)
    outermost = np.zeros(count, np.bool_)
    for t, tensor in enumerate(TENSORS):
        keepers = [i for i, kept in enumerate(keeps) if tensor in kept]
        for place, (at, parent) in enumerate(zip([-1, *keepers], keepers, strict=False)):
            me = len(children)
            more = place + 1 < len(keepers)
            children.append([t, at, parent, me + 1 if more else -1])
            if at >= 0:
                born[at, t] = me
        if tensor == "outputs":
            outermost[keepers[-1]] = True
    ratios = [[_ratio(bits[t], level.word_bits, packing) for t in TENSORS] for level in levels]
    psums = [_ratio(psum, level.word_bits, packing) for level in levels]
    blocks = [Fraction(level.width_bits, level.word_bits * level.cluster) for level in levels]
    widening = max(a for row in (*ratios, psums) for a, _ in row) * max(block.denominator for block in blocks)
    if problem.macs * widest**2 * 4 * widening > LIMIT:
        raise ValueError(f"layer {problem.name!r}: {problem.macs} MACs are too many for exact 62-bit counts")
    track, bandwidth = _tracked(problem, accelerator, keeps, ratios, psums, widest) if limited else ({}, [])
    level = np.full((count, FRAME_COLUMNS), -1, np.int64)
    level[:, CAPACITY] = [-1 if entry.words is None else entry.words for entry in levels]
    level[:, (PSUM_N, PSUM_D)] = psums
    level[:, BLOCK_N] = [block.numerator for block in blocks]
    level[:, BLOCK_D] = [block.denominator for block in blocks]
    level[:, DRAIN] = [entry.charge_drain for entry in levels]
    level[:, OUTERMOST] = outermost
    level[:, TRACK] = [track.get(index, -1) for index in range(count)]
    for t, tensor in enumerate(TENSORS):
        level[:, CAPPED + t] = [
            tensor in kept and tensor not in entry.holds for kept, entry in zip(keeps, levels, strict=True)
        ]
        level[:, (WORD_N + t, WORD_D + t)] = [row[t] for row in ratios]
        level[:, BORN + t] = born[:, t]
    return Frame(
        child=np.array(children),
        level=level,
        price=np.array(
            [
                [entry.read_pj, entry.write_pj, entry.update_price_pj, entry.noc_pj_per_word]
                for entry in levels
            ],
            np.float64,
        ),
        window=np.array([problem.stride[0], problem.dilation[0], problem.stride[1], problem.dilation[1]]),
        bandwidth=np.array(bandwidth, np.float64),
    )


def _tracked(
    problem: Problem,
    accelerator: Accelerator,
    keeps: tuple[tuple[str, ...], ...],
    ratios: list[list[tuple[int, int]]],
    psums: list[tuple[int, int]],
    widest: int,
) -> tuple[dict[int, int], list[float]]:
    """Levels whose bandwidth can bind: a child fetches at most every operand of every step anew."""
    track: dict[int, int] = {}
    bandwidth: list[float] = []
    for index, level in enumerate(accelerator.levels):
        limits = (level.read_words_per_cycle, level.write_words_per_cycle)
        if limits == (None, None):
            continue
        inside = math.prod(entry.fanout for entry in accelerator.levels[: index + 1])
        words = {}
        for t, tensor in enumerate(TENSORS):
            a, b = max(
                ratios[index][t], psums[index] if tensor == "outputs" else (0, 1), key=lambda r: r[0] / r[1]
            )
            words[tensor] = -(-a // b) * inside * (widest if tensor == "inputs" else 1)
        read = sum(words[t] for t in keeps[index])
        if level.charge_drain and "outputs" in keeps[index]:
            read += words["outputs"]
        written = sum(words[t] for t in keeps[index]) + (
            words["outputs"] if "outputs" in keeps[index] else 0.0
        )
        rate = problem.macs_per_cycle
        if all(
            limit is None or need * rate <= limit for limit, need in zip(limits, (read, written), strict=True)
        ):
            continue
        track[index] = len(bandwidth) // 2
        bandwidth += [math.inf if limit is None else float(limit) for limit in limits]
    return track, bandwidth


def spread_of(problem: Problem, accelerator: Accelerator, entry: SpatialAssignment) -> Spread:
    """The Spread of one spatial assignment."""
    levels = accelerator.levels
    count = len(levels)
    sp = np.array(entry.both, np.int64).reshape(count, 8)
    inner = np.cumprod(sp, axis=0)
    total = inner[-1]
    per_level = sp.prod(axis=1)
    above = np.ones(count, np.int64)
    for index in range(count - 2, -1, -1):
        above[index] = above[index + 1] * per_level[index + 1]
    existing = np.array(
        [-(-accelerator.total_instances(i) // level.cluster) for i, level in enumerate(levels)]
    )
    distinct = np.ones((3, count), np.int64)
    distinct[0] = sp[:, _RELEVANT["weights"]].prod(axis=1)
    distinct[2] = sp[:, _RELEVANT["outputs"]].prod(axis=1)
    rows = np.maximum(sp[:, _P], sp[:, _R])
    columns = np.maximum(sp[:, _Q], sp[:, _S])
    distinct[1] = sp[:, _N] * sp[:, _G] * sp[:, _C] * rows * columns
    varies = ((sp[:, _P] > 1) & (sp[:, _R] > 1)) | ((sp[:, _Q] > 1) & (sp[:, _S] > 1))
    least = np.ones((3, count + 1), np.int64)
    np.cumprod(distinct, axis=1, out=least[:, 1:])
    relevant_above = np.ones(count, np.int64)
    for index in range(count - 2, -1, -1):
        relevant_above[index] = relevant_above[index + 1] * distinct[2, index + 1]
    level = np.empty((count, SPREAD_COLUMNS), np.int64)
    level[:, INSTANCES] = above
    level[:, CLUSTERS] = np.minimum(above, np.maximum(1, existing))
    level[:, VISITS] = problem.elements("outputs") // relevant_above
    level[:, VARIES] = varies
    level[:, DISTINCT : DISTINCT + 3] = distinct.T
    return Spread(sp, inner, np.array(problem.bounds) // total, level, least)


@dataclass(frozen=True)
class Constants:
    """What a spatial assignment settles: iterations, cycles of the MAC units, leakage per cycle, MAC energy,
    and the levels (bits) known to hold partial sums."""

    cycles: int
    leak_pj: float
    mac_pj: float
    partial: int


def constants_of(problem: Problem, accelerator: Accelerator, frame: Frame, spread: Spread) -> Constants:
    """The Constants of one spatial assignment."""
    steps = math.prod(int(b) for b in spread.bounds)
    leak = math.fsum(
        level.leak_pj_per_cycle * int(n)
        for level, n in zip(accelerator.levels, spread.level[:, INSTANCES], strict=True)
    )
    units = int(spread.sp.prod())
    rate = problem.macs_per_cycle
    cycles = -(-steps // int(rate)) if rate == int(rate) else math.ceil(steps / rate)
    partial = 0
    for tensor, at, parent, _ in frame.child:
        handed = steps * int(spread.least[OUTPUTS, parent + 1])
        if tensor == OUTPUTS and at < 0 and handed > int(spread.level[parent, VISITS]):
            partial |= 1 << int(parent)
    return Constants(
        cycles, leak + accelerator.mac_leak_pj_per_cycle * units, problem.macs * problem.mac_pj, partial
    )


def stages_of(accelerator: Accelerator) -> Stages:
    """Levels grouped by where loops may run. The outermost level always is a stage."""
    levels = accelerator.levels
    count = len(levels)
    starts = [i for i, level in enumerate(levels) if level.loop_dims or i == count - 1]
    ends = [*(start - 1 for start in starts[1:]), count - 1]
    may = np.array([[dim in levels[i].loop_dims for dim in DIMS] for i in starts])
    must = np.array([[not may[s + 1 :, d].any() for d in range(8)] for s in range(len(starts))])
    order = np.zeros((len(starts), 8), np.int64)
    ordered = np.zeros(len(starts), np.int64)
    for s, i in enumerate(starts):
        ordered[s] = len(levels[i].temporal_order)
        for place, dim in enumerate(levels[i].temporal_order):
            order[s, place] = DIMS.index(dim)

    def table(pairs: Mapping[int, Mapping[str, int]]) -> NDArray[np.int64]:
        return np.array([[pairs[i].get(dim, 0) for dim in DIMS] for i in starts])

    return Stages(
        lead=starts[0],
        first=np.array(starts),
        last=np.array(ends),
        may=may,
        reach=np.logical_or.accumulate(may, axis=0),
        must=must,
        exact=table({i: dict(levels[i].fixed_temporal) for i in starts}),
        most=table({i: dict(levels[i].max_temporal) for i in starts}),
        order=order,
        ordered=ordered,
    )


def lattice_of(bounds: tuple[int, ...]) -> Lattice:
    """All temporal tiles of these bounds; the last node is the whole."""
    lists = [divisors(bound) for bound in bounds]
    longest = max(len(entries) for entries in lists)
    divisor = np.ones((8, longest), np.int64)
    primes = [[p for p in row if p > 1 and all(p % q for q in range(2, math.isqrt(p) + 1))] for row in lists]
    cover = np.full((8, longest, max(1, *map(len, primes))), -1, np.int64)
    for d, entries in enumerate(lists):
        divisor[d, : len(entries)] = entries
        where = {value: i for i, value in enumerate(entries)}

        for i, value in enumerate(entries):
            for k, prime in enumerate(primes[d]):
                cover[d, i, k] = where.get(value * prime, -1)
    count = np.array([len(entries) for entries in lists])
    radix = np.ones(8, np.int64)
    for d in range(6, -1, -1):
        radix[d] = radix[d + 1] * count[d + 1]
    nodes = np.arange(int(count.prod()))
    position = (nodes[:, None] // radix) % count
    tile = divisor[np.arange(8), position]
    return Lattice(count, radix, divisor, cover, position, np.ascontiguousarray(tile))
