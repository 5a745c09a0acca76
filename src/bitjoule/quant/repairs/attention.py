"""Attention matching: the student's maps of activity follow the teacher's (Martinez et al. 2020).

A map is mean_c x^2, flattened and divided by its norm (Zagoruyko and Komodakis 2017, arXiv 1612.03928).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["ATTENTION_WEIGHT", "LATE_OUTPUT_WEIGHT", "attention_loss", "attention_map"]

ATTENTION_WEIGHT = 30.0
"""Weight of the attention loss in the early stages (larq/zoo)."""

LATE_OUTPUT_WEIGHT = 0.8
"""Weight of the loss between outputs in the last stage (larq/zoo)."""

SHORTEST = 1e-12
"""Least length that a map is divided by: the gradient at a map of zeros stays within float32."""


def attention_map(x: Tensor) -> Tensor:
    """Unit vectors (N, H W) of mean_c x^2 for x of shape (N, C, H, W); an all-zero map stays zero.

    >>> attention_map(torch.tensor([[[[3.0, 0.0]]]])).tolist()
    [[1.0, 0.0]]
    """
    flat = x.square().mean(1).flatten(1)
    length = torch.linalg.vector_norm(flat, dim=1, keepdim=True).clamp(min=SHORTEST)
    unit: Tensor = flat / length
    return unit


def attention_loss(student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
    """Sum over blocks of the mean squared distance between attention maps; gradients reach the student only.

    Raises:
        ValueError: another number of blocks, or maps of other sizes, which is named.
    """
    if len(student) != len(teacher) or not student:
        raise ValueError(f"attention maps pair blocks one to one, not {len(student)} and {len(teacher)}")
    total = torch.zeros((), device=student[0].device)
    for index, (ours, theirs) in enumerate(zip(student, teacher, strict=True)):
        if ours.shape[2:] != theirs.shape[2:]:
            raise ValueError(
                f"block {index}: the student's map is {tuple(ours.shape[2:])}, the teacher's "
                f"{tuple(theirs.shape[2:])}; choose blocks of one resolution"
            )
        total = total + (attention_map(ours) - attention_map(theirs.detach())).square().sum(1).mean()
    return total
