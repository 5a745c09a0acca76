"""Second moments of a layer's input columns: all that rounding needs to know of the data.

With x^ the input of the layer in the network quantized so far, and x that of the float network:
A = mean x^ x^T, B = mean x^ x^T_float (`ptq.md` section 4.1). A column is what one output position reads of
one group: n = C R S numbers. There is one A per group; a depthwise layer has as many 9 x 9 ones as channels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from bitjoule.quant.rounding.level_grid import RoundingError

__all__ = ["Gram", "GramAccumulator", "Window", "columns_of", "pooled"]

_LEAST = 65_536
_BLOCK = 1 << 23  # numbers of a block of columns


@dataclass(frozen=True)
class Gram:
    """`a`, `b` float64 (groups, n, n), means over `columns` columns."""

    a: Tensor
    b: Tensor
    columns: int


@dataclass(frozen=True)
class Window:
    """Which inputs an output position reads: a convolution's geometry, or, without kernel, a linear layer's.

    kernel, stride, padding, dilation
        rows and columns.
    padding_value
        the real value of the padding, 0 unless a layer pads with something else.
    """

    kernel: tuple[int, int] | None = None
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    padding_value: float = 0.0


def columns_of(x: Tensor, window: Window, positions: Tensor | None = None) -> Tensor:
    """The columns of `x`, (groups, columns, n), n in the order of the flattened weight.

    `x` is (N, C, H, W) for a convolution, (..., C) for a linear layer; `positions` int64 (N, k) chooses
    output positions of every image, None takes all, row by row.

    >>> columns_of(torch.arange(4.0).reshape(1, 1, 2, 2), Window((1, 2))).tolist()
    [[[0.0, 1.0], [2.0, 3.0]]]
    """
    patches = _patches(x, window)
    images, high, wide = patches.shape[:3]
    if positions is None:
        found = patches.reshape(images * high * wide, -1)
    else:
        image = torch.arange(images)[:, None].expand_as(positions)
        found = patches[image, positions // wide, positions % wide].reshape(positions.numel(), -1)
    if found.shape[1] % window.groups:
        raise RoundingError(f"columns of {found.shape[1]} numbers cannot be cut into {window.groups} groups")
    return found.reshape(len(found), window.groups, -1).transpose(0, 1)


def _patches(x: Tensor, window: Window) -> Tensor:
    """A view (N, P, Q, ...) of what every position reads; no copy but of the padding."""
    if window.kernel is None:
        return x.reshape(x.shape[0], 1, -1, x.shape[-1])
    if x.dim() != 4:
        raise RoundingError(f"a convolution's input has the shape (N, C, H, W), not {tuple(x.shape)}")
    (kh, kw), (sh, sw), (ph, pw), (dh, dw) = window.kernel, window.stride, window.padding, window.dilation
    if ph or pw:
        x = functional.pad(x, (pw, pw, ph, ph), value=window.padding_value)
    if not x.is_contiguous(memory_format=torch.channels_last):
        x = x.contiguous()
    images, channels, height, width = x.shape
    high = (height - dh * (kh - 1) - 1) // sh + 1
    wide = (width - dw * (kw - 1) - 1) // sw + 1
    if high < 1 or wide < 1:
        raise RoundingError(f"a kernel of {kh} x {kw} does not fit in an input of {height} x {width}")
    sn, sc, sy, sx = x.stride()
    shape = (images, high, wide, channels, kh, kw)
    return x.as_strided(shape, (sn, sy * sh, sx * sw, sc, sy * dh, sx * dw))


class GramAccumulator:
    """Adds up A and B over batches; float32 products of blocks of columns, summed in float64.

    images
        how many images will come in all; beyond max(`least`, 4 n) columns every image gives a seeded uniform
        sample of its positions.

    >>> g = GramAccumulator(Window(), images=2)
    >>> g.update(torch.tensor([[1.0, 2.0], [3.0, 0.0]])); g.gram().a.tolist()
    [[[5.0, 1.0], [1.0, 2.0]]]
    """

    def __init__(self, window: Window, *, images: int, seed: int = 0, least: int = _LEAST) -> None:
        self.window, self.images, self.least = window, images, least
        self._rng = np.random.default_rng(seed)
        self._a: Tensor | None = None
        self._b: Tensor | None = None
        self._columns = 0

    def update(self, quantized: Tensor, original: Tensor | None = None) -> None:
        """Take in a batch: the layer's input in the quantized and (None: the same) in the float network."""
        if original is not None and original.shape != quantized.shape:
            raise RoundingError(
                f"the layer reads {tuple(quantized.shape)} in the quantized network but "
                f"{tuple(original.shape)} in the float network"
            )
        positions = self._positions(quantized)
        per_image = max(1, _numbers_per_image(quantized, self.window, positions))
        step = max(1, _BLOCK // per_image)
        for first in range(0, len(quantized), step):
            part = slice(first, first + step)
            chosen = None if positions is None else positions[part]
            x = columns_of(quantized[part].detach(), self.window, chosen)
            if x.dtype not in (torch.float32, torch.float64):
                x = x.float()
            a = x.mT @ x
            b = None
            if original is not None:
                b = x.mT @ columns_of(original[part].detach().to(x.dtype), self.window, chosen)
            self._add(a.double(), a.double() if b is None else b.double(), x.shape[1])

    def gram(self) -> Gram:
        """The means so far; RoundingError before the first batch."""
        if self._a is None or self._b is None:
            raise RoundingError("no column was seen; run calibration images through the layer")
        return Gram(self._a / self._columns, self._b / self._columns, self._columns)

    def _add(self, a: Tensor, b: Tensor, columns: int) -> None:
        if not bool(torch.isfinite(a).all() and torch.isfinite(b).all()):
            raise RoundingError(
                "a layer's input holds NaN or infinite values; mend the network or its ranges"
            )
        self._a = a if self._a is None else self._a + a
        self._b = b if self._b is None else self._b + b
        self._columns += columns

    def _positions(self, x: Tensor) -> Tensor | None:
        shape = _patches(x[:1], self.window).shape
        there, n = shape[1] * shape[2], math.prod(shape[3:]) // self.window.groups
        each = -(-max(self.least, 4 * n) // max(1, self.images))
        if there <= each:
            return None
        drawn = self._rng.random((len(x), there), dtype=np.float32)
        return torch.from_numpy(np.sort(np.argpartition(drawn, each, axis=1)[:, :each], axis=1))


def pooled(grams: Sequence[Gram]) -> Gram:
    """One Gram of several: means over all their columns (a module that is called more than once).

    >>> one = torch.ones(1, 1, 1)
    >>> pooled([Gram(one, one, 1), Gram(3 * one, one, 3)]).a.item()
    2.5
    """
    if not grams:
        raise RoundingError("pooled: no Gram matrices were given")
    total = sum(g.columns for g in grams)
    a = torch.stack([g.a * g.columns for g in grams]).sum(0) / total
    return Gram(a, torch.stack([g.b * g.columns for g in grams]).sum(0) / total, total)


def _numbers_per_image(x: Tensor, window: Window, positions: Tensor | None) -> int:
    shape = _patches(x[:1], window).shape
    count = shape[1] * shape[2] if positions is None else positions.shape[1]
    return count * math.prod(shape[3:])
