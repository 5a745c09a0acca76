"""Why a layer has no mapping on a hardware, and what would mend it (mapping.md 4.5).

Either some loop has no factors that the limits of the levels permit, or the smallest tiles exceed a memory.
The second is found by relaxing one level at a time: what would it have to hold if the others stay?
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from bitjoule.mapping.accelerator import Accelerator
from bitjoule.mapping.evaluate import Mode
from bitjoule.mapping.problem import DIMS, Problem
from bitjoule.mapping.smallest_need import Need, smallest_need, splits_here

__all__ = ["InfeasibleMapping", "LevelNeed", "explain"]


@dataclass(frozen=True)
class LevelNeed:
    """A level whose smallest tiles do not fit: bits per instance that it holds, and that each tensor needs.

    `parts`: ("weights" | "inputs" | "outputs" | "psums", bits).
    """

    level: str
    holds_bits: int
    parts: tuple[tuple[str, int], ...]

    @property
    def need_bits(self) -> int:
        """Bits of all tiles."""
        return sum(bits for _, bits in self.parts)

    def __str__(self) -> str:
        parts = ", ".join(f"{name} {bits}" for name, bits in self.parts)
        return (
            f"{self.level} holds {self.holds_bits} bits; the smallest tiles need {self.need_bits} ({parts}): "
            f"{self.need_bits - self.holds_bits} bits short"
        )


class InfeasibleMapping(ValueError):
    """No mapping of a layer fits a hardware.

    `needs`: levels that are too small, each on its own a way out unless `together`; `conflicts`: loops that
    find no place whatever the sizes; `levers`: what would mend it, in order of effect. Can be pickled.
    """

    def __init__(
        self,
        layer: str,
        hardware: str,
        needs: tuple[LevelNeed, ...] = (),
        conflicts: tuple[str, ...] = (),
        levers: tuple[str, ...] = (),
        together: bool = False,
    ) -> None:
        self.layer, self.hardware = layer, hardware
        self.needs, self.conflicts, self.levers, self.together = needs, conflicts, levers, together
        lines = [f"{layer} does not fit {hardware}:", *(f"  {conflict}" for conflict in conflicts)]
        lines += [f"  {need}" for need in needs]
        if len(needs) > 1:
            lines.append(f"  {'all' if together else 'any one'} of these levels must grow")
        if levers:
            lines.append(f"  what would mend it: {'; '.join(levers)}")
        super().__init__("\n".join(lines))

    def __reduce__(self) -> tuple[type[InfeasibleMapping], tuple[object, ...]]:
        return (
            InfeasibleMapping,
            (self.layer, self.hardware, self.needs, self.conflicts, self.levers, self.together),
        )


def explain(problem: Problem, accelerator: Accelerator, mode: Mode = "physical") -> InfeasibleMapping | None:
    """Why `problem` has no mapping on `accelerator`; None where it has one.

    The answer is exact: factorisations, bypasses, and the loop orders that decide where partial sums lie.

    >>> from bitjoule.mapping.accelerator import StorageLevel
    >>> everything = ("weights", "inputs", "outputs")
    >>> levels = (StorageLevel("rf", everything, 2), StorageLevel("dram", everything))
    >>> print(explain(Problem("fc", (1, 1, 4, 1, 1, 1, 1, 1)), Accelerator("tiny", levels, 1), "native"))
    fc does not fit tiny:
      rf holds 32 bits; the smallest tiles need 48 (weights 16, inputs 16, outputs 16): 16 bits short
      what would mend it: allow weights to bypass rf; allow inputs to bypass rf; allow outputs to bypass rf; \
