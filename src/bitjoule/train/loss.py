"""The losses: cross-entropy, squared hinge on +-1 targets, and their mixture with a teacher."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from bitjoule.train.recipes import Recipe

__all__ = ["distillation_loss", "loss_of", "squared_hinge"]


def squared_hinge(logits: Tensor, labels: Tensor) -> Tensor:
    """mean max(0, 1 - t y)^2 over images and classes, t = +1 for the label and -1 else (Keras).

    >>> import torch
    >>> squared_hinge(torch.tensor([[2.0, -0.5]]), torch.tensor([0])).item()
    0.125
    """
    targets = 2 * F.one_hot(labels, logits.shape[1]).to(logits.dtype) - 1
    return (1 - targets * logits).clamp(min=0).square().mean()


def distillation_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T^2 KL(softmax(teacher / T) || softmax(student / T)), mean over images (Hinton 2015, arXiv
    1503.02531).
    """
    log_student = F.log_softmax(student / temperature, dim=1)
    log_teacher = F.log_softmax(teacher / temperature, dim=1)
    divergence = F.kl_div(log_student, log_teacher, reduction="batchmean", log_target=True)
    return divergence * temperature**2


def loss_of(recipe: Recipe, logits: Tensor, labels: Tensor, teacher_logits: Tensor | None = None) -> Tensor:
    """The loss of a recipe: (1 - a) loss + a distillation with a teacher, the loss alone without."""
    if recipe.loss == "squared_hinge":
        loss = squared_hinge(logits, labels)
    else:
        loss = F.cross_entropy(logits, labels, label_smoothing=recipe.label_smoothing)
    if teacher_logits is None:
        return loss
    distilled = distillation_loss(logits, teacher_logits, recipe.temperature)
    return (1 - recipe.distillation) * loss + recipe.distillation * distilled
