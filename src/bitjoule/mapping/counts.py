"""Access counts of a given mapping in closed form: the law E1-E4 of mapping.md section 2, in exact integers.

The law also says what a buffer does: data left in it are reused only when the tile moves by the step of its
innermost moving loop; any other move fetches the whole tile. `interpreter` walks a nest by that rule.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from bitjoule.mapping.accelerator import Accelerator
from bitjoule.mapping.nest import Mapping
from bitjoule.mapping.packing import Mode, WordPacking, words
from bitjoule.mapping.problem import DIMS, RELEVANT, TENSORS, Problem
from bitjoule.mapping.tally import Counts, LevelTally, TensorTally

__all__ = ["count", "distinct_offsets", "element_bits", "packing_of", "violations"]

Tile = tuple[int, int, int, int, int, int, int, int]

_INDEX = {dim: index for index, dim in enumerate(DIMS)}
_RELEVANT = {t: frozenset(_INDEX[dim] for dim in RELEVANT[t]) for t in TENSORS}
_N, _G, _K, _C, _P, _Q, _R, _S = range(8)


def count(problem: Problem, mapping: Mapping, accelerator: Accelerator) -> Counts:
    """Element counts of every tensor at every level that keeps it, per instance over the whole run.

    Raises:
        MappingError: the mapping is not one of this problem on this accelerator (see `Mapping.check`).
    """
    mapping.check(problem, accelerator)
    tiles, fans, loops = _flatten(mapping)
    above = [1] * len(tiles)
    for level in range(len(tiles) - 2, -1, -1):
        above[level] = above[level + 1] * math.prod(fans[level + 1])
    mac_instances = above[0] * math.prod(fans[0])
    steps = math.prod(bound for _, _, bound, _ in loops)
    found: list[dict[str, TensorTally]] = [{} for _ in tiles]
    for tensor in TENSORS:
        _count_tensor(problem, mapping, accelerator, tensor, tiles, fans, loops, steps, found)
    levels = tuple(
        LevelTally(nest.name, above[level], tuple(found[level][t] for t in TENSORS if t in found[level]))
        for level, nest in enumerate(mapping.levels)
    )
    return Counts(problem.macs, mac_instances, steps, levels)


_Loops = Sequence[tuple[int, int, int, int]]
"""Temporal loops, innermost first: (level, dimension, bound, step)."""


def _flatten(mapping: Mapping) -> tuple[list[Tile], list[Tile], _Loops]:
    """Per level the iterations inside it (E1, spatial included) and its fan-out; all temporal loops > 1."""
    inside = [1] * 8
    tiles, fans, loops = [], [], []
    for level, nest in enumerate(mapping.levels):
        fan = [1] * 8
        for dim, bound in (*nest.x, *nest.y):
            fan[_INDEX[dim]] *= bound
            inside[_INDEX[dim]] *= bound
        fans.append(tuple(fan))
        for dim, bound in nest.temporal:
            if bound > 1:
                loops.append((level, _INDEX[dim], bound, inside[_INDEX[dim]]))
                inside[_INDEX[dim]] *= bound
        tiles.append(tuple(inside))
    return tiles, fans, loops  # type: ignore[return-value]


def _count_tensor(
    problem: Problem,
    mapping: Mapping,
    accelerator: Accelerator,
    tensor: str,
    tiles: list[Tile],
    fans: list[Tile],
    loops: _Loops,
    steps: int,
    found: list[dict[str, TensorTally]],
) -> None:
    outputs = tensor == "outputs"
    keepers = [level for level, nest in enumerate(mapping.levels) if tensor in nest.keeps]
    elements = problem.elements(tensor)
    # outputs of one instance: all outputs over the fan-outs above that split them
    split = [1] * (len(tiles) + 1)
    if outputs:
        for level in range(len(tiles) - 1, -1, -1):
            split[level] = split[level + 1] * math.prod(fans[level][dim] for dim in _RELEVANT[tensor])
    child, traffic = -1, steps
    for level in keepers:
        outermost = level == keepers[-1]
        asked = traffic
        for between in range(child + 1, level + 1):
            asked *= _multicast(problem, tensor, fans[between], tiles[between - 1] if between else None)
        tile = problem.elements(tensor, tiles[level])
        traffic = 0 if outermost else _traffic(problem, tensor, tiles[level], level, loops)
        first = elements // split[level + 1] if outputs else 0
        drained = traffic if outputs and accelerator.levels[level].charge_drain else 0
        partial = outputs and asked > first
        final = 0 if not outputs else asked if not partial else first if outermost else 0
        found[level][tensor] = TensorTally(
            tensor=tensor,
            tile=tile,
            reads=asked - first + drained,
            fills=0 if outermost else traffic - first,
            updates=asked if outputs else 0,
            first_updates=first,
            final_updates=final,
            partial=partial,
        )
        child = level


def _traffic(problem: Problem, tensor: str, tile: Tile, level: int, loops: _Loops) -> int:
    """F of E2: elements that pass between a level and its parent, per instance of the level."""
    extents = problem.extents(tensor, tile)
    volume = math.prod(extents)
    relevant = _RELEVANT[tensor]
    for place, (where, dim, bound, step) in enumerate(loops):
        if where > level and dim in relevant:
            moved = bound * volume - (bound - 1) * _overlap(problem, tensor, extents, volume, dim, step)
            return moved * math.prod(outer[2] for outer in loops[place + 1 :])
    return volume


def _overlap(
    problem: Problem, tensor: str, extents: tuple[int, ...], volume: int, dim: int, step: int
) -> int:
    """Elements that two tiles share which lie one step of a loop over `dim` apart.

    Only the window axes of inputs can overlap: in any other axis the step is at least the tile.
    """
    if tensor != "inputs" or dim not in (_P, _Q, _R, _S):
        return 0
    axis = 3 if dim in (_P, _R) else 4
    coefficient = (problem.stride if dim in (_P, _Q) else problem.dilation)[axis - 3]
    extent = extents[axis]
    return volume // extent * max(0, extent - coefficient * step)


def _multicast(problem: Problem, tensor: str, fan: Tile, inside: Tile | None) -> int:
    """D of E3 for one fan-out: distinct offset vectors of its spatial loops; equal offsets are one read."""
    n, g, k, c, p, q, r, s = fan
    if tensor == "weights":
        return g * k * c * r * s
    if tensor == "outputs":
        return n * g * k * p * q
    steps = inside or (1,) * 8
    rows = distinct_offsets(p, problem.stride[0] * steps[_P], r, problem.dilation[0] * steps[_R])
    columns = distinct_offsets(q, problem.stride[1] * steps[_Q], s, problem.dilation[1] * steps[_S])
    return n * g * c * rows * columns


def distinct_offsets(m: int, a: int, n: int, b: int) -> int:
    """Size of { a i + b j : 0 <= i < m, 0 <= j < n }.

    (i, j) and (i', j') meet iff they differ by a multiple of (b', -a') with a', b' = a, b over their gcd;
    the chains of such pairs number m n less their links.

    >>> distinct_offsets(7, 1, 3, 1)
    9
    """
    common = math.gcd(a, b)
    return m * n - max(0, m - b // common) * max(0, n - a // common)


def element_bits(problem: Problem, tally: TensorTally, mode: Mode) -> int | None:
    """Bits of an element where it is held: partial sums at psum bits in physical mode; None in native mode.

    Raises:
        ValueError: partial sums of unknown width.
    """
    if mode == "native":
        return None
    if tally.tensor == "weights":
        return problem.weight_bits
    if tally.tensor == "inputs":
        return problem.input_bits
    if not tally.partial or mode == "paper":
        return problem.output_bits
    if problem.psum_bits is None and problem.output_bits is not None:
        raise ValueError(
            f"layer {problem.name!r}: outputs of {problem.output_bits} bits need psum_bits in physical mode"
        )
    return problem.psum_bits


def packing_of(accelerator: Accelerator, mode: Mode) -> WordPacking:
    """How elements go into words: the hardware's packing in physical mode, else that of the mode."""
    return accelerator.packing if mode == "physical" else mode


