"""Rounding after training: which level every weight takes, given second moments of the layer's inputs.

>>> import torch
>>> from bitjoule.formats import parse_format
>>> grid = level_grid(parse_format("INT4"), torch.tensor([0.25]))
>>> target, a = torch.tensor([[0.37, -0.58]]), torch.eye(2)[None]
>>> round_layer(target, a, grid, "gptq", refine=True).levels.tolist()
[[1.0, -2.0]]
"""

from bitjoule.quant.rounding.adaround import AdaRounded, adaround
from bitjoule.quant.rounding.adaround_data import adaround_data
from bitjoule.quant.rounding.best_of import GroupScales, RoundedLayer, Rounding, best_of, round_layer
from bitjoule.quant.rounding.bias import ChannelMean, bias_shift, clipped_normal_mean
from bitjoule.quant.rounding.flips import flips
from bitjoule.quant.rounding.gptq import GptqResult, gptq
from bitjoule.quant.rounding.gram import Gram, GramAccumulator, Window, columns_of, pooled
from bitjoule.quant.rounding.level_grid import LevelGrid, RoundingError, level_grid
from bitjoule.quant.rounding.soft import beta_at, rectified_sigmoid, regulariser, share_at, soft_start
from bitjoule.quant.rounding.sva_budget import SvaAllocation, SvaLayer, allocate_terms, integer_terms
from bitjoule.quant.rounding.target import Target, quadratic_error, weight_target

__all__ = [
    "AdaRounded",
    "ChannelMean",
    "GptqResult",
    "Gram",
    "GramAccumulator",
    "GroupScales",
    "LevelGrid",
    "RoundedLayer",
    "Rounding",
    "RoundingError",
    "SvaAllocation",
    "SvaLayer",
    "Target",
    "Window",
    "adaround",
    "adaround_data",
    "allocate_terms",
    "best_of",
    "beta_at",
    "bias_shift",
    "clipped_normal_mean",
    "columns_of",
    "flips",
    "gptq",
    "integer_terms",
    "level_grid",
    "pooled",
    "quadratic_error",
    "rectified_sigmoid",
    "regulariser",
    "round_layer",
    "share_at",
    "soft_start",
    "weight_target",
]
