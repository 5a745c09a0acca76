"""Quantize and dequantize rows at given scales, on the real grid of any element-wise Format."""

from __future__ import annotations

import functools
from collections.abc import Hashable
from typing import cast

import torch
from torch import Tensor

from bitjoule.formats import Format
from bitjoule.quant.calibration.scale_rule import CalibrationError
from bitjoule.quant.level_set import LevelSet

__all__ = ["fake_quantized"]


def fake_quantized(x: Tensor, scale: Tensor, zero_point: Tensor, fmt: Format) -> Tensor:
    """scale (quantize(x / scale) - zero_point), as `fmt` rounds; scale and zero-point broadcast against `x`.

    A scale of 0 (an empty row) gives 0. Raises CalibrationError for Formats that do not round element by
    element.

    >>> from bitjoule.formats import parse_format
    >>> one = torch.ones(1)
    >>> fake_quantized(torch.tensor([2.4, -9.0]), one, 0 * one, parse_format("INT4")).tolist()
    [2.0, -8.0]
    """
    if fmt.kind in ("block", "vector"):
        raise CalibrationError(f"{fmt.name}: rounds whole {fmt.kind}s, not element by element")
    scale, zero_point = scale.to(x.dtype), zero_point.to(x.dtype)
    u = x / torch.where(scale > 0, scale, torch.ones_like(scale))
    if fmt.kind == "integer":
        levels = u.round_().add_(zero_point).clamp_(fmt.min_level, fmt.max_level)
        return levels.sub_(zero_point).mul_(scale)
    return _level_set(cast(Hashable, fmt)).nearest(u) * scale


@functools.lru_cache(maxsize=64)
def _level_set(fmt: Hashable) -> LevelSet:
    return LevelSet(cast(Format, fmt))
