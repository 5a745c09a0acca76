"""One weight rounded towards its target for the inputs of its layer; group scales may move with it."""

from __future__ import annotations

import torch
from torch import Tensor

from bitjoule.quant import FakeQuantizer
from bitjoule.quant.grouped import row_scales
from bitjoule.quant.rounding import Gram, LevelGrid, level_grid, round_layer
from bitjoule.train.ptq.config import PtqConfig
from bitjoule.train.ptq.ranges import group_rescale

__all__ = ["round_weight", "row_grid"]


def row_grid(quantizer: FakeQuantizer, rows: Tensor) -> LevelGrid:
    """The levels of `rows` (channels, n), the weights of a quantizer whose scale is known."""
    scale = row_scales(quantizer, rows.shape[1])
    return level_grid(quantizer.tensor_format.format, scale.expand(len(rows)) if scale.dim() == 0 else scale)


@torch.no_grad()
def round_weight(
    quantizer: FakeQuantizer,
    weight: Tensor,
    target: Tensor,
    gram: Gram,
    keep: Tensor | None,
    config: PtqConfig,
) -> str:
    """Set `weight` (channels first) to the rounding of `target` (rows, n) that `config` asks for; its name.

    `keep` (rows, n): False where a weight is pruned. Scales stay, but for groups that GPTQ makes anew.

    Raises:
        RoundingError: the Format cannot be rounded this way.
    """
    grid = row_grid(quantizer, target)
    found = round_layer(
        target,
        gram.a,
        grid,
        config.rounding,
        refine=config.refine == "flips",
        act_order=config.act_order,
        keep=keep,
        rescale=group_rescale(quantizer, config),
        name=quantizer.name,
    )
    weight.copy_(found.grid.values(found.levels).reshape(weight.shape))
    if found.grid is not grid:
        quantizer.scale_now().copy_(found.grid.scale[:, :: quantizer.tensor_format.scaling.group_size])
    used = [f"{name} {count}" for name, count in found.chosen.items() if count]
    named = config.rounding if len(found.chosen) == 1 else f"best_of ({', '.join(used)})"
    return named + (" + flips" if config.refine == "flips" else "")
