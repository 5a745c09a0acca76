"""`aciq(prior)`: the clip of least expected squared error under a Laplace or Gauss prior.

Banner et al. 2019 (arXiv 1810.05723). For M bits the error of clipping at t, in units of the spread, is
Laplace 2 e^-t + t^2 / (3 4^M), spread mean abs(x - mean); Gauss (t^2 + 1) (1 - erf(t / sqrt 2))
- sqrt(2 / pi) t e^(-t^2 / 2) + t^2 / (3 4^M), spread the standard deviation. Minima here are exact; the
published tables round them.
"""

from __future__ import annotations

import functools
import math
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

__all__ = ["Aciq", "Prior", "clip_error", "optimal_clip"]

Prior = Literal["laplace", "gauss", "auto"]


def clip_error(t: float, m: int, prior: Literal["laplace", "gauss"]) -> float:
    """Expected squared error of clipping at `t` with `m` bits, in units of the squared spread.

    >>> clip_error(0.0, 4, "laplace")
    2.0
    """
    rounding = t * t / (3 * 4.0**m)
    if prior == "laplace":
        return 2 * math.exp(-t) + rounding
    tail = math.erfc(t / math.sqrt(2))
    return (t * t + 1) * tail - math.sqrt(2 / math.pi) * t * math.exp(-t * t / 2) + rounding


@functools.cache
def optimal_clip(m: int, prior: Literal["laplace", "gauss"]) -> float:
    """The t of least `clip_error` for `m` >= 1 bits.

    Laplace: W(3 4^M) of Lambert's function. Gauss: the root of the derivative 2 t erfc(t / sqrt 2) -
    2 sqrt(2 / pi) e^(-t^2 / 2) + 2 t / (3 4^M).

    >>> round(optimal_clip(4, "laplace"), 6), round(optimal_clip(4, "gauss"), 5)
    (5.02864, 2.55914)
    """
    from scipy.optimize import brentq
    from scipy.special import lambertw

    if prior == "laplace":
        return float(lambertw(3 * 4.0**m).real)

    def slope(t: float) -> float:
        density = math.sqrt(2 / math.pi) * math.exp(-t * t / 2)
        return t * math.erfc(t / math.sqrt(2)) - density + t / (3 * 4.0**m)

    return float(brentq(slope, 0.0, 40.0, xtol=1e-14))


class Aciq:
    """T = abs(mean) + t spread, at most the largest magnitude; per row; state: extremes and a reservoir.

    Non-negative rows are priced with one bit more. `auto` takes the prior whose own estimate of the error is
    nearer to the error measured on the values. With a zero-point the range is mean -+ t spread.
    """

    def __init__(
        self, seen: Seen, prior: Prior = "auto", *, capacity: int | None = CAPACITY, seed: int = 0
    ) -> None:
        self.seen, self.prior = seen, prior
        self.reservoir = Reservoir(capacity, seed)

    def update(self, x: Tensor) -> None:
        """Take in a batch."""
        self.reservoir.add(self.seen.take(x))

    def range(self, tensor_format: TensorFormat) -> QuantParams:
        """Scale and zero-point; CalibrationError before the first value."""
        self.seen.checked(tensor_format)
        if unscaled(tensor_format) or tensor_format.format.kind in ("vector", "block"):
            return self.seen.params(self.seen.low, self.seen.high, tensor_format)
        laplace = self._clipped(tensor_format, "laplace")
        gauss = self._clipped(tensor_format, "gauss")
        low, high = (torch.stack(ends) for ends in zip(laplace[:2], gauss[:2], strict=True))
        rows = torch.arange(low.shape[1])
        if self.prior == "auto":
            values = self.reservoir.values
            measured = Candidates(low, high, tensor_format).losses(values, 2.0, torch.arange(2))
            expected = torch.stack([laplace[2], gauss[2]])
            chosen = (measured / values.shape[1] - expected).abs().argmin(0)
        else:
            chosen = torch.full_like(rows, 0 if self.prior == "laplace" else 1)
        return self.seen.params(low[chosen, rows], high[chosen, rows], tensor_format)

    def _clipped(
        self, tensor_format: TensorFormat, prior: Literal["laplace", "gauss"]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Low, high and the expected squared error of each row under a prior."""
        values = self.reservoir.values
        mean = values.mean(1, dtype=torch.float64)
        centred = values.double() - mean[:, None]
        spread = centred.abs().mean(1) if prior == "laplace" else centred.square().mean(1).sqrt()
        bits = tensor_format.format.bits + (self.seen.low >= 0).long()
        many = np.array([optimal_clip(int(m), prior) for m in bits])
        error = np.array([clip_error(t, int(m), prior) for t, m in zip(many, bits, strict=True)])
        reach = torch.from_numpy(many) * spread
        if tensor_format.scaling.zero_point:
            low, high = mean - reach, mean + reach
        else:
            high = mean.abs() + reach
            low = -high
        low = torch.where(self.seen.low >= 0, torch.zeros_like(low), low.maximum(self.seen.low))
        return low, high.minimum(self.seen.high), torch.from_numpy(error) * spread.square()
