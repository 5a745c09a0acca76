"""Pruning of bits: a penalty on the signed digits of weight levels, and how many terms weights have.

A weight that is a constant of the hardware costs one add per non-zero digit of its level (canonical signed
digits, csd). The penalty of a weight with level l and u = w / s (s without gradient) is

    value      csd(l)
    gradient   d/dw |u - t(l)|      t(l): the nearest level with fewer digits than l (straight-through)

so that weights drift to levels of fewer digits, at last to 0; levels without digits feel nothing
(training.md section 5). Between two equally near levels the smaller magnitude is the target.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bitjoule.formats import Format
from bitjoule.formats.signed_digits import csd_count
from bitjoule.network import Network, NetworkError
from bitjoule.quant.config import QuantizerError
from bitjoule.quant.fake_quantizer import FakeQuantizer
from bitjoule.quant.grouped import weight_scales
from bitjoule.quant.pruning.insert import weight_values

__all__ = ["fewer_digits", "term_penalty", "weight_terms"]

MOST_BITS = 16


@lru_cache(maxsize=32)
def fewer_digits(format_: Format) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """(levels, their digits, the nearest level with fewer digits); a level without digits is its own target.

    Raises:
        QuantizerError: a Format without integer levels, or of more than 16 bits.

    >>> from bitjoule.formats import parse_format
    >>> levels, digits, targets = fewer_digits(parse_format("INT4"))
    >>> dict(zip(levels.tolist(), targets.tolist()))[7], dict(zip(levels.tolist(), targets.tolist()))[5]
    (4, 4)
    """
    if format_.kind not in ("integer", "levels") or format_.bits > MOST_BITS:
        raise QuantizerError(
            f"csd_penalty counts digits of integer levels of at most {MOST_BITS} bits; {format_.name} has "
            "none; use INT, TERNARY or a power-of-two format"
        )
    levels = np.asarray(format_.levels(), np.int64)
    digits = csd_count(levels)
    targets = levels.copy()
    for count in range(1, int(digits.max(initial=0)) + 1):
        mine, fewer = digits == count, levels[digits < count]
        if fewer.size == 0:
            continue
        place = np.searchsorted(fewer, levels[mine])
        below, above = fewer[np.maximum(place - 1, 0)], fewer[np.minimum(place, fewer.size - 1)]
        lower, upper = np.abs(levels[mine] - below), np.abs(above - levels[mine])
        tie = np.where(np.abs(below) <= np.abs(above), below, above)
        targets[mine] = np.where(lower == upper, tie, np.where(lower < upper, below, above))
    return levels, digits, targets


def term_penalty(quantizer: FakeQuantizer, weight: Tensor) -> Tensor:
    """sum csd(level(w)) over a weight, with the surrogate gradient; `weight` as the quantizer reads it."""
    levels, digits, targets = fewer_digits(quantizer.tensor_format.format)  # type: ignore[arg-type]
    scale = weight_scales(quantizer, weight).to(weight)
    u = weight / scale
    place = _nearest(levels, u.detach())
    target = torch.from_numpy(targets).to(weight)[place]
    count = torch.from_numpy(digits).to(weight)[place]
    distance = torch.where(count > 0, (u - target).abs(), 0.0)
    return (count + distance - distance.detach()).sum()


def _nearest(levels: NDArray[np.int64], u: Tensor) -> Tensor:
    """Where in `levels` the nearest one to each u stands; the lower of two equally near."""
    between = torch.from_numpy((levels[1:] + levels[:-1]) / 2).to(u)
    return torch.bucketize(u.contiguous(), between)


def weight_terms(net: Network) -> Mapping[str, float]:
    """Layer -> mean signed power-of-two terms per weight, measured on the weights as they are; pruned weights
    count as 0 terms.

    Layers whose Format has no integer levels are left out.

    Raises:
        NetworkError: the network has no quantized weights.
    """
    found: dict[str, float] = {}
    weights = weight_values(net)
    if not weights:
        raise NetworkError(f"{net.name} has no quantized weights to count the terms of: prepare_qat first")
    for quantizer, weight in weights:
        if quantizer.tensor_format.format.kind not in ("integer", "levels"):
            continue
        scale = weight_scales(quantizer, weight).to(weight)
        training = quantizer.training
        with torch.no_grad():
            levels = (quantizer.eval()(weight) / scale).round().long().cpu().numpy()
        quantizer.train(training)
        found[quantizer.name.removesuffix(".weight")] = float(csd_count(levels).mean())
    return found
