"""What a layer reads and gives in numbers: moments of its inputs for rounding, means for its bias."""

from __future__ import annotations

import torch
from torch import Tensor

from bitjoule.quant.rounding import Gram, GramAccumulator, RoundingError, Window
from bitjoule.train.ptq.config import PtqError
from bitjoule.train.ptq.trace import Batches
from bitjoule.workload.graph import Node

__all__ = ["channel_axis", "gram_of", "mean_of", "obstacle_of", "window_of"]


def channel_axis(layer: Node) -> int:
    """Where the output channels of a layer's result stand: 1 for convolutions, the last for linear layers."""
    return 1 if layer.op == "conv" else -1


def mean_of(batches: Batches, axis: int) -> Tensor:
    """Mean per channel over all batches, float64 (channels,)."""
    total, count = torch.zeros((), dtype=torch.float64), 0
    for x in batches:
        rest = [i for i in range(x.dim()) if i != axis % x.dim()]
        total = total + x.sum(rest, dtype=torch.float64)
        count += x.numel() // x.shape[axis]
    return total / count


def obstacle_of(layer: Node) -> str:
    """Why the moments of what a layer reads are not known; "" where they are."""
    if layer.attributes.get("transposed"):
        return "learned rounding of transposed convolutions is not known"
    top, left, bottom, right = layer.ints("padding", 4)
    if (top, left) != (bottom, right):
        return "its padding is not the same on both sides"
    return ""


def gram_of(
    layer: Node, name: str, original: Batches, quantized: Batches | None, accumulator: GramAccumulator
) -> Gram:
    """Second moments of what a layer reads: of its `quantized` inputs against the float ones, or of the float
    ones alone. `name`: that of the weight, for errors. PtqError for inputs that the window does not fit.
    """
    for x, seen in zip(original, original if quantized is None else quantized, strict=True):
        read, plain = (x, None) if quantized is None else (seen, x)
        if layer.op == "conv" and read.dim() == 3:
            read, plain = read[:, :, None], None if plain is None else plain[:, :, None]
        try:
            accumulator.update(read, plain)
        except RoundingError as error:
            raise PtqError(f"ptq: {name}: {error}") from None
    return accumulator.gram()


def window_of(layer: Node) -> Window:
    """The window of inputs that one output of a layer sees."""
    if layer.op != "conv":
        return Window()
    kernel, stride, dilation = (layer.ints(key, 2, 1) for key in ("kernel", "stride", "dilation"))
    return Window(
        kernel=(kernel[0], kernel[1]),
        stride=(stride[0], stride[1]),
        padding=(layer.ints("padding", 4)[0], layer.ints("padding", 4)[1]),
        dilation=(dilation[0], dilation[1]),
        groups=layer.ints("groups", 1, 1)[0],
    )
