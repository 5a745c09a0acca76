"""The distributional loss: cross-entropy to a teacher's softmax, without labels (ReActNet, equation 7)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

__all__ = ["distribution_loss"]


def distribution_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """-mean over images of sum_c softmax(teacher)_c log softmax(student)_c; T = 1, logits (N, classes).

    Gradients reach the student only.

    >>> import torch
    >>> round(distribution_loss(torch.zeros(1, 2), torch.tensor([[9.0, -9.0]])).item(), 6)
    0.693147
    """
    return -(F.softmax(teacher.detach(), dim=1) * F.log_softmax(student, dim=1)).sum(1).mean()
