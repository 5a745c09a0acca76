"""`percentile(p)`: the range that leaves (100 - p) % of the values outside at each end.

`percentile("best")` tries 99.9, 99.99 and 99.999 and takes the one of least squared error, as RepQ-ViT's code
does (Li et al. 2023, arXiv 2212.08254).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from bitjoule.formats import TensorFormat
from bitjoule.quant.calibration.mse import Candidates
from bitjoule.quant.calibration.reservoir import CAPACITY, Reservoir
from bitjoule.quant.calibration.scale_rule import unscaled
from bitjoule.quant.calibration.seen import Seen
from bitjoule.quant.fake_quantizer import QuantParams

__all__ = ["Percentile"]

_TRIED = (99.9, 99.99, 99.999)


class Percentile:
    """`numpy.quantile` (linear) at (100 - p) / 100 and p / 100, per row; state: a reservoir.

    Non-negative rows begin at 0.
    """

    def __init__(
        self,
        seen: Seen,
        p: float | Literal["best"] = 99.99,
        *,
        capacity: int | None = CAPACITY,
        seed: int = 0,
    ) -> None:
        self.seen, self.p = seen, p
        self.reservoir = Reservoir(capacity, seed)

    def update(self, x: Tensor) -> None:
        """Take in a batch."""
        self.reservoir.add(self.seen.take(x))

    def range(self, tensor_format: TensorFormat) -> QuantParams:
        """Scale and zero-point; CalibrationError before the first value."""
        self.seen.checked(tensor_format)
        values = self.reservoir.values
        tried = _TRIED if self.p == "best" else (self.p,)
        ends = np.quantile(
            values.numpy().astype(np.float64), [q for p in tried for q in ((100 - p) / 100, p / 100)], axis=1
        )
        low, high = (torch.from_numpy(np.array(ends[i::2])) for i in (0, 1))  # (tried, rows)
        low = torch.where(self.seen.low >= 0, torch.zeros_like(low), low)
        plain = unscaled(tensor_format) or tensor_format.format.kind in ("vector", "block")
        if len(tried) == 1 or plain:
            return self.seen.params(low[-1], high[-1], tensor_format)
        best = Candidates(low, high, tensor_format).best(values, power=2.0)
        rows = torch.arange(len(best))
        return self.seen.params(low[best, rows], high[best, rows], tensor_format)
