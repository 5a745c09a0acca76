"""Quantized activations held for later readers: one byte a value instead of four, decoded when read.

The output of a quantizer of at most 8 bits is a level times a scale. The level is kept as UINT8 and
multiplied again, by the same product in the same precision, so what is read is bit for bit what was computed
(`ptq.md` section 7, memory).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, overload

import torch
from torch import Tensor

from bitjoule.quant import FakeQuantizer
from bitjoule.quant.level_set import LevelSet
from bitjoule.quant.ste import SteQuantizer

__all__ = ["ByteGrid", "HeldBatches", "Levels", "byte_grid", "joined", "release"]

_MOST_BITS = 8


@dataclass(frozen=True)
class ByteGrid:
    """The values that a quantizer gives: (code - offset) scale, or `values` [code] for sets of levels.

    `scale` float32 (); `offset` is the zero-point less the lowest level; `values` float32 (levels,) or None.
    """

    scale: Tensor
    offset: float
    values: Tensor | None = None

    def encode(self, y: Tensor) -> Tensor:
        """UINT8 codes of values of the grid, in the memory order of `y`."""
        if self.values is None:
            return y.div(self.scale).round_().add_(self.offset).to(torch.uint8)
        return _in_memory_order(lambda x: torch.bucketize(x.contiguous(), self.values).to(torch.uint8), y)

    def decode(self, codes: Tensor) -> Tensor:
        """The float32 values of UINT8 codes, bit for bit those that were encoded."""
        if self.values is None:
            return codes.to(torch.float32).sub_(self.offset).mul_(self.scale)
        table = self.values
        return _in_memory_order(lambda c: table[c.long()], codes)


@dataclass(frozen=True)
class Levels:
    """One activation of some images as codes; indexing along the images gives float32 values."""

    codes: Tensor
    grid: ByteGrid

    def __getitem__(self, chosen: Tensor | slice) -> Tensor:
        return self.grid.decode(self.codes[chosen])


class HeldBatches(Sequence[Any]):
    """Batches of one activation as codes; reading a batch decodes it.

    >>> grid = ByteGrid(torch.tensor(0.5), 8.0)
    >>> held = HeldBatches(grid, [grid.encode(torch.tensor([-4.0, 1.5]))])
    >>> held.codes, held[0]
    ([tensor([ 0, 11], dtype=torch.uint8)], tensor([-4.0000,  1.5000]))
    """

    def __init__(self, grid: ByteGrid, codes: list[Any]) -> None:
        self.grid, self.codes = grid, codes

    def __len__(self) -> int:
        return len(self.codes)

    @overload
    def __getitem__(self, place: int) -> Any: ...

    @overload
    def __getitem__(self, place: slice) -> list[Any]: ...

    def __getitem__(self, place: int | slice) -> Any:
        if isinstance(place, slice):
            return [self.grid.decode(c) for c in self.codes[place]]
        return self.grid.decode(self.codes[place])


def byte_grid(quantizer: FakeQuantizer) -> ByteGrid | None:
    """The grid of an activation quantizer whose values fit into bytes; None for others.

    Integers and sets of levels of at most 8 bits with one fixed scale; not small floats, nor Formats of fixed
    scale, nor scales so large that a value overflows.

    >>> from bitjoule.formats import parse_tensor_format
    >>> from bitjoule.quant import QuantizerConfig
    >>> fixed = QuantizerConfig("ste", range="fixed", scale=0.25)
    >>> byte_grid(SteQuantizer(parse_tensor_format("UINT4"), fixed, "activation", name="x")).offset
    0.0
    """
    f = quantizer.tensor_format.format
    if not isinstance(quantizer, SteQuantizer) or f.bits > _MOST_BITS or quantizer.scale_shape:
        return None
    if quantizer.role != "activation" or quantizer.scale.dtype != torch.float32:
        return None
    scale = quantizer.scale.detach().clone()
    if float(scale) * 2.0 * max(abs(f.min_level), abs(f.max_level)) > torch.finfo(torch.float32).max:
        return None
    if quantizer.levels is None:
        zero_point = float(quantizer.zero_point) if quantizer.tensor_format.scaling.zero_point else 0.0
        return ByteGrid(scale, zero_point - f.min_level)
    if isinstance(quantizer.levels, LevelSet):
        return ByteGrid(scale, 0.0, quantizer.levels.levels.to(torch.float32) * scale)
    return None


def release(batches: Sequence[Any], place: int) -> None:
    """Let go of one batch that nobody reads again."""
    held = batches.codes if isinstance(batches, HeldBatches) else batches
    assert isinstance(held, list)
    held[place] = None


def joined(batches: Sequence[Any]) -> Tensor | Levels:
    """All images of an activation: codes stay codes."""
    if isinstance(batches, HeldBatches):
        return Levels(torch.cat(batches.codes), batches.grid)
    return torch.cat(list(batches))


def _in_memory_order(work: Any, x: Tensor) -> Tensor:
    """An element-wise `work` on `x`, channels last where `x` is."""
    if x.dim() == 4 and not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last):
        found: Tensor = work(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return found
    plain: Tensor = work(x)
    return plain
