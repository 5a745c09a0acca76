"""Fake quantizers and their gradients: one file per method, one contract for all."""

from bitjoule.quant.choose import METHODS, make_activation_quantizer, make_weight_quantizer, natural_method
from bitjoule.quant.fake_quantizer import (
    FakeQuantizer,
    QuantizerConfig,
    QuantizerError,
    QuantizerWarning,
    QuantParams,
)
from bitjoule.quant.moons import glorot_factor

__all__ = [
    "METHODS",
    "FakeQuantizer",
    "QuantParams",
    "QuantizerConfig",
    "QuantizerError",
    "QuantizerWarning",
    "glorot_factor",
    "make_activation_quantizer",
    "make_weight_quantizer",
    "natural_method",
]
