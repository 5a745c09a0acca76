"""The map space: which factors, unrollings and keep sets a mapping may use (mapping.md 4.1)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Literal, cast

from bitjoule.mapping.accelerator import Accelerator, Axis, StorageLevel
from bitjoule.mapping.problem import DIMS, TENSORS, Problem

__all__ = [
    "MAX_PADDING",
    "SpaceOptions",
    "SpatialAssignment",
    "constrained",
    "divisors",
    "keep_sets",
    "padded_problems",
    "space_size",
    "spatial_assignments",
]

MAX_PADDING = 0.25
"""Most additional MACs that padding may cost [assumed]."""

Bounds = tuple[int, int, int, int, int, int, int, int]
Factors = tuple[int, ...]
"""One factor per dimension, in the order of DIMS."""


@dataclass(frozen=True)
class SpaceOptions:
    """What narrows or widens the map space beside the hardware's own constraints.

    `spatial`: "any" fan-out use, or only the "max"imal one. `imperfect`: "pad" lets dimensions grow to a
    multiple of a fan-out factor. `fixed`, `most`: level -> dimension -> the only and the greatest temporal
    factor; `order`: level -> dimensions that come innermost, in this order.

    >>> SpaceOptions(fixed={"glb": {"K": 4}}).fixed["glb"]["K"]
    4
    """

    spatial: Literal["any", "max"] = "any"
    imperfect: Literal["none", "pad"] = "none"
    fixed: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    most: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    order: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.spatial not in ("any", "max"):
            raise ValueError(f"spatial must be any or max, not {self.spatial!r}")
        if self.imperfect not in ("none", "pad"):
            raise ValueError(f"imperfect must be none or pad, not {self.imperfect!r}")
        for name, table in (("fixed", self.fixed), ("most", self.most)):
            for level, factors in table.items():
                for dim, factor in factors.items():
                    if dim not in DIMS or not isinstance(factor, int) or factor < 1:
                        raise ValueError(
                            f"{name}[{level!r}] maps dimensions {' '.join(DIMS)} to factors >= 1, "
                            f"not {dim!r} to {factor!r}"
                        )
        for level, dims in self.order.items():
            if len(set(dims)) != len(dims) or not set(dims) <= set(DIMS):
                raise ValueError(f"order[{level!r}] must hold different dimensions of {' '.join(DIMS)}")

    @property
    def key(self) -> tuple[object, ...]:
        """All of it as a sortable tuple, for caches."""
        tables = (self.fixed, self.most)
        return (
            self.spatial,
            self.imperfect,
            *(tuple((level, tuple(sorted(t[level].items()))) for level in sorted(t)) for t in tables),
            tuple((level, tuple(self.order[level])) for level in sorted(self.order)),
        )


@dataclass(frozen=True)
class SpatialAssignment:
    """Factors unrolled on both axes of every level, innermost level first; `both`: their products."""

    x: tuple[Factors, ...]
    y: tuple[Factors, ...]
    both: tuple[Factors, ...]


def constrained(accelerator: Accelerator, options: SpaceOptions) -> Accelerator:
    """The hardware with the user's constraints added to its own, which they only narrow.

    Raises:
        ValueError: a level that the hardware does not have, a factor fixed where the dimension may not
        iterate
            or fixed to another by the hardware, an order that contradicts the hardware's.
    """
    names = [level.name for level in accelerator.levels]
    for asked in (options.fixed, options.most, options.order):
        for name in asked:
            if name not in names:
                raise ValueError(f"{accelerator.name} has no level {name!r} (has: {', '.join(names)})")

    def narrowed(level: StorageLevel) -> StorageLevel:
        fixed = dict(level.fixed_temporal)
        for dim, factor in options.fixed.get(level.name, {}).items():
            if fixed.get(dim, factor) != factor:
                raise ValueError(
                    f"{accelerator.name} fixes {dim} at {level.name} to {fixed[dim]}, it cannot be {factor}"
                )
            fixed[dim] = factor
        for dim, factor in fixed.items():
            if factor > 1 and dim not in level.loop_dims:
                raise ValueError(
                    f"{dim} is fixed to {factor} at {level.name} of {accelerator.name}, where it may not "
                    f"iterate (dims {' '.join(level.loop_dims) or 'none'})"
                )
        most = dict(level.max_temporal)
        for dim, factor in options.most.get(level.name, {}).items():
            most[dim] = min(factor, most.get(dim, factor))
        own, wanted = level.temporal_order, options.order.get(level.name, level.temporal_order)
        longer, shorter = (own, wanted) if len(own) > len(wanted) else (wanted, own)
        if longer[: len(shorter)] != shorter:
            raise ValueError(
                f"{accelerator.name} orders the loops of {level.name} {' '.join(own)} (innermost first), "
                f"which {' '.join(wanted)} contradicts"
            )
        return replace(
            level,
            fixed_temporal=tuple(sorted(fixed.items())),
            max_temporal=tuple(sorted(most.items())),
            temporal_order=longer,
        )

    return replace(accelerator, levels=tuple(narrowed(level) for level in accelerator.levels))


def keep_sets(accelerator: Accelerator) -> tuple[tuple[tuple[str, ...], ...], ...]:
    """Every choice of kept tensors per level: `keeps` less any subset of `bypass_allowed`.

    The outermost level that keeps a tensor always keeps it.
    """
    home = {
        tensor: max(i for i, level in enumerate(accelerator.levels) if tensor in level.keeps)
        for tensor in TENSORS
    }
    choices = []
    for index, level in enumerate(accelerator.levels):
        free = [t for t in level.keeps if t in level.bypass_allowed and home[t] != index]
        options = []
        for count in range(len(free) + 1):
            for out in itertools.combinations(free, count):
                options.append(tuple(t for t in TENSORS if t in level.keeps and t not in out))
        choices.append(options)
    return tuple(itertools.product(*choices))


@cache
def divisors(number: int) -> tuple[int, ...]:
    """Divisors in ascending order.

    >>> divisors(12)
    (1, 2, 3, 4, 6, 12)
    """
    small = [d for d in range(1, math.isqrt(number) + 1) if number % d == 0]
    return (*small, *(number // d for d in reversed(small) if d * d != number))


def _axis_factors(axis: Axis, left: Factors) -> Iterator[Factors]:
    """Factors on one axis: dims of its list, product at most its size, dividing what is left."""
    if axis.size == 1:
        yield (1,) * 8
        return
    dims = [i for i, dim in enumerate(DIMS) if dim in axis.dims and left[i] > 1]

    def walk(place: int, room: int, factors: list[int]) -> Iterator[Factors]:
        if place == len(dims):
            yield tuple(factors)
            return
        dim = dims[place]
        for factor in divisors(left[dim]):
            if factor > room:
                break
            factors[dim] = factor
            yield from walk(place + 1, room // factor, factors)
        factors[dim] = 1

    yield from walk(0, axis.size, [1] * 8)


def spatial_assignments(
    problem: Problem, accelerator: Accelerator, options: SpaceOptions
) -> list[SpatialAssignment]:
    """Every use of the fan-outs, once per product of both axes of a level (they are one two-dimensional
    fan-out, so that the split between x and y changes no count); the first split found stands for all."""
    ones: Factors = (1,) * 8
    found: list[tuple[SpatialAssignment, Factors, int]] = [
        (SpatialAssignment((), (), ()), problem.bounds, accelerator.mac_count)
    ]
    for level in accelerator.levels:
        fixed = [(DIMS.index(dim), factor) for dim, factor in level.fixed_spatial]
        uses: dict[Factors, list[tuple[Factors, Factors, Factors, Factors, int]]] = {}
        grown = []
        for entry, left, units in found:
            if left not in uses:
                uses[left] = list(_level_uses(level, left, fixed)) if level.fanout > 1 else []
                if level.fanout == 1 and all(factor == 1 for _, factor in fixed):
                    uses[left] = [(ones, ones, ones, left, 1)]
            for fx, fy, both, rest, used in uses[left]:
                if used <= units:
                    grown.append(
                        (
                            SpatialAssignment((*entry.x, fx), (*entry.y, fy), (*entry.both, both)),
                            rest,
                            units // used,
                        )
                    )
        found = grown
    if options.spatial == "max":
        busy = [math.prod(map(math.prod, entry.both)) for entry, _, _ in found]
        most = max(busy, default=0)
        return [entry for (entry, _, _), units in zip(found, busy, strict=True) if units == most]
    return [entry for entry, _, _ in found]


def _level_uses(
    level: StorageLevel, left: Factors, fixed: list[tuple[int, int]]
) -> Iterator[tuple[Factors, Factors, Factors, Factors, int]]:
    """(x, y, both, what remains, units) of every use of one fan-out, once per product of the axes."""
    seen: set[Factors] = set()
    for fx in _axis_factors(level.x, left):
        remaining = tuple(a // b for a, b in zip(left, fx, strict=True))
        for fy in _axis_factors(level.y, remaining):
            both = tuple(a * b for a, b in zip(fx, fy, strict=True))
            if both in seen or any(both[index] != factor for index, factor in fixed):
                continue
            seen.add(both)
            rest = tuple(a // b for a, b in zip(remaining, fy, strict=True))
            yield fx, fy, both, rest, math.prod(both)


def _splits(number: int, places: int) -> int:
    """Ordered ways to write a number as a product of `places` factors."""
    if places == 0:
        return int(number == 1)
    ways, rest, prime = 1, number, 2
    while rest > 1:
        power = 0
        while rest % prime == 0:
            rest //= prime
            power += 1
        ways *= math.comb(power + places - 1, places - 1)
        prime += 1
        if prime * prime > rest > 1:
            prime = rest
    return ways


def space_size(problem: Problem, accelerator: Accelerator, assignments: list[SpatialAssignment]) -> int:
    """Factorisations times keep sets, before capacity and loop orders are asked: how large the space is."""
    places = [sum(dim in level.loop_dims for level in accelerator.levels) for dim in DIMS]
    ways = [
        {left: _splits(left, count) for left in divisors(bound)}
        for bound, count in zip(problem.bounds, places, strict=True)
    ]
    total = 0
    for entry in assignments:
        used = map(math.prod, zip(*entry.both, strict=True))
        total += math.prod(w[b // u] for w, b, u in zip(ways, problem.bounds, used, strict=True))
    return total * len(keep_sets(accelerator))


def padded_problems(problem: Problem, accelerator: Accelerator) -> tuple[Problem, ...]:
    """The problem and, where a fan-out could take more of a dimension, problems with that dimension padded.

    Candidates per dimension: its bound, and the next multiple of every factor up to the fan-out sizes; at
    most 25 % more MACs in all.
    """
    sizes: dict[int, int] = {}
    for level in accelerator.levels:
        for axis in (level.x, level.y):
            if axis.size > 1:
                for dim in axis.dims:
                    index = DIMS.index(dim)
                    sizes[index] = max(sizes.get(index, 1), axis.size)
    choices = []
    for index, bound in enumerate(problem.bounds):
        multiples = {-(-bound // f) * f for f in range(2, sizes.get(index, 1) + 1)} if bound > 1 else set()
        choices.append(sorted({bound} | {m for m in multiples if m <= bound * (1 + MAX_PADDING)}))
    limit = problem.macs * (1 + MAX_PADDING)
    bounds = [b for b in itertools.product(*choices) if math.prod(b) <= limit]
    bounds.sort(key=lambda b: (b != problem.bounds, math.prod(b), b))
    return tuple(replace(problem, bounds=cast(Bounds, b)) for b in bounds)
