"""AdaRound on images: the loss is on the layer's output, with its activation function.

Nagel et al. 2020, arXiv 2004.10568, equation 25: mean over the batch of the sum over channels of
(act(w x) - act(w~ x^))^2.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from bitjoule.quant.rounding.adaround import AdaRounded
from bitjoule.quant.rounding.level_grid import LevelGrid, RoundingError
from bitjoule.quant.rounding.soft import beta_at, rectified_sigmoid, regulariser, share_at, soft_start

__all__ = ["adaround_data"]


def adaround_data(
    w: Tensor,
    grid: LevelGrid,
    inputs: Tensor,
    outputs: Tensor,
    layer: Callable[[Tensor, Tensor], Tensor],
    *,
    steps: int = 2000,
    rate: float = 1e-3,
    batch: int = 32,
    strength: float = 0.01,
    seed: int = 0,
) -> AdaRounded:
    """Rounding of `w` (rows, n) learned on `inputs` (N, ...) of the quantized network.

    `outputs` (N, channels, ...) are those of the float layer, activation included; `layer(w~, x^)` computes
    the same from weights (rows, n). When the hard rounding ends worse than nearest, nearest is kept.
    """
    if len(inputs) == 0 or len(inputs) != len(outputs):
        raise RoundingError(
            f"adaround needs as many inputs as outputs and at least one, not {len(inputs)} and {len(outputs)}"
        )
    wanted = w.detach().double()
    low, high = grid.around(wanted)
    gap = high - low
    free = gap > 0
    u = wanted / grid.scale - low
    start = torch.where(free, u / gap.clamp_min(1e-300), torch.full_like(u, 0.5)).clamp(0, 1)
    base, step_size = (grid.values(x).to(w.dtype) for x in (low, gap))
    v = soft_start(start).to(w.dtype).requires_grad_()
    optimizer = torch.optim.Adam([v], lr=rate)
    generator = torch.Generator().manual_seed(seed)
    for step in range(steps):
        chosen = torch.randint(len(inputs), (min(batch, len(inputs)),), generator=generator)
        h = rectified_sigmoid(v)
        loss = _loss(layer(base + step_size * h, inputs[chosen]), outputs[chosen])
        if share_at(step, steps):
            loss = loss + strength * regulariser(torch.where(free, h, 1.0), beta_at(step, steps))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    with torch.no_grad():
        h = torch.where(free, rectified_sigmoid(v), 1.0)
        undecided = float(regulariser(h, 2.0)) / max(1, int(free.sum()))
        levels, nearest = torch.where(v >= 0, high, low), grid.nearest(wanted)
        losses = [
            _total(layer, grid.values(x).to(w.dtype), inputs, outputs, batch) for x in (levels, nearest)
        ]
    kept = losses[0] > losses[1]
    return AdaRounded(nearest if kept else levels, undecided, len(w) if kept else 0)


def _total(
    layer: Callable[[Tensor, Tensor], Tensor], w: Tensor, inputs: Tensor, outputs: Tensor, batch: int
) -> float:
    found = 0.0
    for first in range(0, len(inputs), batch):
        part = slice(first, first + batch)
        found += float(_loss(layer(w, inputs[part]), outputs[part])) * len(inputs[part])
    return found


def _loss(found: Tensor, wanted: Tensor) -> Tensor:
    return (found - wanted).square().sum(1).mean()
