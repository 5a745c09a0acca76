"""Rounding to any set of levels in torch, bit for bit as its Format rounds in NumPy.

Every element-wise Format is a staircase: level i + 1 begins at one smallest float. These floats are found
once per Format and precision by bisection of `format.quantize` itself, so all rules of rounding (ties to the
larger magnitude, logarithmic thresholds, a zero that is never given) hold without being written again.
Rounding is then a search in a sorted list or, for unsigned levels whose steps lie on multiples of 1/2, one
look-up in a table: never a distance to every level.
"""

from __future__ import annotations

import functools
from collections.abc import Hashable
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bitjoule.formats import Format

__all__ = ["LevelSet", "Staircase", "staircase"]

LARGEST_TABLE = 1 << 12


@dataclass(frozen=True)
class Staircase:
    """Levels in ascending order, and the smallest float at which each but the first begins."""

    levels: NDArray[np.float64]
    begins: NDArray[np.floating]

    @property
    def half_grid(self) -> bool:
        """Whether the levels are unsigned, few, and every step is at a multiple of 1/2."""
        fits = self.levels[0] >= 0 and 2 * self.levels[-1] < LARGEST_TABLE
        return bool(fits and (self.begins * 2 == np.floor(self.begins * 2)).all())


@functools.lru_cache(maxsize=64)
def staircase(fmt: Hashable, dtype: str) -> Staircase:
    """The staircase of a Format for quotients in `dtype` ("float32" or "float64").

    >>> from bitjoule.formats import parse_format
    >>> staircase(parse_format("MIDRISE2"), "float32").begins.tolist()
    [-2.0, 0.0, 2.0]
    """
    assert isinstance(fmt, Format)
    levels = np.asarray(fmt.levels(), dtype=np.float64)
    low = np.full(len(levels) - 1, _rank(np.asarray(levels[0] - 1, dtype=dtype)), dtype=np.int64)
    high = np.full(len(levels) - 1, _rank(np.asarray(levels[-1] + 1, dtype=dtype)), dtype=np.int64)
    while (high > low + 1).any():  # quantize(low) is below the level, quantize(high) is not
        middle = (low >> 1) + (high >> 1) + (low & high & 1)  # their difference may overflow
        reached = np.asarray(fmt.quantize(_float(middle, dtype)), dtype=np.float64) >= levels[1:]
        high = np.where(reached, middle, high)
        low = np.where(reached, low, middle)
    begins = _float(high, dtype)
    return Staircase(levels, begins + np.zeros((), dtype=dtype))  # -0.0 becomes 0.0; they compare equal


def _rank(x: NDArray[np.floating]) -> NDArray[np.int64]:
    """Floats as integers in the same order."""
    whole = x.view(np.int32 if x.dtype == np.float32 else np.int64).astype(np.int64)
    lowest = np.int64(-(2**31) if x.dtype == np.float32 else -(2**63))
    return np.asarray(np.where(whole < 0, lowest - whole, whole))


def _float(rank: NDArray[np.int64], dtype: str) -> NDArray[np.floating]:
    lowest = np.int64(-(2**31) if dtype == "float32" else -(2**63))
    whole = np.where(rank < 0, lowest - rank, rank)
    return np.asarray(whole.astype(np.int32 if dtype == "float32" else np.int64).view(dtype))


class LevelSet(nn.Module):
    """Rounds tensors to the levels of a Format; holds the tables, which are no part of the state.

    >>> from bitjoule.formats import parse_format
    >>> LevelSet(parse_format("MIDRISE2")).nearest(torch.tensor([-9.0, -0.5, 0.0, 2.0])).tolist()
    [-3.0, -1.0, 1.0, 3.0]
    """

    begins32: Tensor
    begins64: Tensor
    levels: Tensor
    table: Tensor

    def __init__(self, fmt: Format) -> None:
        super().__init__()
        single, double = (staircase(cast(Hashable, fmt), dtype) for dtype in ("float32", "float64"))
        self.low, self.high = float(single.levels[0]), float(single.levels[-1])
        self.tabled = single.half_grid and double.half_grid
        kept = {"begins32": single.begins, "begins64": double.begins, "levels": single.levels}
        if self.tabled:
            points = np.arange(2 * int(self.high) + 1) / 2
            kept["table"] = np.asarray(fmt.quantize(points), dtype=np.float32)
        for name, values in kept.items():
            self.register_buffer(name, torch.from_numpy(np.array(values)), persistent=False)

    def nearest(self, u: Tensor) -> Tensor:
        """The level of every element of `u` (float32 or float64), as floats; NaN for NaN."""
        if torch.compiler.is_compiling():
            return self._nearest_in_any_layout(u)
        if u.dim() == 4 and not u.is_contiguous() and u.is_contiguous(memory_format=torch.channels_last):
            return self.nearest(u.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)  # look up in the order of memory
        if self.tabled:
            inside = u.clamp(0.0, self.high)
            index = (inside * 2).to(torch.int32).clamp_(min=0)
            found = self.table.to(u.dtype).index_select(0, index.reshape(-1)).view(u.shape)
            return found.add_(inside.mul_(0.0))  # NaN stays NaN
        begins = self.begins64 if u.dtype == torch.float64 else self.begins32
        found = self.levels.to(u.dtype)[torch.bucketize(u.contiguous(), begins, right=True)]
        return torch.where(u == u, found, u)

    def _nearest_in_any_layout(self, u: Tensor) -> Tensor:
        """`nearest` for torch.compile, which may run with other strides than it traces: nothing is viewed."""
        if self.tabled:
            index = (u.nan_to_num(0.0).clamp(0.0, self.high) * 2).to(torch.int32)
            found = self.table.to(u.dtype)[index]
        else:
            begins = self.begins64 if u.dtype == torch.float64 else self.begins32
            plain = u.clone(memory_format=torch.contiguous_format)
            found = self.levels.to(u.dtype)[torch.bucketize(plain, begins, right=True)]
        return torch.where(u == u, found, u)
