"""Learning rate and average decay as plain functions of the step."""

from __future__ import annotations

import math

from bitjoule.train.recipes import Recipe

__all__ = ["average_decay", "learning_rate", "threshold_rate"]

MOONS_DECAY = 2.5e-5
MOONS_STEPS_PER_EPOCH = 1406  # 90,000 images (45,000 and their mirror images) in batches of 64
MOONS_CUTS = ((25, 0.1), (80, 1.0))
RISE = 0.3
FIRST, LAST = 1 / 25, 1 / 25e4  # of the peak: torch's OneCycleLR
HALVE_EVERY = 1000
LEAST_THRESHOLD = 0.1


def learning_rate(recipe: Recipe, step: int, steps_per_epoch: int, total_steps: int) -> float:
    """The rate of step 0, 1, ... of `total_steps`.

    >>> [round(learning_rate(Recipe(epochs=1, lr=0.1), step, 4, 4), 4) for step in range(4)]
    [0.1, 0.0854, 0.05, 0.0146]
    """
    peak = recipe.rate
    warm = recipe.warmup * steps_per_epoch
    if step < warm:
        return peak * (step + 1) / (warm + 1)
    if recipe.schedule == "moons2017":
        return _moons2017(peak, step, step // steps_per_epoch)
    share = (step - warm) / max(1.0, total_steps - warm)
    if recipe.schedule == "cosine":
        return peak * 0.5 * (1 + math.cos(math.pi * share))
    if recipe.schedule == "linear":
        return peak * (1 - share)
    if recipe.schedule == "onecycle":
        return peak * _one_cycle(step - warm, total_steps - warm)
    if recipe.schedule == "step":
        return peak * recipe.step_factor ** sum(step >= at * total_steps for at in recipe.step_at)
    return peak


def _moons2017(peak: float, step: int, epoch: int) -> float:
    """Keras' decay per step, and at two epochs lr := lr f / (1 + decay epoch 1406), as the published code."""
    for cut, factor in MOONS_CUTS:
        if epoch >= cut:
            peak *= factor / (1 + MOONS_DECAY * cut * MOONS_STEPS_PER_EPOCH)
    return peak / (1 + MOONS_DECAY * step)


def _one_cycle(step: float, steps: float) -> float:
    """Share of the peak: half a cosine up to it in the first 30 % of the steps, half a cosine down."""
    top = RISE * steps - 1
    if step <= top:
        low, high, part = FIRST, 1.0, step / top
    else:
        low, high, part = 1.0, LAST, (step - top) / max(1e-9, steps - 1 - top)
    return high + (low - high) * 0.5 * (1 + math.cos(math.pi * min(1.0, part)))


def threshold_rate(first: float, step: int) -> float:
    """Rate of TQT's Adam on log2 t: halved every 1000 steps, down to a tenth (Jain 2020; [assumed]).

    >>> [threshold_rate(0.01, step) for step in (0, 999, 1000, 9000)]
    [0.01, 0.01, 0.005, 0.001]
    """
    return max(first * 0.5 ** (step // HALVE_EVERY), first * LEAST_THRESHOLD)


def average_decay(limit: float, step: int) -> float:
    """Decay of the weight average at a step: it may forget quickly at first, as its start is no average.

    >>> average_decay(0.999, 0), average_decay(0.999, 100_000)
    (0.1, 0.999)
    """
    return min(limit, (1 + step) / (10 + step))
