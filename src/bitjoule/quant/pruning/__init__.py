"""Pruning in training: N:M masks with SR-STE, penalties on signed digits and on channels."""

from bitjoule.quant.pruning.gamma import GammaPenalty, fade_channels, without_fading
from bitjoule.quant.pruning.insert import (
    first_values,
    insert_masks,
    mask_of,
    masked,
    parameter_node,
    weight_values,
)
from bitjoule.quant.pruning.mask import NMMask, nm_mask
from bitjoule.quant.pruning.terms import fewer_digits, term_penalty, weight_terms

__all__ = [
    "GammaPenalty",
    "NMMask",
    "fade_channels",
    "fewer_digits",
    "first_values",
    "insert_masks",
    "mask_of",
    "masked",
    "nm_mask",
    "parameter_node",
    "term_penalty",
    "weight_terms",
    "weight_values",
    "without_fading",
]
