"""Whether what a unit learned is kept: a number per image for its results, and when a rise of it counts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

__all__ = ["Judge", "clearly_worse", "mean_cost"]

Judge = Callable[[Iterable[Tensor]], Tensor]
"""The unit's results, batch by batch, to a number per image that is to be small, float64 (images,)."""


def clearly_worse(before: Tensor, after: Tensor) -> bool:
    """Whether the mean rises by more than the standard error of the differences per image.

    >>> before = torch.zeros(2)
    >>> clearly_worse(before, torch.tensor([3.0, 2.0])), clearly_worse(before, torch.tensor([3.0, -2.0]))
    (True, False)
    """
    rise = after - before
    error = rise.std() / len(rise) ** 0.5 if len(rise) > 1 else rise.new_zeros(())
    return bool(rise.mean() > error)


def mean_cost(wanted: Sequence[Tensor], importance: Tensor | None) -> Judge:
    """Judges results by the mean over places of the squared error, summed over channels."""

    def judge(results: Iterable[Tensor]) -> Tensor:
        found, first = [], 0
        for z, aim in zip(results, wanted, strict=True):
            error = (z - aim).square()
            if importance is not None:
                error *= importance[first : first + len(aim)]
            found.append(error.flatten(1).mean(1, dtype=torch.float64) * aim.shape[1])
            first += len(aim)
        return torch.cat(found)

    return judge
