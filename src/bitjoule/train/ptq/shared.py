"""Layers that are called more than once: one weight, rounded for the inputs of all its calls together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from bitjoule.quant import FakeQuantizer
from bitjoule.quant.rounding import Gram
from bitjoule.quant.rounding.gram import pooled

if TYPE_CHECKING:
    from bitjoule.train.ptq.layerwise import LayerPass

__all__ = ["shared_grams"]


@torch.no_grad()
def shared_grams(work: LayerPass) -> dict[FakeQuantizer, Gram]:
    """Second moments of the float inputs of every such layer, over all its calls (`ptq.md` section 1).

    The inputs of later calls depend on the rounding itself, so the float ones stand for them. One float pass.
    """
    trace = work.trace
    found: dict[FakeQuantizer, list[Gram]] = {}
    for place, node in enumerate(trace.order):
        trace.run_float(node)
        quantizer = work.readers.get(node)
        if quantizer in work.shared and not work.obstacle(node):
            found.setdefault(quantizer, []).append(work.gram(node, quantizer, plainly=True))
        trace.forget(place, set())
    return {quantizer: pooled(grams) for quantizer, grams in found.items()}
