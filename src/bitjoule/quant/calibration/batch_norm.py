"""`bn(k)`: ranges without data, from the mean and deviation that batch norm promises for each channel.

DFQ (Nagel et al. 2019, arXiv 1906.04721, section 4.2): a channel that leaves batch norm with shift beta and
factor gamma has mean beta and deviation abs(gamma), so it lies in beta -+ k abs(gamma).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bitjoule.formats import TensorFormat
from bitjoule.quant.calibration.scale_rule import CalibrationError, params_of_range
from bitjoule.quant.fake_quantizer import QuantParams

__all__ = ["BatchNormRange", "added", "statistics_range"]


def statistics_range(
    mean: Tensor, std: Tensor, k: float = 6.0, low: float = -math.inf, high: float = math.inf
) -> tuple[Tensor, Tensor]:
    """clip([mean - k std, mean + k std], low, high) per channel; float64 (channels,) each.

    `low` and `high` are the clip of the activation that follows: (0, inf) for ReLU, (0, 6) for ReLU6.

    >>> statistics_range(torch.tensor([1.0]), torch.tensor([-0.5]), low=0.0, high=6.0)[1].tolist()
    [4.0]
    """
    reach = k * std.double().abs()
    return (mean.double() - reach).clamp(low, high), (mean.double() + reach).clamp(low, high)


def added(means: list[Tensor], stds: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Mean and deviation of a sum of independent tensors: means add, variances add.

    >>> [v.item() for v in added([torch.tensor(1.0), torch.tensor(2.0)],
    ...                          [torch.tensor(3.0), torch.tensor(4.0)])]
    [3.0, 5.0]
    """
    variance = torch.stack([s.double().square() for s in stds]).sum(0)
    return torch.stack([m.double() for m in means]).sum(0), variance.sqrt()


class BatchNormRange:
    """A calibrator that reads statistics instead of values; the tensor's range is the extreme over channels.

    >>> from bitjoule.formats import parse_tensor_format
    >>> c = BatchNormRange("x", None, k=6.0)
    >>> c.use(torch.tensor([0.0, 1.0]), torch.tensor([1.0, 0.5]), low=0.0)
    >>> round(float(c.range(parse_tensor_format("UINT8")).scale), 6)
    0.023529
    """

    def __init__(self, name: str, axis: int | None, k: float = 6.0) -> None:
        self.name, self.axis, self.k = name, axis, k
        self._ends: tuple[Tensor, Tensor] | None = None

    def use(self, mean: Tensor, std: Tensor, low: float = -math.inf, high: float = math.inf) -> None:
        """Statistics (channels,) of the pre-activation and the clip of the activation; CalibrationError
        unless they are finite.
        """
        if not bool(torch.isfinite(mean).all() and torch.isfinite(std).all()):
            raise CalibrationError(
                f"{self.name}: the batch-norm statistics hold NaN or infinite values; mend the network"
            )
        self._ends = statistics_range(mean, std, self.k, low, high)

    def update(self, x: Tensor) -> None:
        """Always CalibrationError: there is no data in a data-free range."""
        raise CalibrationError(
            f"{self.name}: bn takes statistics with use(mean, std), not values; "
            "choose another calibrator for images"
        )

    def range(self, tensor_format: TensorFormat) -> QuantParams:
        """Scale and zero-point; CalibrationError when `use` was never called."""
        if self._ends is None:
            raise CalibrationError(
                f"{self.name}: data-free needs BatchNorm statistics: this tensor has none; "
                "give calibration images"
            )
        low, high = self._ends
        if self.axis is None:
            low, high = low.min(), high.max()
        return params_of_range(low, high, tensor_format, self.name)
