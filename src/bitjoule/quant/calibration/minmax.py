"""`minmax`: the extremes of everything seen, and `moving_average`: a running mean of those of each batch."""

from __future__ import annotations

from torch import Tensor

from bitjoule.formats import TensorFormat
from bitjoule.quant.calibration.seen import Seen
from bitjoule.quant.fake_quantizer import QuantParams
from bitjoule.quant.observers import extremes, moving_average

__all__ = ["MinMax", "MovingAverage"]


class MinMax:
    """The range is [min, max] of all values; state: two numbers per row.

    >>> import torch
    >>> from bitjoule.formats import parse_tensor_format
    >>> c = MinMax(Seen("x", None)); c.update(torch.tensor([0.0, 255.0]))
    >>> c.range(parse_tensor_format("UINT8")).scale
    array(1., dtype=float32)
    """

    def __init__(self, seen: Seen) -> None:
        self.seen = seen

    def update(self, x: Tensor) -> None:
        """Take in a batch."""
        self.seen.take(x)

    def range(self, tensor_format: TensorFormat) -> QuantParams:
        """Scale and zero-point; CalibrationError before the first value."""
        self.seen.checked(tensor_format)
        return self.seen.params(self.seen.low, self.seen.high, tensor_format)


class MovingAverage:
    """v = extreme of the first batch, then v = m v + (1 - m) extreme of the batch, each side; order matters.

    >>> import torch
    >>> from bitjoule.formats import parse_tensor_format
    >>> c = MovingAverage(Seen("x", None), 0.9)
    >>> for top in (4.0, 6.0, 3.0, 9.0): c.update(torch.tensor([0.0, top]))
    >>> round(c.high.item(), 6)
    4.572
    """

    def __init__(self, seen: Seen, m: float = 0.9) -> None:
        self.seen, self.m = seen, m
        self.low, self.high = seen.low, seen.high

    def update(self, x: Tensor) -> None:
        """Take in a batch."""
        first = self.seen.images == 0
        rows = self.seen.take(x)
        if rows.numel() == 0:
            return
        low, high = (v.double() for v in extremes(rows, axis=0))
        self.low = low if first else moving_average(self.low, low, self.m)
        self.high = high if first else moving_average(self.high, high, self.m)

    def range(self, tensor_format: TensorFormat) -> QuantParams:
        """Scale and zero-point; CalibrationError before the first value."""
        self.seen.checked(tensor_format)
        return self.seen.params(self.low, self.high, tensor_format)