rf.size_bits >= 48
    """
    if smallest_need(problem, accelerator, mode=mode) is not None:
        return None
    unbounded = tuple(None for _ in accelerator.levels)
    if smallest_need(problem, accelerator, mode=mode, sizes=unbounded) is None:
        return InfeasibleMapping(
            problem.name, accelerator.name, conflicts=tuple(_conflicts(problem, accelerator))
        )
    found = _one_at_a_time(problem, accelerator, mode)
    together = not found
    if together:
        found = _in_turn(problem, accelerator, mode)
    needs = tuple(
        LevelNeed(
            (level := accelerator.levels[index]).name,
            (level.words or 0) * level.word_bits,
            tuple((name, count * level.word_bits) for name, count in need[1]),
        )
        for index, need in found
    )
    levers = (
        *_fewer_bits(problem, accelerator, mode, needs),
        *_bypasses(problem, accelerator, mode, needs),
        *_sizes(needs, together),
    )
    return InfeasibleMapping(problem.name, accelerator.name, needs, (), levers, together)


def _one_at_a_time(problem: Problem, accelerator: Accelerator, mode: Mode) -> list[tuple[int, Need]]:
    """Levels that would mend it alone, with what they would have to hold."""
    needs = [
        (index, smallest_need(problem, accelerator, mode=mode, target=index))
        for index, level in enumerate(accelerator.levels)
        if level.words is not None
    ]
    return [(index, need) for index, need in needs if need is not None]


def _in_turn(problem: Problem, accelerator: Accelerator, mode: Mode) -> list[tuple[int, Need]]:
    """Levels that must grow together: the innermost by as little as possible, then the next."""
    sizes: list[int | None] = [None] * len(accelerator.levels)
    found = []
    for index, level in enumerate(accelerator.levels):
        if level.words is None:
            continue
        need = smallest_need(problem, accelerator, mode=mode, sizes=tuple(sizes), target=index)
        assert need is not None  # all levels further out are still unbounded
        sizes[index] = max(level.words, need[0])
        if need[0] > level.words:
            found.append((index, need))
    return found


def _fewer_bits(
    problem: Problem, accelerator: Accelerator, mode: Mode, needs: tuple[LevelNeed, ...]
) -> Iterator[str]:
    """Per tensor, largest first, the most bits with which the layer fits."""
    share: dict[str, int] = {}
    for need in needs:
        for name, bits in need.parts:
            share[name] = max(share.get(name, 0), bits)
    for name in sorted(share, key=lambda part: -share[part]):
        present = _width(problem, name)
        if present is None or mode == "native":
            continue
        least = (problem.output_bits or 1) if name == "psums" else 1
        for bits in range(present - 1, least - 1, -1):
            if smallest_need(_with_width(problem, name, bits), accelerator, mode=mode) is not None:
                yield f"{name} at <= {bits} bits"
                break


def _width(problem: Problem, part: str) -> int | None:
    """Bits of an element of a part."""
    return {
        "weights": problem.weight_bits,
        "inputs": problem.input_bits,
        "outputs": problem.output_bits,
        "psums": problem.psum_bits,
    }[part]


def _with_width(problem: Problem, part: str, bits: int) -> Problem:
    """The same layer with other bits for one part."""
    if part == "weights":
        return replace(problem, weight_bits=bits)
    if part == "inputs":
        return replace(problem, input_bits=bits)
    return replace(problem, output_bits=bits) if part == "outputs" else replace(problem, psum_bits=bits)


def _bypasses(
    problem: Problem, accelerator: Accelerator, mode: Mode, needs: tuple[LevelNeed, ...]
) -> Iterator[str]:
    """Per level and tensor that it must keep: would it do to leave it out?"""
    for need in needs:
        level = accelerator.level(need.level)
        outermost = level is accelerator.levels[-1]
        for name, _ in sorted(need.parts, key=lambda part: -part[1]):
            tensor = "outputs" if name == "psums" else name
            if outermost or tensor in level.bypass_allowed:
                continue
            allowed = replace(level, bypass_allowed=(*level.bypass_allowed, tensor))
            levels = tuple(allowed if entry is level else entry for entry in accelerator.levels)
            if smallest_need(problem, replace(accelerator, levels=levels), mode=mode) is not None:
                yield f"allow {tensor} to bypass {level.name}"


def _sizes(needs: tuple[LevelNeed, ...], together: bool) -> Iterator[str]:
    wanted = [f"{need.level}.size_bits >= {need.need_bits}" for need in needs]
    yield from [" and ".join(wanted)] if together else wanted


def _conflicts(problem: Problem, accelerator: Accelerator) -> Iterator[str]:
    """Loops without a place: single dimensions, else the smallest sets that exclude each other."""
    present = [dim for dim, bound in zip(DIMS, problem.bounds, strict=True) if bound > 1]
    present += [dim for dim in DIMS if dim not in present]
    for size in range(1, len(DIMS) + 1):
        found = False
        for dims in itertools.combinations(present, size):
            bounds = tuple(n if dim in dims else 1 for dim, n in zip(DIMS, problem.bounds, strict=True))
            if size == 1 and not _placeable(accelerator, dims[0], problem.bound(dims[0])):
                found = True
                yield _nowhere(accelerator, dims[0], problem.bound(dims[0]))
            elif size > 1 and not _together(accelerator, dims, bounds):
                found = True
                named = ", ".join(f"{dim} = {problem.bound(dim)}" for dim in dims)
                yield (
                    f"{named}: each has a place, together they have none; {_fan_outs(accelerator, dims)} and "
                    f"{accelerator.mac_count} MAC units are too few for what no level may iterate"
                )
        if found:
            return


def _placeable(accelerator: Accelerator, dim: str, bound: int) -> bool:
    """Has one dimension factors that all levels permit?"""
    left = {bound}
    for level in accelerator.levels:
        left = {rest // math.prod(split) for rest in left for split in splits_here(level, dim, rest)}
    return 1 in left


def _together(accelerator: Accelerator, dims: tuple[str, ...], bounds: tuple[int, ...]) -> bool:
    """Have these dimensions factors at once, the other dimensions left alone?"""
    levels = tuple(
        replace(
            level,
            words=None,
            fixed_temporal=tuple(entry for entry in level.fixed_temporal if entry[0] in dims),
            fixed_spatial=tuple(entry for entry in level.fixed_spatial if entry[0] in dims),
        )
        for level in accelerator.levels
    )
    n, g, k, c, p, q, r, s = bounds
    problem = Problem("dimensions", (n, g, k, c, p, q, r, s))
    return smallest_need(problem, replace(accelerator, levels=levels), mode="native") is not None


def _nowhere(accelerator: Accelerator, dim: str, bound: int) -> str:
    """Text for a dimension without factors."""
    fixed = [
        f"{level.name}{where} {dim}={factor}"
        for level in accelerator.levels
        for where, limits in (("", level.fixed_temporal), (" fan-out", level.fixed_spatial))
        for name, factor in limits
        if name == dim
    ]
    greatest = [
        f"{level.name} {dim}<={factor}"
        for level in accelerator.levels
        for name, factor in level.max_temporal
        if name == dim
    ]
    product = math.prod(int(entry.rsplit("=", 1)[1]) for entry in fixed)
    if bound % product:
        return f"{dim} = {bound}: its fixed factors ({', '.join(fixed)}) do not divide it"
    limits = f" (limits: {', '.join(fixed + greatest)})" if fixed or greatest else ""
    iterating = [level.name for level in accelerator.levels if dim in level.loop_dims]
    who = f"{', '.join(iterating)} may iterate it, not far enough" if iterating else "no level may iterate it"
    return f"{dim} = {bound}: {who}, and it fits no factor of {_fan_outs(accelerator, (dim,))}{limits}"


def _fan_outs(accelerator: Accelerator, dims: tuple[str, ...]) -> str:
    """The fan-out axes that take any of these dimensions; all axes where none does."""
    axes = [
        (f"{level.name}.{letter} (size {axis.size}, dims {' '.join(axis.dims)})", axis.dims)
        for level in accelerator.levels
        for letter, axis in (("x", level.x), ("y", level.y))
        if axis.size > 1
    ]
    taking = [text for text, admitted in axes if set(admitted) & set(dims)]
    return ", ".join(taking or [text for text, _ in axes]) or "a fan-out (there is none)"
