"""The weights that survive a mask, solved anew so that they do the work of those that are pruned.

With S the survivors of a row, w_S = ((B + d I) w^T)_S (A_SS + d I)^-1 minimises E(w x - w_S x^_S)^2 over all
real values (`ptq.md` sections 4.1 and 5.4), d = 0.01 mean diag A.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bitjoule.quant.rounding.gram import Gram
from bitjoule.quant.rounding.level_grid import RoundingError
from bitjoule.quant.rounding.target import by_group

__all__ = ["importance", "masked_target"]

_AT_ONCE = 1 << 24  # numbers of the systems solved together


def importance(w: Tensor, a: Tensor) -> Tensor:
    """What each weight of `w` (rows, n) does to its output: abs(w) sqrt(A_jj); float64 (rows, n).

    >>> importance(torch.tensor([[3.0, -1.0]]), torch.diag(torch.tensor([1.0, 16.0]))[None]).tolist()
    [[3.0, 4.0]]
    """
    size = a.diagonal(dim1=1, dim2=2).double().clamp_min(0).sqrt()
    return (by_group(w.detach().double(), a).abs() * size[:, None]).reshape(w.shape)


def masked_target(w: Tensor, gram: Gram, keep: Tensor, damping: float = 0.01) -> Tensor:
    """`w` (rows, n) with pruned weights 0 and the survivors solved anew, row by row; float64.

    keep
        bool (rows, n), as many survivors in every row. Rows of groups without any input only lose the pruned
        weights.

    Raises:
        RoundingError: a mask of another shape, or rows of different numbers of survivors.

    >>> a = torch.tensor([[[2.0, 1.0], [1.0, 2.0]]])
    >>> kept = masked_target(torch.tensor([[1.0, 1.0]]), Gram(a, a, 9), torch.tensor([[True, False]]), 0.0)
    >>> kept.float().tolist()
    [[1.5, 0.0]]
    """
    if keep.shape != w.shape:
        raise RoundingError(f"a mask has the shape of the weights {tuple(w.shape)}, not {tuple(keep.shape)}")
    counts = keep.sum(1)
    if len(counts) == 0 or bool((counts != counts[0]).any()):
        raise RoundingError("masked_target: every row needs the same number of survivors")
    rows = by_group(w.detach().double(), gram.a)
    groups, each, n = rows.shape
    d = damping * gram.a.diagonal(dim1=1, dim2=2).mean(1)
    eye = torch.eye(n, dtype=torch.float64)
    left = gram.a + d[:, None, None] * eye
    right = ((gram.b + d[:, None, None] * eye) @ rows.mT).mT
    count = int(counts[0])
    places = keep.nonzero()[:, 1].reshape(groups, each, count)
    found = torch.where(by_group(keep, gram.a), rows, 0.0)
    step = max(1, _AT_ONCE // max(1, count * count))
    for group in range(groups):
        for first in range(0, each, step):
            s = places[group, first : first + step]
            system = left[group][s[:, :, None], s[:, None, :]]
            factor, failed = torch.linalg.cholesky_ex(system)
            wanted = right[group, first : first + step].gather(1, s)[:, :, None]
            solved = torch.cholesky_solve(wanted, factor)[:, :, 0]
            part = found[group, first : first + step]
            part.scatter_(1, s, torch.where((failed == 0)[:, None], solved, part.gather(1, s)))
    return found.reshape(w.shape)
