"""The grid that a row of weights is rounded to: levels of a Format times a scale per row or per weight."""

from __future__ import annotations

import functools
from collections.abc import Hashable
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor

from bitjoule.formats import Format
from bitjoule.quant.level_set import staircase

__all__ = ["LevelGrid", "RoundingError", "level_grid"]


class RoundingError(ValueError):
    """A rounding that cannot be done; the text names the Format or the shape and the remedy."""


@dataclass(frozen=True)
class LevelGrid:
    """Levels, ascending (levels,), and scales (rows, 1) or (rows, n), all float64.

    uniform
        whether the levels are all integers from the first to the last.
    begins
        the smallest quotient that rounds to each level but the first, as the Format rounds.
    """

    format: Format
    levels: Tensor
    begins: Tensor
    scale: Tensor
    uniform: bool

    def nearest(self, w: Tensor, scale: Tensor | None = None) -> Tensor:
        """The level that the Format gives every weight (rows, n)."""
        u = w.double() / (self.scale if scale is None else scale)
        if self.uniform:
            return u.round_().clamp_(float(self.levels[0]), float(self.levels[-1])).add_(0.0)
        return self.levels[torch.bucketize(u.contiguous(), self.begins, right=True)]

    def around(self, w: Tensor) -> tuple[Tensor, Tensor]:
        """The levels below (or at) and above every weight; both the outermost level beyond the grid.

        >>> from bitjoule.formats import parse_format
        >>> grid = level_grid(parse_format("POT4"), torch.ones(1))
        >>> [v.tolist() for v in grid.around(torch.tensor([[-99.0, 2.5, 4.0]]))]
        [[[-64.0, 2.0, 4.0]], [[-64.0, 4.0, 8.0]]]
        """
        u = (w.double() / self.scale).contiguous()
        index = torch.bucketize(u, self.levels, right=True) - 1
        last = len(self.levels) - 1
        return self.levels[index.clamp(min=0)], self.levels[(index + 1).clamp(max=last)]

    def values(self, levels: Tensor) -> Tensor:
        """scale times level, float64."""
        return levels * self.scale

    def index(self, levels: Tensor) -> Tensor:
        """Places of levels in the list of levels, int64."""
        return torch.searchsorted(self.levels, levels.contiguous())


def level_grid(fmt: Format, scale: Tensor) -> LevelGrid:
    """The grid of `fmt` at `scale`: () or (rows,), or (rows, n) for one scale per weight (groups spread out).

    Raises RoundingError for Formats that round whole rows or blocks, or have more than 16 bits, and for
    scales that are not positive.

    >>> from bitjoule.formats import parse_format
    >>> level_grid(parse_format("INT2"), torch.tensor([0.5])).nearest(torch.tensor([[0.6, -9.0]])).tolist()
    [[1.0, -2.0]]
    """
    if fmt.kind in ("block", "vector") or fmt.bits > 16:
        why = f"rounds whole {fmt.kind}s" if fmt.kind in ("block", "vector") else f"has {fmt.bits} bits"
        raise RoundingError(
            f"{fmt.name} {why}; learned rounding takes element-wise formats of at most 16 bits, "
            "use nearest rounding"
        )
    scale = scale.detach().double()
    if not bool((scale > 0).all() and torch.isfinite(scale).all()):
        raise RoundingError(f"{fmt.name}: scales must be finite and > 0; zero rows get scale 1")
    if scale.dim() > 2:
        raise RoundingError(
            f"{fmt.name}: scales have the shape (), (rows,) or (rows, n), not {tuple(scale.shape)}"
        )
    levels, begins, uniform = _tables(cast(Hashable, fmt))
    return LevelGrid(fmt, levels, begins, scale if scale.dim() == 2 else scale.reshape(-1, 1), uniform)


@functools.lru_cache(maxsize=64)
def _tables(fmt: Hashable) -> tuple[Tensor, Tensor, bool]:
    f = cast(Format, fmt)
    steps = staircase(fmt, "float64")
    count = len(steps.levels)
    uniform = f.kind == "integer" and count > 2 and steps.levels[-1] - steps.levels[0] == count - 1
    return torch.from_numpy(np.array(steps.levels)), torch.from_numpy(np.array(steps.begins)), uniform
