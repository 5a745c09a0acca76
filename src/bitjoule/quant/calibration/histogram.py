"""A histogram of magnitudes that grows by doubling its range."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["Histogram"]


class Histogram:
    """Counts of abs(x) in `bins` equal bins of [0, top], one histogram per row.

    The first batch that is not all zero sets the top of a row to its largest magnitude. A batch that passes
    it doubles the top, merging bins in pairs, until it fits. Bins are those of `numpy.histogram`: closed
    below, the last one closed on both sides.

    >>> import torch
    >>> h = Histogram(4)
    >>> h.add(torch.tensor([[1.0, -4.0]])); h.add(torch.tensor([[9.0]])); h.counts.tolist(), h.top.tolist()
    ([[2, 0, 1, 0]], [16.0])
    """

    def __init__(self, bins: int = 2048) -> None:
        self.bins = bins
        self.counts: NDArray[np.int64] = np.zeros((0, bins), np.int64)
        self.top: NDArray[np.float64] = np.zeros(0)

    def add(self, rows: Tensor) -> None:
        """Count the magnitudes of finite `rows` (rows, values)."""
        a = np.abs(rows.detach().cpu().numpy().astype(np.float64))
        if a.shape[1] == 0:
            return
        if len(self.top) == 0:
            self.counts, self.top = np.zeros((len(a), self.bins), np.int64), np.zeros(len(a))
        largest = a.max(axis=1)
        fresh = (self.top == 0) & (largest > 0)  # its zeros lie in bin 0 already
        self.top = np.where(fresh, largest, self.top)
        while (grow := largest > self.top).any():
            pairs = self.counts[grow].reshape(-1, self.bins // 2, 2).sum(2)
            self.counts[grow] = np.concatenate([pairs, np.zeros_like(pairs)], 1)
            self.top[grow] *= 2
        self.counts += self._counted(a)

    def _counted(self, a: NDArray[np.float64]) -> NDArray[np.int64]:
        top = np.where(self.top > 0, self.top, 1.0)
        edges = np.linspace(0.0, top, self.bins + 1, axis=1)
        index = np.minimum((a / top[:, None] * self.bins).astype(np.int64), self.bins - 1)
        row = np.arange(len(a))[:, None]
        index -= a < edges[row, index]
        index += (a >= edges[row, index + 1]) & (index != self.bins - 1)
        flat = (index + row * self.bins).reshape(-1)
        return np.bincount(flat, minlength=len(a) * self.bins).reshape(len(a), self.bins)
