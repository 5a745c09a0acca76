"""GPTQ: rounding column by column, each error undone as well as possible by the columns still to come.

Frantar et al. 2022, arXiv 2210.17323, algorithm 1 and code IST-DASLab/gptq, for any element-wise Format: the
rounding is the Format's own, so powers of two and their sums need nothing else.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bitjoule.quant.fake_quantizer import QuantizerWarning
from bitjoule.quant.rounding.level_grid import LevelGrid, RoundingError
from bitjoule.quant.rounding.target import by_group

__all__ = ["GptqResult", "gptq", "inverse_factor"]


@dataclass(frozen=True)
class GptqResult:
    """`levels` float64 (rows, n) on `grid`; the damping used for each group (inf: rounded to nearest)."""

    levels: Tensor
    grid: LevelGrid
    damping: Tensor

    @property
    def values(self) -> Tensor:
        """The rounded weights, float64 (rows, n)."""
        return self.grid.values(self.levels)


def inverse_factor(a: Tensor, damping: float) -> tuple[Tensor, Tensor]:
    """U, upper triangular, with U^T U = (H + damping mean(diag H) I)^-1, H = 2 A (n, n) with the diagonal of
    unused columns set to 1; and the damping that was needed (times 10 up to 1 where Cholesky fails), inf
    where none was enough.

    `a` is (groups, n, n). H = R R^T with R upper is the Cholesky factorisation of H read backwards, and
    U = R^-1: no inverse of H is formed.
    """
    h = 2 * a.double()
    diagonal = h.diagonal(dim1=1, dim2=2)
    h = h + torch.diag_embed((diagonal == 0).double())
    mean = h.diagonal(dim1=1, dim2=2).mean(1)
    n = h.shape[1]
    eye = torch.eye(n, dtype=torch.float64)
    used = torch.full((len(h),), damping, dtype=torch.float64)
    factor = eye.repeat(len(h), 1, 1)
    waiting = torch.arange(len(h))
    while len(waiting):
        damped = h[waiting] + (used[waiting] * mean[waiting])[:, None, None] * eye
        found, failed = torch.linalg.cholesky_ex(damped.flip(1, 2))
        good = (failed == 0) & torch.isfinite(found).all(2).all(1)
        factor[waiting[good]] = found[good].flip(1, 2)
        waiting = waiting[~good]
        used[waiting] = (used[waiting] * 10).clamp_min(1e-6)
        hopeless = used[waiting] > 1 + 1e-9
        used[waiting[hopeless]] = float("inf")
        waiting = waiting[~hopeless]
    return torch.linalg.solve_triangular(factor, eye.expand_as(factor), upper=True), used


def gptq(
    w: Tensor,
    a: Tensor,
    grid: LevelGrid,
    *,
    act_order: bool = True,
    damping: float = 0.01,
    block: int = 128,
    keep: Tensor | None = None,
    group_size: int = 0,
    rescale: Callable[[Tensor], Tensor] | None = None,
    name: str = "weights",
) -> GptqResult:
    """Rounded rows of `w` (rows, n), or of its target w*, for inputs of second moments `a` (groups, n, n).

    act_order
        columns by falling diagonal of A, stable ties, instead of in their order: a heuristic, not a bound.
    keep
        bool (rows, n): False where a weight is pruned. It stays 0 and its loss is undone by the others.
    group_size, rescale
        every `group_size` columns, in natural order, the scale (rows,) is made anew by `rescale` from the
        current weights (rows, group_size).

    Columns that never see an input get 0, or the level nearest to it. Where Cholesky fails with every damping
    up to 1 the group is rounded to nearest, with a `QuantizerWarning` that says so.

    >>> from bitjoule.formats import parse_format
    >>> from bitjoule.quant.rounding.level_grid import level_grid
    >>> grid = level_grid(parse_format("INT4"), torch.tensor([1.0]))
    >>> gptq(torch.tensor([[1.4, 1.4]]), torch.ones(1, 2, 2), grid).levels.tolist()
    [[1.0, 2.0]]
    """
    _check(w, grid, keep, act_order, group_size, rescale)
    groups, n = a.shape[:2]
    rows = by_group(w.detach().double(), a).clone()
    scale = by_group(grid.scale.expand(len(w), n), a).clone()
    held = None if keep is None else by_group(keep, a)
    diagonal = a.diagonal(dim1=1, dim2=2).double()
    rows = torch.where((diagonal == 0)[:, None, :], 0.0, rows)
    order = torch.arange(n).expand(groups, n)
    if act_order:
        order = diagonal.argsort(dim=1, descending=True, stable=True)
    each = torch.arange(groups)[:, None]
    ordered = a[each[:, :, None], order[:, :, None], order[:, None, :]]
    u, used = inverse_factor(ordered, damping)
    across = order[:, None, :].expand_as(rows)
    rows = rows.gather(2, across)
    plain = rows.clone()
    scale = scale.gather(2, across)
    held = None if held is None else held.gather(2, across)
    levels = torch.zeros_like(rows)
    for first in range(0, n, block):
        last = min(first + block, n)
        errors = torch.zeros(groups, rows.shape[1], last - first, dtype=torch.float64)
        for i in range(first, last):
            if rescale is not None and i % group_size == 0:
                if i + group_size > last and last < n:  # the group reaches into columns not yet updated
                    done = i - first
                    rows[:, :, last:] -= errors[:, :, :done] @ u[:, first:i, last:]
                    u[:, first:i, last:] = 0.0
                scale[:, :, i : i + group_size] = _rescaled(rows[:, :, i : i + group_size], rescale)
            column = rows[:, :, i]
            level = grid.nearest(column, scale[:, :, i])
            if held is not None:
                level = torch.where(held[:, :, i], level, 0.0)
            levels[:, :, i] = level
            error = (column - level * scale[:, :, i]) / u[:, i, i, None]
            errors[:, :, i - first] = error
            if i + 1 < last:
                rows[:, :, i + 1 : last] -= error[:, :, None] * u[:, None, i, i + 1 : last]
        if last < n:
            rows[:, :, last:] -= errors @ u[:, first:last, last:]
    levels = _nearest_where_failed(levels, plain, scale, held, used, grid, name)
    back = torch.empty_like(levels).scatter_(2, across, levels)
    grid = replace(grid, scale=torch.empty_like(scale).scatter_(2, across, scale).reshape(len(w), n))
    return GptqResult(back.reshape(len(w), n), grid, used)


def _rescaled(rows: Tensor, rescale: Callable[[Tensor], Tensor]) -> Tensor:
    flat = rows.reshape(-1, rows.shape[2])
    return rescale(flat).double().reshape(rows.shape[0], rows.shape[1], 1).expand_as(rows)


def _nearest_where_failed(
    levels: Tensor,
    plain: Tensor,
    scale: Tensor,
    held: Tensor | None,
    used: Tensor,
    grid: LevelGrid,
    name: str,
) -> Tensor:
    failed = torch.isinf(used)
    if not bool(failed.any()):
        return levels
    warnings.warn(
        f"{name}: the Gram matrix of {int(failed.sum())} of {len(failed)} groups is not positive definite "
        "even with damping 1; these are rounded to nearest",
        QuantizerWarning,
        stacklevel=3,
    )
    nearest = grid.nearest(plain, scale)
    nearest = nearest if held is None else torch.where(held, nearest, 0.0)
    return torch.where(failed[:, None, None], nearest, levels)


def _check(
    w: Tensor,
    grid: LevelGrid,
    keep: Tensor | None,
    act_order: bool,
    group_size: int,
    rescale: Callable[[Tensor], Tensor] | None,
) -> None:
    if keep is not None and not grid.format.has_zero:
        raise RoundingError(
            f"{grid.format.name} has no zero to prune with; drop the mask or take another format"
        )
    if keep is not None and keep.shape != w.shape:
        raise RoundingError(f"a mask has the shape of the weights {tuple(w.shape)}, not {tuple(keep.shape)}")
    if (rescale is None) != (group_size == 0):
        raise RoundingError("group_size and rescale go together: give both, or fixed scales and neither")
    if rescale is not None and act_order:
        raise RoundingError("scales made anew in each group need the natural order; set act_order=False")
