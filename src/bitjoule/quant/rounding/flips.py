"""Flip refinement: from any rounding down to a local optimum of the quadratic error (`ptq.md` section 4.3).

Per row the best single or double change is made until none lowers the error. Gains are kept up to date: with
g = A (w~ - w*), changing weight i by t gains 2 t g_i + t^2 A_ii, a pair 2 t u A_ij more. Rows of at most nine
weights are not searched but solved: all choices of floor and ceil are tried.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bitjoule.quant.rounding.flip_kernel import best_rows, flip_rows
from bitjoule.quant.rounding.level_grid import LevelGrid
from bitjoule.quant.rounding.target import by_group, quadratic_error

__all__ = ["flips"]

_ALL_PAIRS = 256
_PAIRED = 64
_EXACT = 9  # columns up to which all choices are tried: a depthwise 3 x 3 kernel


def flips(
    levels: Tensor, target: Tensor, a: Tensor, grid: LevelGrid, *, keep: Tensor | None = None
) -> Tensor:
    """Levels (rows, n) of an error not above that of `levels`, float64; deterministic.

    A weight at the level below or above its target may change to the other of the two; a weight elsewhere
    (GPTQ leaves some there) may move to either neighbouring level. With more than 256 columns only the 64
    best single changes are paired. At most 4 n changes are made in a row. With at most nine columns the
    result is not worse than the best of all choices of floor and ceil. Weights where `keep` (rows, n) is
    False do not move.

    >>> from bitjoule.formats import parse_format
    >>> from bitjoule.quant.rounding.level_grid import level_grid
    >>> grid, w = level_grid(parse_format("INT4"), torch.tensor([1.0])), torch.tensor([[1.4, 1.4]])
    >>> flips(grid.nearest(w), w, torch.ones(1, 2, 2), grid).tolist()
    [[2.0, 1.0]]
    """
    rows, n = levels.shape
    wanted = target.detach().double()
    low, high = (grid.index(v) for v in grid.around(wanted))
    index = grid.index(levels.double())
    held = torch.ones_like(index, dtype=torch.bool) if keep is None else keep
    error = quadratic_error(grid.values(levels), wanted, a)
    gradient = (by_group(grid.values(levels.double()) - wanted, a) @ a.double()).reshape(rows, n)
    scale = grid.scale.expand(rows, grid.scale.shape[1]).contiguous()
    size = rows // len(a)
    pairs = n if n <= _ALL_PAIRS else _PAIRED
    for group, matrix in enumerate(a.double().contiguous()):
        part = slice(group * size, (group + 1) * size)
        moved = index[part].contiguous().numpy()
        flip_rows(
            moved,
            low[part].numpy(),
            high[part].numpy(),
            held[part].numpy(),
            grid.levels.numpy(),
            scale[part].numpy(),
            matrix.numpy(),
            gradient[part].contiguous().numpy(),
            error[part].numpy(),
            pairs,
            4 * n,
        )
        index[part] = torch.from_numpy(moved)
    found = _better(grid.levels[index], levels.double(), wanted, a, grid)
    if n > _EXACT:
        return found
    exact = grid.index(levels.double()).contiguous()
    for group, matrix in enumerate(a.double().contiguous()):
        part = slice(group * size, (group + 1) * size)
        best_rows(
            low[part].numpy(),
            high[part].numpy(),
            held[part].numpy(),
            grid.levels.numpy(),
            scale[part].numpy(),
            matrix.numpy(),
            wanted[part].contiguous().numpy(),
            exact[part].numpy(),
        )
    return _better(grid.levels[exact], found, wanted, a, grid)


def _better(new: Tensor, old: Tensor, target: Tensor, a: Tensor, grid: LevelGrid) -> Tensor:
    """Of every row the levels of lower error, `old` of equals."""
    after, before = (quadratic_error(grid.values(x), target, a) for x in (new, old))
    return torch.where((after < before)[:, None], new, old)
