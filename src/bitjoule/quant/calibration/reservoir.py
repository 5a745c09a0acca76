"""A uniform sample of a stream in fixed memory: Vitter's Algorithm R, seeded, over whole columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["CAPACITY", "Reservoir"]

CAPACITY = 1 << 20


class Reservoir:
    """Keeps at most `capacity` values (None: all of them), as columns of (rows, values) tensors.

    While everything fits, `values` holds everything in the order it came. After that the t-th column is kept
    with probability capacity / t, in the place of a uniformly chosen one (Vitter 1985, Algorithm R).

    >>> r = Reservoir(capacity=4)
    >>> for batch in torch.arange(100.0).split(10): r.add(batch[None])
    >>> r.values.shape, r.seen
    (torch.Size([1, 4]), 100)
    """

    def __init__(self, capacity: int | None = CAPACITY, seed: int = 0) -> None:
        self.capacity = capacity
        self.seen = 0
        self._rng = np.random.default_rng(seed)
        self._parts: list[Tensor] = []

    def add(self, rows: Tensor) -> None:
        """Take in the columns of `rows` (rows, values)."""
        count = rows.shape[1]
        if count == 0:
            return
        room = count
        if self.capacity is not None:
            columns = max(1, self.capacity // len(rows))
            room = min(count, max(0, columns - self.seen))
        if room:
            self._parts.append(rows[:, :room].clone())
        if room < count:
            self._replace(rows[:, room:], columns, self.seen + room)
        self.seen += count

    @property
    def values(self) -> Tensor:
        """The kept columns (rows, kept)."""
        if not self._parts:
            return torch.zeros(1, 0)
        if len(self._parts) > 1:
            self._parts = [torch.cat(self._parts, 1)]
        return self._parts[0]

    def _replace(self, rows: Tensor, columns: int, before: int) -> None:
        taken = self._arrivals(columns / (before + 1), rows.shape[1])
        taken = taken[self._rng.random(len(taken)) * (before + 1 + taken) < before + 1]
        place = self._rng.integers(0, columns, len(taken))
        last = np.full(columns, -1)
        last[place] = taken  # of equal places the last one stays
        filled = np.flatnonzero(last >= 0)
        self.values[:, torch.from_numpy(filled)] = rows[:, torch.from_numpy(last[filled])]

    def _arrivals(self, chance: float, count: int) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Which of `count` columns a coin of `chance` takes, from the gaps between them."""
        found: list[np.ndarray[Any, np.dtype[np.int64]]] = []
        last = -1
        while last < count:
            room = (count - last) * chance
            gaps = self._rng.geometric(chance, int(room + 4 * room**0.5) + 16)
            found.append(last + np.cumsum(gaps))
            last = int(found[-1][-1])
        taken = np.concatenate(found)
        return taken[taken < count]
