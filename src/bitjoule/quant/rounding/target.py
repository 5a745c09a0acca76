"""What rounding aims at: the weights that would undo the errors of the layers before (`ptq.md` section 4.1).

w* = w (B + d I)^T (A + d I)^-1, d = 0.01 mean diag A, minimises E(w x - w~ x^)^2 over all real w~; the error
of any w~ is (w~ - w*) A (w~ - w*)^T plus a constant (exactly, when d = 0).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bitjoule.quant.rounding.gram import Gram
from bitjoule.quant.rounding.level_grid import RoundingError

__all__ = ["Target", "by_group", "quadratic_error", "weight_target"]

_FARTHEST = 0.5  # of the norm of a row


@dataclass(frozen=True)
class Target:
    """`weights` float64 (rows, n), and which rows kept their own weights because w* was too far."""

    weights: Tensor
    kept: Tensor


def by_group(rows: Tensor, a: Tensor) -> Tensor:
    """Rows (rows, ...) as (groups, rows / groups, ...) for the groups of `a` (groups, n, n)."""
    if a.dim() != 3 or a.shape[1] != a.shape[2]:
        raise RoundingError(f"Gram matrices have the shape (groups, n, n), not {tuple(a.shape)}")
    groups, n = a.shape[:2]
    if rows.dim() != 2 or rows.shape[0] % groups or rows.shape[1] != n:
        raise RoundingError(
            f"weights of {groups} groups with {n} columns have the shape (rows, {n}), rows a multiple of "
            f"{groups}; not {tuple(rows.shape)}"
        )
    return rows.reshape(groups, -1, n)


def quadratic_error(w: Tensor, target: Tensor, a: Tensor) -> Tensor:
    """(w - w*) A (w - w*)^T of every row; float64 (rows,).

    >>> w = torch.tensor([[1.0, 2.0]])
    >>> quadratic_error(w, 0 * w, torch.tensor([[[2.0, 1.0], [1.0, 2.0]]])).tolist()
    [14.0]
    """
    d = by_group(w.double() - target.double(), a)
    return ((d @ a.double()) * d).sum(-1).reshape(-1)


def weight_target(w: Tensor, gram: Gram, damping: float = 0.01) -> Target:
    """w* of every row of `w` (rows, n), rows of a group together; float64.

    A row whose w* lies farther from w than half of its norm keeps w, and so do groups without any input.
    """
    rows = by_group(w.detach().double(), gram.a)
    n = gram.a.shape[1]
    d = damping * gram.a.diagonal(dim1=1, dim2=2).mean(1)
    eye = torch.eye(n, dtype=torch.float64)
    left = gram.a + d[:, None, None] * eye
    right = (gram.b + d[:, None, None] * eye) @ rows.mT
    factor, failed = torch.linalg.cholesky_ex(left)
    usable = (failed == 0)[:, None, None]
    factor = torch.where(usable, factor, eye)
    found = torch.cholesky_solve(right, factor).mT
    moved = (found - rows).norm(dim=2)
    kept = ~(moved <= _FARTHEST * rows.norm(dim=2)) | ~usable[:, :, 0]
    weights = torch.where(kept[:, :, None], rows, found)
    return Target(weights.reshape(w.shape), kept.reshape(-1))
