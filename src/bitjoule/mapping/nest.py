"""A Mapping: where every loop of a layer runs and which tensors every level keeps.

Levels innermost first; at each level temporal loops and spatial loops (the fan-out to the level below, inside
the temporal ones), innermost first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping as AnyMapping
from collections.abc import Sequence
from dataclasses import dataclass

from bitjoule.mapping.accelerator import Accelerator
from bitjoule.mapping.problem import DIMS, TENSORS, Problem

__all__ = ["SCHEMA", "LevelNest", "Loop", "Mapping"]

SCHEMA = "bitjoule.mapping/1"

Loop = tuple[str, int]
"""(dimension, bound)."""


@dataclass(frozen=True)
class LevelNest:
    """Loops of one level, innermost first, and the tensors it keeps (in the order of TENSORS)."""

    name: str
    keeps: tuple[str, ...]
    temporal: tuple[Loop, ...] = ()
    x: tuple[Loop, ...] = ()
    y: tuple[Loop, ...] = ()

    @property
    def spatial(self) -> tuple[Loop, ...]:
        """Loops of both fan-out axes, x inside y."""
        return (*self.x, *self.y)


@dataclass(frozen=True)
class Mapping:
    """A whole loop nest, innermost level first.

    >>> Mapping((LevelNest("dram", ("weights", "inputs", "outputs"), (("K", 4),)),)).bounds
    (1, 1, 4, 1, 1, 1, 1, 1)
    """

    levels: tuple[LevelNest, ...]

    @property
    def bounds(self) -> tuple[int, ...]:
        """Product of all bounds per dimension, in the order of DIMS."""
        return tuple(
            math.prod(
                bound
                for level in self.levels
                for dim, bound in (*level.temporal, *level.x, *level.y)
                if dim == wanted
            )
            for wanted in DIMS
        )
