"""Learning rate and average decay as plain functions of the step."""

from __future__ import annotations

import math

from bitjoule.train.recipes import Recipe

__all__ = ["average_decay", "learning_rate"]

MOONS_DECAY = 2.5e-5
MOONS_STEPS_PER_EPOCH = 1406  # 90,000 images (45,000 and their mirror images) in batches of 64
MOONS_CUTS = ((25, 0.1), (80, 1.0))


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
    if recipe.schedule == "step":
        return peak * recipe.step_factor ** sum(step >= at * total_steps for at in recipe.step_at)
    return peak


def _moons2017(peak: float, step: int, epoch: int) -> float:
    """Keras' decay per step, and at two epochs lr := lr f / (1 + decay epoch 1406), as the published code."""
    for cut, factor in MOONS_CUTS:
        if epoch >= cut:
            peak *= factor / (1 + MOONS_DECAY * cut * MOONS_STEPS_PER_EPOCH)
    return peak / (1 + MOONS_DECAY * step)


def average_decay(limit: float, step: int) -> float:
    """Decay of the weight average at a step: it may forget quickly at first, as its start is no average.

    >>> average_decay(0.999, 0), average_decay(0.999, 100_000)
    (0.1, 0.999)
    """
    return min(limit, (1 + step) / (10 + step))
