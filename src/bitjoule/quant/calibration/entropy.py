"""`entropy(bins)`: the threshold at which the clipped, coarsened histogram is nearest to the clipped one.

The idea is TensorRT's (Migacz, GTC 2017); the exact rule is section 3 of `ptq.md`. With h the histogram of
abs(x), w the width of a bin and L levels, for i = L .. bins: P = h[0:i] with everything above added to its
last bin; Q spreads the counts of each of L runs of bins over those bins of the run where P > 0; the first i
of least KL(P || Q) gives T = (i + 0.5) w, or the maximum for the last i. On few values it keeps the maximum.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bitjoule.formats import TensorFormat
from bitjoule.quant.calibration.histogram import Histogram
from bitjoule.quant.calibration.scale_rule import unscaled
from bitjoule.quant.calibration.seen import Seen
from bitjoule.quant.fake_quantizer import QuantParams

__all__ = ["Entropy", "divergences", "least_divergence"]

_FLOOR = 1e-12
_TIE = 1e-12
_CHUNK = 1 << 21  # numbers held at once


class Entropy:
    """The search; state: extremes and a histogram per row.

    Asymmetric Formats have both ends clipped to the threshold.
    """

    def __init__(self, seen: Seen, bins: int = 2048) -> None:
        self.seen = seen
        self.histogram = Histogram(bins)

    def update(self, x: Tensor) -> None:
        """Take in a batch."""
        self.histogram.add(self.seen.take(x))

    def range(self, tensor_format: TensorFormat) -> QuantParams:
        """Scale and zero-point; CalibrationError before the first value."""
        self.seen.checked(tensor_format)
        limit = self.threshold(tensor_format)
        low, high = self.seen.low.maximum(-limit), self.seen.high.minimum(limit)
        return self.seen.params(low, high, tensor_format)

    def threshold(self, tensor_format: TensorFormat) -> Tensor:
        """T of each row, at most its largest magnitude; float64 (rows,)."""
        f = tensor_format.format
        levels = 1 << (f.bits - 1 if f.signed else f.bits)
        bins = self.histogram.bins
        if unscaled(tensor_format) or f.kind in ("vector", "block") or levels > bins:
            return self.seen.magnitude
        chosen = np.array([least_divergence(divergences(row, levels)) for row in self.histogram.counts])
        width = torch.from_numpy(self.histogram.top / bins)
        reached = torch.from_numpy(chosen + levels)
        limit = torch.where(reached < bins, (reached + 0.5) * width, self.seen.magnitude)
        return limit.minimum(self.seen.magnitude)


def divergences(h: NDArray[np.int64], levels: int) -> NDArray[np.float64]:
    """KL(P || Q) for i = levels .. len(h), inf where Q is empty; float64 (len(h) - levels + 1,).

    By prefix sums: sum P ln P, and for every run of bins its sums and its count of P > 0.

    >>> divergences(np.array([4, 4, 4, 4]), 2).round(6).tolist()
    [0.130812, 0.058892, 0.0]
    """
    bins, total = len(h), int(h.sum())
    last = np.arange(levels, bins + 1)
    if total == 0:
        return np.zeros(len(last))
    sums = np.concatenate([[0], np.cumsum(h)])
    filled = np.concatenate([[0], np.cumsum(h > 0)])
    logs = np.concatenate([[0.0], np.cumsum(_xlogx(h.astype(np.float64)))])
    tail = total - sums[last]
    end = h[last - 1]
    p_log_p = logs[last - 1] + _xlogx((end + tail).astype(np.float64))
    q_sum = sums[last]
    crossed = np.zeros(len(last))
    step = max(1, _CHUNK // (levels + 1))
    for a in range(0, len(last), step):
        part = slice(a, a + step)
        edges = np.arange(levels + 1) * last[part, None] // levels
        kept = np.diff(sums[edges], axis=1)
        cells = np.diff(filled[edges], axis=1)
        mass = kept.astype(np.float64)
        mass[:, -1] += tail[part]
        cells[:, -1] += (end[part] == 0) & (tail[part] > 0)
        norm = np.maximum(q_sum[part, None], 1).astype(np.float64)
        q = np.maximum(kept / np.maximum(cells, 1) / norm, _FLOOR)
        crossed[part] = (mass * np.log(q)).sum(1)
    found = (p_log_p - crossed) / total - np.log(total)
    return np.where(q_sum > 0, found, np.inf)


def least_divergence(found: NDArray[np.float64]) -> int:
    """The first index of the least value; differences below 1e-12 are rounding errors."""
    return int(np.argmax(found <= found.min() + _TIE))


def _xlogx(a: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(a * np.log(np.where(a > 0, a, 1.0)))
