"""`mse(power, steps)`: the range of least mean abs(x - Q(x))^power among shrunken extremes.

T_i = (1 - 0.01 i) times the extremes, i = 0 .. steps - 1; of equal losses the smaller i (BRECQ: Li et al.
2021, arXiv 2102.05426, and its code). Q rounds on the real grid of the Format: integers, powers of two, sums.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bitjoule.formats import TensorFormat
from bitjoule.quant.calibration.fake import fake_quantized
from bitjoule.quant.calibration.reservoir import CAPACITY, Reservoir
from bitjoule.quant.calibration.scale_rule import scales_of_range, unscaled
from bitjoule.quant.calibration.seen import Seen
from bitjoule.quant.fake_quantizer import QuantParams

__all__ = ["Candidates", "Mse", "shrunken"]

_MANY = 1 << 17  # values of one row from which candidates are first ranked on bins
_BINS = 1 << 14
_SLACK = 0.01  # candidates whose loss on bins is within this share of the least are measured on the values
_WIDEST = 12  # bits of a Format up to which a bin is far narrower than a step


@dataclass(frozen=True)
class Candidates:
    """Ranges to choose from: `low`, `high` (candidates, rows)."""

    low: Tensor
    high: Tensor
    tensor_format: TensorFormat

    def best(self, values: Tensor, power: float) -> Tensor:
        """Index of the candidate of least loss for each row of `values` (rows, n); int64 (rows,).

        Long single rows are first ranked on a histogram; the exact loss then decides among the candidates
        within 1 % of the least.
        """
        indices = torch.arange(len(self.low))
        narrow = self.tensor_format.format.bits <= _WIDEST
        if len(values) == 1 and values.shape[1] >= _MANY and narrow and len(indices) > 1:
            middle, count = _binned(values)
            rough = self.losses(middle, power, indices, count)[:, 0]
            indices = indices[rough <= rough.min() * (1 + _SLACK)]
        if len(indices) == 1:
            return indices
        return indices[self.losses(values, power, indices).argmin(0)]

    def losses(self, values: Tensor, power: float, indices: Tensor, weight: Tensor | None = None) -> Tensor:
        """Sums of abs(x - Q(x))^power, float64 (indices, rows); `weight` (1, n) counts each value."""
        fmt = self.tensor_format.format
        found = torch.empty(len(indices), len(values), dtype=torch.float64)
        scales, zeros = scales_of_range(self.low, self.high, self.tensor_format)
        for place, i in enumerate(indices.tolist()):
            same = place > 0 and i > 0 and torch.equal(scales[i], scales[i - 1])
            if same and torch.equal(zeros[i], zeros[i - 1]) and int(indices[place - 1]) == i - 1:
                found[place] = found[place - 1]  # snapped to the same scale
                continue
            error = fake_quantized(values, scales[i][:, None], zeros[i][:, None], fmt).sub_(values).abs_()
            error = error.square_() if power == 2 else error.pow_(power)
            found[place] = (error if weight is None else error * weight).sum(1, dtype=torch.float64)
        return found


def shrunken(low: Tensor, high: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """(1 - 0.01 i) times the ranges (rows,), i = 0 .. steps - 1; each (steps, rows), float64.

    >>> shrunken(torch.tensor([-1.0]), torch.tensor([2.0]), 3)[1].tolist()
    [[2.0], [1.98], [1.96]]
    """
    factor = (1 - 0.01 * torch.arange(steps, dtype=torch.float64))[:, None]
    return factor * low.double(), factor * high.double()


def _binned(values: Tensor) -> tuple[Tensor, Tensor]:
    """Middles of the bins that hold anything, and their counts; each (1, bins)."""
    low, high = torch.aminmax(values)
    counts = torch.histc(values, _BINS, low.item(), high.item())
    width = (high - low) / _BINS
    middles = low + width * (torch.arange(_BINS, dtype=values.dtype) + 0.5)
    held = counts > 0
    return middles[held][None], counts[held][None]


class Mse:
    """The search; state: extremes and a reservoir (weights: all of them).

    >>> from bitjoule.formats import parse_tensor_format
    >>> c = Mse(Seen("w", None)); c.update(torch.tensor([-1.0, -0.9, 0.0, 0.9, 1.0] * 20 + [1.5]))
    >>> c.range(parse_tensor_format("INT2_NARROW")).scale.item() < 1.5
    True
    """

    def __init__(
        self,
        seen: Seen,
        power: float = 2.4,
        steps: int = 80,
        *,
        capacity: int | None = CAPACITY,
        seed: int = 0,
    ) -> None:
        self.seen, self.power, self.steps = seen, power, steps
        self.reservoir = Reservoir(capacity, seed)

    def update(self, x: Tensor) -> None:
        """Take in a batch."""
        self.reservoir.add(self.seen.take(x))

    def index(self, tensor_format: TensorFormat) -> Tensor:
        """The chosen i of each row, int64 (rows,); CalibrationError before the first value."""
        self.seen.checked(tensor_format)
        fmt = tensor_format.format
        if unscaled(tensor_format) or fmt.kind == "vector" or fmt.bits > 16:
            return torch.zeros(len(self.seen.low), dtype=torch.int64)
        return self._candidates(tensor_format).best(self.reservoir.values, self.power)

    def range(self, tensor_format: TensorFormat) -> QuantParams:
        """Scale and zero-point; CalibrationError before the first value."""
        best = self.index(tensor_format)
        candidates = self._candidates(tensor_format)
        rows = torch.arange(len(best))
        return self.seen.params(candidates.low[best, rows], candidates.high[best, rows], tensor_format)

    def _candidates(self, tensor_format: TensorFormat) -> Candidates:
        return Candidates(*shrunken(self.seen.low, self.seen.high, self.steps), tensor_format)
