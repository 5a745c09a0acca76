"""Measuring: counts against a loop, the mode restored, nothing trained."""

import dataclasses
import json
import math

import pytest
import torch

from bitjoule.train import Accuracy, measure
from bitjoule.zoo.data import Split


def test_equals_a_loop_over_images(mlp, few):
    mlp.train()
    found = measure(mlp, few.test, few.preprocessing, batch=97)
    assert mlp.training and mlp.module.hidden.hidden1.bn.training
    mlp.eval()
    correct, loss = 0, 0.0
    for image, label in zip(few.test.images, few.test.labels, strict=True):
        logits = mlp(few.preprocessing.apply(image[None]))[0]
        correct += int(logits.argmax()) == int(label)
        loss -= float(torch.log_softmax(logits, 0)[label].detach())
    assert (found.correct, found.total) == (correct, 360)
    assert found.loss == pytest.approx(loss / 360, rel=1e-4)


def test_changes_nothing(mlp, few):
    before = {name: value.clone() for name, value in mlp.state_dict().items()}
    measure(mlp.train(), few.validation, few.preprocessing)
    assert all(torch.equal(value, mlp.state_dict()[name]) for name, value in before.items())


def test_an_output_that_is_no_number_is_no_answer(mlp, few):
    """argmax takes the first NaN for the largest, which would be right for every image of class 0."""
    with torch.no_grad():
        mlp.module.classifier.weight[0] = float("nan")
    found = measure(mlp, few.test, few.preprocessing)
    assert found.correct == 0 and math.isnan(found.loss)


def test_an_empty_split_is_refused(mlp, few):
    empty = Split(few.test.images[:0], few.test.labels[:0])
    with pytest.raises(ValueError, match=r"^measure: the split has no images"):
        measure(mlp, empty, few.preprocessing)


def test_prints_and_serialises():
    accuracy = Accuracy(355, 360, 0.05)
    assert str(accuracy) == "98.61 % (355 of 360)"
    assert json.loads(json.dumps(accuracy.to_json()))["accuracy"] == pytest.approx(355 / 360)
    assert dataclasses.asdict(accuracy) == {"correct": 355, "total": 360, "loss": 0.05}
