"""NNCF's quantization of a torch module: 8 bits, its default, its mixed preset, full bias correction."""

from __future__ import annotations

from torch import nn

from ptq_tools.recipe import Forward, Recipe, Task

__all__ = ["RECIPES"]

DEFAULT_BITS = 8


def quantized(model: nn.Module, task: Task, preset: str, fast: bool) -> Forward:
    """Other widths are asked of it too: its own error says what it refuses."""
    import nncf
    from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters, QuantizationParameters

    advanced = None
    if (task.weight_bits, task.activation_bits) != (DEFAULT_BITS, DEFAULT_BITS):
        advanced = AdvancedQuantizationParameters(
            weights_quantization_params=QuantizationParameters(num_bits=task.weight_bits),
            activations_quantization_params=QuantizationParameters(num_bits=task.activation_bits),
        )
    batches = list(task.batches())
    made: nn.Module = nncf.quantize(
        model,
        nncf.Dataset(batches),
        preset=nncf.QuantizationPreset(preset),
        subset_size=len(batches),
        fast_bias_correction=fast,
        advanced_parameters=advanced,
    )
    return made.eval()


def default(model: nn.Module, task: Task) -> Forward:
    """As nncf.quantize comes."""
    return quantized(model, task, "performance", True)


def mixed(model: nn.Module, task: Task) -> Forward:
    """Activations asymmetric."""
    return quantized(model, task, "mixed", True)


def full(model: nn.Module, task: Task) -> Forward:
    """Bias correction layer by layer."""
    return quantized(model, task, "mixed", False)


RECIPES = (
    Recipe("default", default),
    Recipe("mixed", mixed),
    Recipe("mixed, full bias correction", full),
)
