"""An Accelerator: a hierarchy of memories and fan-outs, innermost first, with resolved numbers.

Made from a `Hardware` of kind `hierarchy`. A level's fan-out leads to the level below it (the innermost
level's to the MAC units), and lies inside its temporal loops.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from bitjoule.mapping.problem import DIMS, TENSORS

__all__ = ["Accelerator", "Axis", "Packing", "StorageLevel"]

Packing = Literal["floor", "dense", "native", "paper"]
"""How elements go into words; `native`: one element per word; `paper`: floor, psums at output bits."""


@dataclass(frozen=True)
class Axis:
    """One axis of a fan-out: at most `size` instances, unrolled over `dims` only."""

    size: int = 1
    dims: tuple[str, ...] = DIMS


@dataclass(frozen=True)
class StorageLevel:
    """One level. Words and energies are per instance; energies per vector access of `width_bits`.

    `keeps`: tensors it holds (subset of TENSORS, in that order); none: a pure fan-out without temporal loops.
    `bypass_allowed`: of these, what a mapping may leave out. `words`: usable words of `word_bits` (already
    divided by multiple buffering), None = unbounded. `temporal_dims`: dimensions that may iterate here.
    `temporal_order`: dimensions that, where they iterate, come innermost and in this order. `x`, `y`: the
    fan-out. Bandwidths in words per cycle and instance, None = no limit. `cluster`: instances that share one
    access.
    `max_temporal`, `fixed_temporal`: greatest and only factor of a dimension, of imported constraints; a
    missing dimension is free. `fixed_spatial`: same for the fan-out. `residency`: feature maps may stay here
    between layers. `holds`: tensors that live here as a whole, outside `words` (see `Accelerator.resident`).
    """

    name: str
    keeps: tuple[str, ...]
    words: int | None = None
    word_bits: int = 16
    width_bits: int = 16
    read_pj: float = 0.0
    write_pj: float = 0.0
    update_pj: float | None = None
    leak_pj_per_cycle: float = 0.0
    noc_pj_per_word: float = 0.0
    read_words_per_cycle: float | None = None
    write_words_per_cycle: float | None = None
    x: Axis = Axis()
    y: Axis = Axis()
    bypass_allowed: tuple[str, ...] = ()
    temporal_dims: tuple[str, ...] = DIMS
    temporal_order: tuple[str, ...] = ()
    fixed_temporal: tuple[tuple[str, int], ...] = ()
    max_temporal: tuple[tuple[str, int], ...] = ()
    fixed_spatial: tuple[tuple[str, int], ...] = ()
    cluster: int = 1
    charge_drain: bool = False
    residency: bool = False
    holds: tuple[str, ...] = ()

    @property
    def loop_dims(self) -> tuple[str, ...]:
        """Dimensions that may iterate in time here; none at a pure fan-out."""
        return self.temporal_dims if self.keeps or self.holds else ()

    @property
    def fanout(self) -> int:
        """Instances of the level below per instance of this one."""
        return self.x.size * self.y.size

    @property
    def block(self) -> float:
        """Words per vector access."""
        return self.width_bits / (self.word_bits * self.cluster)

    @property
    def update_price_pj(self) -> float:
        """Energy of an update: its own, or that of a write."""
        return self.write_pj if self.update_pj is None else self.update_pj


@dataclass(frozen=True)
class Accelerator:
    """Levels innermost first, MAC units, and how elements are packed.

    `psum_bits`: of the hardware, or "auto".

    Raises:
        ValueError: no level, level names twice, or an outermost level that does not keep all tensors.
    """

    name: str
    levels: tuple[StorageLevel, ...]
    mac_count: int
    packing: Literal["floor", "dense"] = "floor"
    psum_bits: int | Literal["auto"] = "auto"
    mac_leak_pj_per_cycle: float = 0.0

    def __post_init__(self) -> None:
        names = [level.name for level in self.levels]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice or not names:
            raise ValueError(f"{self.name}: level names must differ, {', '.join(twice) or 'none'} given")
        held = {tensor for level in self.levels for tensor in level.holds}
        if set(self.levels[-1].keeps) | held != set(TENSORS):
            raise ValueError(f"{self.name}: the outermost level {names[-1]!r} must keep all tensors")

    def level(self, name: str) -> StorageLevel:
        """The level of that name; KeyError lists the names."""
        for level in self.levels:
            if level.name == name:
                return level
        raise KeyError(f"{self.name} has no level {name!r} (has: {', '.join(l.name for l in self.levels)})")

    def total_instances(self, index: int) -> int:
        """Instances of level `index` that exist: the product of the fan-outs above."""
        return math.prod(level.fanout for level in self.levels[index + 1 :])

    def resident(self, level: str, tensors: tuple[str, ...], free_words: int | None) -> Accelerator:
        """The same hardware while `tensors` live as a whole in `level` (energy.md 5.1).

        Their backing store is that level: no level outside it keeps them, and it does not bypass them.
        `free_words` of it remain for the tiles of the other tensors.

        Raises:
            ValueError: `level` does not keep the tensors.
        """
        index = [entry.name for entry in self.levels].index(self.level(level).name)
        lacking = [tensor for tensor in tensors if tensor not in self.levels[index].keeps]
        if lacking:
            raise ValueError(f"{self.name}: level {level!r} does not keep {', '.join(lacking)}")
        home = self.levels[index]
        home = replace(
            home,
            words=free_words,
            holds=tensors,
            bypass_allowed=tuple(t for t in home.bypass_allowed if t not in tensors),
        )
        outside = [
            replace(
                entry,
                keeps=tuple(t for t in entry.keeps if t not in tensors),
                bypass_allowed=tuple(t for t in entry.bypass_allowed if t not in tensors),
            )
            for entry in self.levels[index + 1 :]
        ]
        return replace(self, levels=(*self.levels[:index], home, *outside))
