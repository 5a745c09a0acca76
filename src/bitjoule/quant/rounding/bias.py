"""Bias correction: the mean error that rounding leaves in a layer's output goes into its bias.

db_k = -sum_c E[x_c] sum_rs (w~ - w)_kcrs. Analytic: E[x] from the mean and deviation that batch norm gives,
through the activation (Nagel et al. 2019, arXiv 1906.04721, section 4.2). Empirical: the difference of
measured channel means.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bitjoule.quant.rounding.level_grid import RoundingError

__all__ = ["ChannelMean", "bias_shift", "clipped_normal_mean"]


def clipped_normal_mean(mean: Tensor, std: Tensor, low: float = -math.inf, high: float = math.inf) -> Tensor:
    """E[clip(x, low, high)] of normal x, element by element; float64. ReLU is (0, inf), ReLU6 (0, 6).

    With u = (low - mean) / std, v = (high - mean) / std: std (phi(u) - phi(v)) + mean (Phi(v) - Phi(u))
    + low Phi(u) + high (1 - Phi(v)); clip(mean) where std is 0.

    >>> round(clipped_normal_mean(torch.tensor(0.5), torch.tensor(1.0), 0.0).item(), 7)
    0.6977966
    """
    m, g = mean.double(), std.double().abs()
    safe = torch.where(g > 0, g, torch.ones_like(g))
    u, v = (low - m) / safe, (high - m) / safe
    found = g * (_density(u) - _density(v))
    found = found + m * (torch.special.ndtr(v) - torch.special.ndtr(u))
    if math.isfinite(low):
        found = found + low * torch.special.ndtr(u)
    if math.isfinite(high):
        found = found + high * torch.special.ndtr(-v)
    return torch.where(g > 0, found, m.clamp(low, high))


def _density(x: Tensor) -> Tensor:
    return torch.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def bias_shift(w: Tensor, rounded: Tensor, input_mean: Tensor, groups: int = 1) -> Tensor:
    """What to add to the bias: -(w~ - w) E[x] per output channel; float64 (K,).

    `w` and `rounded` have the shape (K, C / groups, ...), `input_mean` (C,): the mean of what the layer reads
    in the float network. Positions beyond the border count as if they had that mean too.

    >>> w, rounded = torch.tensor([[0.4, -0.3, 0.9]]), torch.tensor([[0.5, -0.25, 1.0]])
    >>> round(bias_shift(w, rounded, torch.tensor([2.0, 0.5, 0.5])).item(), 6)
    -0.275
    """
    if w.shape != rounded.shape or w.dim() < 2 or len(w) % groups:
        raise RoundingError(
            f"bias_shift: weights (K, C / {groups}, ...) before and after have one shape, not "
            f"{tuple(w.shape)} and {tuple(rounded.shape)}"
        )
    if input_mean.shape != (w.shape[1] * groups,):
        raise RoundingError(
            f"bias_shift: input_mean has the shape ({w.shape[1] * groups},), not {tuple(input_mean.shape)}"
        )
    change = (rounded.double() - w.double()).reshape(groups, -1, w.shape[1], math.prod(w.shape[2:])).sum(3)
    return -(change @ input_mean.double().reshape(groups, -1, 1)).reshape(-1)


class ChannelMean:
    """Means per channel over batches, for the empirical correction: float mean minus quantized mean.

    >>> m = ChannelMean(axis=1); m.update(torch.tensor([[1.0, 2.0], [3.0, 4.0]])); m.mean().tolist()
    [2.0, 3.0]
    """

    def __init__(self, axis: int = 1) -> None:
        self.axis = axis
        self._sum = torch.zeros(0, dtype=torch.float64)
        self._count = 0

    def update(self, x: Tensor) -> None:
        """Take in a batch."""
        rows = x.detach().movedim(self.axis, 0).flatten(1) if x.dim() > 1 else x.detach()[:, None]
        total = rows.sum(1, dtype=torch.float64)
        self._sum = total if self._count == 0 else self._sum + total
        self._count += rows.shape[1]

    def mean(self) -> Tensor:
        """float64 (channels,); RoundingError before the first value."""
        if self._count == 0:
            raise RoundingError(
                "channel means: no values were seen; run calibration images through the layer"
            )
        return self._sum / self._count