def violations(
    problem: Problem, mapping: Mapping, accelerator: Accelerator, counts: Counts, mode: Mode
) -> tuple[str, ...]:
    """Texts of what does not fit: fan-outs and capacities, innermost level first; empty = valid.

    A tensor that lives at a level as a whole (`holds`) takes no room for tiles.
    """
    packing = packing_of(accelerator, mode)
    found = []
    for nest, level, tally in zip(mapping.levels, accelerator.levels, counts.levels, strict=True):
        for letter, loops, axis in (("x", nest.x, level.x), ("y", nest.y, level.y)):
            product = math.prod(bound for _, bound in loops)
            if product > axis.size:
                found.append(f"{level.name}: fan-out {letter} is {product}, the hardware has {axis.size}")
            foreign = dict.fromkeys(dim for dim, bound in loops if bound > 1 and dim not in axis.dims)
            if foreign:
                found.append(
                    f"{level.name}: {', '.join(foreign)} may not be unrolled on {letter} "
                    f"(dims {', '.join(axis.dims) or 'none'})"
                )
        if level.words is None:
            continue
        needs = {
            entry.tensor: words(entry.tile, element_bits(problem, entry, mode), level.word_bits, packing)
            for entry in tally.tensors
            if entry.tensor not in level.holds
        }
        if sum(needs.values()) > level.words:
            parts = ", ".join(f"{tensor} {need}" for tensor, need in needs.items())
            found.append(
                f"{level.name}: tiles need {sum(needs.values())} words ({parts}), there are {level.words} "
                f"of {level.word_bits} bits"
            )
    if counts.mac_instances > accelerator.mac_count:
        found.append(f"mac: {counts.mac_instances} units are used, the hardware has {accelerator.mac_count}")
    return tuple(found)
