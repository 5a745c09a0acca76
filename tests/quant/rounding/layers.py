"""Tiny layers for the tests of rounding: inputs, weights, and all roundings of a row."""

import itertools

import torch
from torch import Tensor

from bitjoule.formats import parse_format
from bitjoule.quant.rounding import LevelGrid, level_grid

__all__ = ["GRIDS", "best_of_all", "clipped_grid", "gram_of", "relu_inputs"]

GRIDS = ("INT2_NARROW", "INT3_NARROW", "INT4_NARROW", "POT3", "APOT4")


def relu_inputs(n: int, count: int, seed: int) -> Tensor:
    """Correlated non-negative inputs (count, n), float64."""
    g = torch.Generator().manual_seed(seed)
    mix = torch.randn(n, n, generator=g, dtype=torch.float64)
    return torch.relu(torch.randn(count, n, generator=g, dtype=torch.float64) @ mix / n**0.5 + 0.2)


def gram_of(x: Tensor) -> Tensor:
    """mean x x^T as (1, n, n)."""
    return (x.mT @ x / len(x))[None]


def clipped_grid(name: str, w: Tensor) -> LevelGrid:
    """The grid whose largest level is at 0.8 of the largest magnitude of each row."""
    fmt = parse_format(name)
    return level_grid(fmt, 0.8 * w.abs().amax(1) / fmt.max_level)


def best_of_all(w: Tensor, a: Tensor, grid: LevelGrid) -> Tensor:
    """The least error of each row over all choices of floor and ceil, (rows,)."""
    low, high = grid.around(w)
    ends = torch.stack([grid.values(low), grid.values(high)]) - w
    picks = torch.tensor(list(itertools.product((0, 1), repeat=w.shape[1])))
    best = torch.empty(len(w), dtype=torch.float64)
    for row in range(len(w)):
        d = torch.where(picks == 1, ends[1, row], ends[0, row])
        best[row] = ((d @ a[0]) * d).sum(1).min()
    return best
