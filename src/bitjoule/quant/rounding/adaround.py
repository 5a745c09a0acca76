"""AdaRound on Gram matrices: floor or ceil of every weight, learned all at once without images.

Nagel et al. 2020, arXiv 2004.10568. The loss is the quadratic form of `ptq.md` section 4.1 in units of the
step and of the mean diagonal of A, so one learning rate serves all layers. Its gradient is one matrix
product a step, written out here.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bitjoule.quant.rounding.level_grid import LevelGrid
from bitjoule.quant.rounding.soft import beta_at, rectified_sigmoid, regulariser, share_at, soft_start
from bitjoule.quant.rounding.target import by_group, quadratic_error

__all__ = ["AdaRounded", "adaround"]


@dataclass(frozen=True)
class AdaRounded:
    """`levels` float64 (rows, n), each floor or ceil; what share of the variables was not yet binary (the
    regulariser at beta 2 over their count); how many rows kept their nearest rounding, which was better.
    """

    levels: Tensor
    undecided: float
    kept: int


def adaround(
    target: Tensor,
    a: Tensor,
    grid: LevelGrid,
    *,
    steps: int = 1000,
    rate: float = 1e-2,
    strength: float = 10.0,
    keep: Tensor | None = None,
) -> AdaRounded:
    """Rounding of `target` (rows, n) learned by Adam in float32; `a` (groups, n, n).

    The levels to choose from are the two around the target; beyond the grid there is one. No row ends with a
    greater error than nearest rounding. `strength` is that of the regulariser; at 10 all variables end binary
    (docs/ptq.md has the measurement). Weights where `keep` (rows, n) is False are 0.

    >>> from bitjoule.formats import parse_format
    >>> from bitjoule.quant.rounding.level_grid import level_grid
    >>> grid, w = level_grid(parse_format("INT4"), torch.tensor([1.0])), torch.tensor([[1.45, 1.42]])
    >>> adaround(w, torch.ones(1, 2, 2), grid, steps=200).levels.sum().item()
    3.0
    """
    wanted = target.detach().double()
    low, high = grid.around(wanted)
    if keep is not None:
        low, high = torch.where(keep, low, 0.0), torch.where(keep, high, 0.0)
    gap = by_group(high - low, a).float()
    free = gap > 0
    u = by_group((wanted / grid.scale) - low, a).float()
    offset = -u  # of floor from the target, in steps
    fraction = torch.where(free, u / gap.clamp_min(1e-30), torch.full_like(u, 0.5)).clamp(0, 1)
    diagonal = a.diagonal(dim1=1, dim2=2).double().mean(1).clamp_min(1e-300)
    matrix = (a.double() / diagonal[:, None, None]).float()
    # groups of scales within a row weigh differently; the loss is in units of the row's mean scale
    relative = grid.scale / grid.scale.mean(1, keepdim=True)
    weight = by_group(relative.expand_as(wanted), a).float()
    # and, where levels are not equidistant, of the root mean square of its steps between levels
    squares = gap.square().sum(2, keepdim=True) / free.sum(2, keepdim=True).clamp_min(1)
    weight = weight / torch.where(squares > 0, squares, 1.0).sqrt()
    v = _learned(soft_start(fraction), offset, gap, weight, matrix, free, steps, rate, strength)
    h = rectified_sigmoid(v)
    count = max(1, int(free.sum()))
    undecided = float(regulariser(torch.where(free, h, torch.ones_like(h)), 2.0)) / count
    levels = torch.where((v >= 0).reshape(wanted.shape), high, low)
    nearest = grid.nearest(wanted)
    if keep is not None:
        nearest = torch.where(keep, nearest, 0.0)
    worse = quadratic_error(grid.values(levels), wanted, a) > quadratic_error(grid.values(nearest), wanted, a)
    return AdaRounded(torch.where(worse[:, None], nearest, levels), undecided, int(worse.sum()))


def _learned(
    v: Tensor,
    offset: Tensor,
    gap: Tensor,
    weight: Tensor,
    matrix: Tensor,
    free: Tensor,
    steps: int,
    rate: float,
    strength: float,
) -> Tensor:
    """V after `steps` of Adam (0.9, 0.999, 1e-8)."""
    mean, square = torch.zeros_like(v), torch.zeros_like(v)
    for step in range(steps):
        s = torch.sigmoid(v)
        stretched = 1.2 * s - 0.1
        h = stretched.clamp(0, 1)
        d = (offset + gap * h) * weight
        slope = 2 * (d @ matrix) * gap * weight
        if share_at(step, steps):
            beta = beta_at(step, steps)
            side = 2 * h - 1
            slope -= strength * 2 * beta * side.sign() * side.abs().pow(beta - 1)
        inside = (stretched > 0) & (stretched < 1) & free
        slope = torch.where(inside, slope * (1.2 * s * (1 - s)), torch.zeros_like(slope))
        mean.lerp_(slope, 0.1)
        square.lerp_(slope.square_(), 0.001)
        unbiased = square / (1 - 0.999 ** (step + 1))
        v = v - rate / (1 - 0.9 ** (step + 1)) * mean / (unbiased.sqrt_() + 1e-8)
    return v
