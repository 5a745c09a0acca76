"""Observers: from the values a tensor takes to its range, and from a range to scale and zero-point.

Ranges are tensors on the device of the data; nothing here waits for it. The rules of scale are those of
`formats.Scaling` (a test compares the two), in torch because an observer runs within a training step.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bitjoule.formats import Scaling, TensorFormat

__all__ = ["extremes", "moving_average", "scale_of_range", "snapped"]


def extremes(x: Tensor, axis: int | None = None) -> tuple[Tensor, Tensor]:
    """Minimum and maximum of all values, or per index of `axis`; zeros when there are none.

    >>> extremes(torch.tensor([[1.0, -2.0], [3.0, 4.0]]), axis=0)
    (tensor([-2.,  3.]), tensor([1., 4.]))
    """
    shape = () if axis is None else (x.shape[axis],)
    if x.numel() == 0:
        return x.new_zeros(shape), x.new_zeros(shape)
    if axis is None:
        low, high = torch.aminmax(x)
        return low, high
    low, high = torch.aminmax(x.movedim(axis, 0).reshape(x.shape[axis], -1), dim=1)
    return low, high


def moving_average(old: Tensor, new: Tensor, momentum: float) -> Tensor:
    """momentum old + (1 - momentum) new."""
    return old * momentum + new * (1 - momentum)


def scale_of_range(low: Tensor, high: Tensor, tensor_format: TensorFormat) -> tuple[Tensor, Tensor]:
    """Scale and zero-point of the range [low, high]; a scale of 0 where the range is 0.

    Symmetric: threshold / max_level, the threshold max(|low|, |high|) (signed) or high (unsigned); with
    `*pot` threshold / |min_level|. With `+zp`: [low, high] is widened to hold 0, s = (high - low) /
    (max_level - min_level), z = R(-low / s) + min_level. The scale is snapped to its kind.

    >>> from bitjoule.formats import parse_tensor_format
    >>> scale_of_range(torch.tensor(-1.0), torch.tensor(2.0), parse_tensor_format("UINT2+zp"))
    (tensor(1.), tensor(1.))
    """
    f, scaling = tensor_format.format, tensor_format.scaling
    if scaling.zero_point:
        low, high = low.clamp(max=0), high.clamp(min=0)
        scale = snapped((high - low) / (f.max_level - f.min_level), scaling)
        safe = torch.where(scale > 0, scale, torch.ones_like(scale))
        zero_point = ((-low / safe).round() + f.min_level).clamp(f.min_level, f.max_level)
        return scale, zero_point
    threshold = torch.maximum(low.abs(), high.abs()) if f.signed else high.clamp(min=0)
    top = max(f.max_level, -f.min_level) if scaling.kind == "pot" else f.max_level
    return snapped(threshold / top, scaling), torch.zeros_like(threshold)


def snapped(scale: Tensor, scaling: Scaling) -> Tensor:
    """The scale of that kind: a power of two not below it (`pot`), the nearest m 2^-e (`dyadic`), or
    itself.
    """
    if scaling.kind == "float":
        return scale
    fraction, exponent = torch.frexp(scale.to(torch.float64))
    if scaling.kind == "pot":
        power = (exponent - (fraction == 0.5).to(exponent.dtype)).clamp(-126, 127)
        rounded = torch.ldexp(torch.ones_like(fraction), power)
    else:
        bits = torch.tensor(scaling.mantissa_bits, device=scale.device)
        rounded = torch.ldexp(torch.ldexp(fraction, bits).round(), exponent - bits)
    return torch.where(scale > 0, rounded.to(scale.dtype), scale)
