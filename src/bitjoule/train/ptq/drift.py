"""Whether calibration images look like the training data: what layers make of them, against batch norm."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from bitjoule.network.statistics import EdgeStatistics

__all__ = ["Drift"]

_FAR = 0.5  # deviations
_SHARE = 0.25


@dataclass
class Drift:
    """Channels of folded layers seen so far, and those whose mean or deviation is far from the stored one.

    >>> drift = Drift()
    >>> drift.see("conv", [torch.full((4, 1, 2, 2), 3.0)], EdgeStatistics(torch.zeros(1), torch.ones(1)))
    >>> drift.warning
    "calibration images look unlike the training data: mean or deviation of 1 of 1 channels is more than 0.5 \
deviations from what batch norm stored (most in 'conv'); check their normalisation"
    """

    channels: int = 0
    far: int = 0
    worst: str = ""
    worst_share: float = 0.0

    @torch.no_grad()
    def see(self, name: str, batches: Iterable[Tensor], stored: EdgeStatistics) -> None:
        """Take in the float results (N, channels, ...) of the layer `name`."""
        count, total, squares = 0, torch.zeros(()), torch.zeros(())
        for x in batches:
            rest = [i for i in range(x.dim()) if i != 1]
            total = total + x.sum(rest, dtype=torch.float64)
            squares = squares + x.double().square().sum(rest)
            count += x.numel() // x.shape[1]
        mean = total / count
        std = (squares / count - mean.square()).clamp_min(0).sqrt()
        unit = stored.std.double()
        alive = unit > 0
        away = ((mean - stored.mean.double()).abs() > _FAR * unit) | ((std - unit).abs() > _FAR * unit)
        far = int((away & alive).sum())
        self.channels += int(alive.sum())
        self.far += far
        share = far / max(1, int(alive.sum()))
        if share > self.worst_share:
            self.worst, self.worst_share = name, share

    @property
    def warning(self) -> str:
        """What to tell, or nothing: more than a quarter of the channels are far."""
        if self.far <= _SHARE * self.channels:
            return ""
        return (
            f"calibration images look unlike the training data: mean or deviation of {self.far} of "
            f"{self.channels} channels is more than {_FAR:g} deviations from what batch norm stored (most in "
            f"{self.worst!r}); check their normalisation"
        )
