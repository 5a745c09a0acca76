"""Losses against slow references."""

import math

import pytest
import torch

from bitjoule.train.loss import distillation_loss, loss_of, squared_hinge
from bitjoule.train.recipes import Recipe

LOGITS = torch.tensor([[2.0, -0.5, 0.25], [0.0, 1.0, -3.0]])
TEACHER = torch.tensor([[1.0, 0.0, -1.0], [3.0, 0.5, 0.0]])
LABELS = torch.tensor([0, 1])


def test_squared_hinge_is_the_mean_over_images_and_classes():
    total = 0.0
    for row, label in zip(LOGITS.tolist(), LABELS.tolist(), strict=True):
        for index, y in enumerate(row):
            t = 1 if index == label else -1
            total += max(0, 1 - t * y) ** 2
    assert squared_hinge(LOGITS, LABELS).item() == pytest.approx(total / 6)


def test_distillation_is_scaled_kullback_leibler():
    def softmax(row, temperature):
        powers = [math.exp(value / temperature) for value in row]
        return [power / sum(powers) for power in powers]

    total = 0.0
    for student, teacher in zip(LOGITS.tolist(), TEACHER.tolist(), strict=True):
        p, q = softmax(teacher, 2.0), softmax(student, 2.0)
        total += sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    assert distillation_loss(LOGITS, TEACHER, 2.0).item() == pytest.approx(4 * total / 2, rel=1e-5)


def test_a_teacher_takes_its_share():
    recipe = Recipe(epochs=1, distillation=0.9, temperature=2.0)
    plain = loss_of(recipe, LOGITS, LABELS)
    mixed = loss_of(recipe, LOGITS, LABELS, TEACHER)
    assert plain.item() == pytest.approx(torch.nn.functional.cross_entropy(LOGITS, LABELS).item())
    assert mixed.item() == pytest.approx(
        0.1 * plain.item() + 0.9 * distillation_loss(LOGITS, TEACHER, 2.0).item()
    )


def test_label_smoothing_and_hinge_follow_the_recipe():
    smoothed = loss_of(Recipe(epochs=1, label_smoothing=0.1), LOGITS, LABELS)
    total = 0.0
    for row, label in zip(LOGITS.tolist(), LABELS.tolist(), strict=True):
        normalizer = math.log(sum(math.exp(value) for value in row))
        for index, value in enumerate(row):  # the target is 0.9 on the label and 0.1 spread over all 3
            total -= (0.9 * (index == label) + 0.1 / 3) * (value - normalizer)
    assert smoothed.item() == pytest.approx(total / 2, rel=1e-5)
    hinge = loss_of(Recipe(epochs=1, loss="squared_hinge"), LOGITS, LABELS)
    assert hinge == squared_hinge(LOGITS, LABELS)
