"""Fake quantizers and their gradients: one file per method, one contract for all.

Names load torch when they are first used; `quant.config` is read without it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bitjoule.quant.choose import (
        METHODS,
        make_activation_quantizer,
        make_weight_quantizer,
        natural_method,
    )
    from bitjoule.quant.config import QuantizerConfig, QuantizerError
    from bitjoule.quant.fake_quantizer import FakeQuantizer, QuantizerWarning, QuantParams
    from bitjoule.quant.measured_weights import measured_workload
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
    "measured_workload",
    "natural_method",
]

_HOME = {
    "METHODS": "choose",
    "FakeQuantizer": "fake_quantizer",
    "QuantParams": "fake_quantizer",
    "QuantizerConfig": "config",
    "QuantizerError": "config",
    "QuantizerWarning": "fake_quantizer",
    "glorot_factor": "moons",
    "make_activation_quantizer": "choose",
    "make_weight_quantizer": "choose",
    "measured_workload": "measured_weights",
    "natural_method": "choose",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has: {', '.join(__all__)}")


def __dir__() -> list[str]:
    return __all__
