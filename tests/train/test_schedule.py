"""Learning rates by the step, against the formulas written out."""

import math

import pytest
import torch

from bitjoule.train.recipes import PRESETS, Recipe
from bitjoule.train.schedule import average_decay, learning_rate, threshold_rate


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


def test_one_cycle_is_that_of_torch():
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=100)
    expected = []
    for _ in range(100):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step() if len(expected) < 100 else None
    found = rates(schedule="onecycle")
    assert found == pytest.approx(expected, rel=1e-9)
    assert max(found) == pytest.approx(0.1)
    assert all(0 < rate <= 0.1 for rate in rates(schedule="onecycle", steps=1, per_epoch=10))


def test_thresholds_halve_every_thousand_steps_down_to_a_tenth():
    found = [threshold_rate(0.01, step) for step in (0, 999, 1000, 2000, 3000, 4000, 10**6)]
    assert found == pytest.approx([0.01, 0.01, 0.005, 0.0025, 0.00125, 0.001, 0.001])


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
