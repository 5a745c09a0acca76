"""The best rounding of each row among several, and the named ways to round a layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from bitjoule.quant.rounding.adaround import adaround
from bitjoule.quant.rounding.flips import flips
from bitjoule.quant.rounding.gptq import gptq
from bitjoule.quant.rounding.level_grid import LevelGrid, RoundingError
from bitjoule.quant.rounding.target import quadratic_error

__all__ = ["GroupScales", "RoundedLayer", "Rounding", "best_of", "round_layer"]

Rounding = Literal["nearest", "gptq", "adaround", "best_of"]


@dataclass(frozen=True)
class GroupScales:
    """How scales in groups of `size` columns are found: from the weights (rows, size) of a group, (rows,)."""

    size: int
    scales: Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class RoundedLayer:
    """`levels` float64 (rows, n) on `grid`, the quadratic error of each row, and how many rows each method
    gave.
    """

    levels: Tensor
    error: Tensor
    chosen: dict[str, int]
    grid: LevelGrid


def best_of(candidates: Mapping[str, Tensor], target: Tensor, a: Tensor, grid: LevelGrid) -> RoundedLayer:
    """Of every row the candidate (levels, (rows, n)) of least error; of equals the first.

    >>> from bitjoule.formats import parse_format
    >>> from bitjoule.quant.rounding.level_grid import level_grid
    >>> grid, one = level_grid(parse_format("INT4"), torch.tensor([1.0])), torch.ones(1, 1)
    >>> best_of({"a": 3 * one, "b": one}, 1.2 * one, torch.ones(1, 1, 1), grid).chosen
    {'a': 0, 'b': 1}
    """
    if not candidates:
        raise RoundingError("best_of: no roundings were given")
    errors = torch.stack([quadratic_error(grid.values(x), target, a) for x in candidates.values()])
    which = errors.argmin(0)
    levels = torch.stack([x.double() for x in candidates.values()])
    rows = torch.arange(levels.shape[1])
    chosen = {name: int((which == i).sum()) for i, name in enumerate(candidates)}
    return RoundedLayer(levels[which, rows], errors[which, rows], chosen, grid)


def round_layer(
    target: Tensor,
    a: Tensor,
    grid: LevelGrid,
    method: Rounding,
    *,
    refine: bool = False,
    act_order: bool = True,
    steps: int = 1000,
    keep: Tensor | None = None,
    rescale: GroupScales | None = None,
    name: str = "weights",
) -> RoundedLayer:
    """Rounds the rows of `target` (rows, n) for inputs of second moments `a` (groups, n, n).

    `best_of` takes of every row the better of GPTQ, AdaRound (`steps`) and nearest rounding. With `refine`
    flips follow on each of them, before the choice. Weights where `keep` (rows, n) is False are 0.
    `rescale`: scales in groups that `gptq` alone, in the natural order, makes anew as it goes; the result's
    grid has them.
    """
    if rescale is not None and method == "gptq" and not act_order and keep is None:
        made = gptq(
            target, a, grid, act_order=False, group_size=rescale.size, rescale=rescale.scales, name=name
        )
        levels = flips(made.levels, target, a, made.grid) if refine else made.levels
        return best_of({"gptq": levels}, target, a, made.grid)
    nearest = grid.nearest(target)
    if keep is not None:
        nearest = torch.where(keep, nearest, 0.0)
    candidates: dict[str, Tensor] = {"nearest": nearest}
    if method in ("gptq", "best_of"):
        candidates["gptq"] = gptq(target, a, grid, act_order=act_order, keep=keep, name=name).levels
    if method in ("adaround", "best_of"):
        candidates["adaround"] = adaround(target, a, grid, steps=steps, keep=keep).levels
    if method != "best_of":
        candidates = {method: candidates[method]}
    if refine:
        candidates = {m: flips(x, target, a, grid, keep=keep) for m, x in candidates.items()}
    return best_of(candidates, target, a, grid)
