"""Learning rates by the step, against the formulas written out."""

import math

import pytest

from bitjoule.train.recipes import PRESETS, Recipe
from bitjoule.train.schedule import average_decay, learning_rate


def rates(steps=100, per_epoch=10, **settings):
    recipe = Recipe(**{"epochs": steps / per_epoch, "lr": 0.1, **settings})
    return [learning_rate(recipe, step, per_epoch, steps) for step in range(steps)]


def test_cosine_goes_from_the_peak_towards_zero():
    found = rates()
    assert found == pytest.approx([0.05 * (1 + math.cos(math.pi * t / 100)) for t in range(100)])


def test_linear():
    assert rates(schedule="linear") == pytest.approx([0.1 * (1 - t / 100) for t in range(100)])


def test_constant():
    assert set(rates(schedule="constant")) == {0.1}


def test_steps():
    found = rates(schedule="step", step_at=(0.5, 0.75), step_factor=0.1)
    assert found[:50] == [0.1] * 50
    assert found[50:75] == pytest.approx([0.01] * 25)
    assert found[75:] == pytest.approx([0.001] * 25)


def test_warmup_rises_to_the_peak():
    found = rates(warmup=2.0)
    assert found[:20] == pytest.approx([0.1 * (t + 1) / 21 for t in range(20)])
    assert found[20] == pytest.approx(0.1)
    assert max(found) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("epoch", "base"),
    [
        (0, 0.01),
        (24, 0.01),
        (25, 0.01 * 0.1 / (1 + 2.5e-5 * 25 * 1406)),
        (80, 0.01 * 0.1 / (1 + 2.5e-5 * 25 * 1406) / (1 + 2.5e-5 * 80 * 1406)),
    ],
)
def test_moons2017(epoch, base):
    """Spec training.md 4.1: decay 2.5e-5 per step, cuts at epochs 25 (f = .1) and 80 (f = 1)."""
    step = epoch * 1406 + 3
    found = learning_rate(PRESETS["moons2017"], step, 1406, 140600)
    assert found == pytest.approx(base / (1 + 2.5e-5 * step), rel=1e-12)


def test_average_decay_grows_to_its_limit():
    found = [average_decay(0.999, step) for step in range(20000)]
    assert found[0] == 0.1
    assert found == sorted(found)
    assert found[-1] == 0.999
