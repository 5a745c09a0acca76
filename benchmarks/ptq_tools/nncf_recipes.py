"""NNCF's quantization of a torch module: 8 bits, its default, its mixed preset, full bias correction."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from torch import nn

from ptq_tools.onnxruntime_recipes import export, session
from ptq_tools.recipe import Forward, Recipe, Task

__all__ = ["RECIPES"]

DEFAULT_BITS = 8


def settings(task: Task, preset: str) -> dict[str, Any]:
    """Other widths than 8 are asked of it too: its own error says what it refuses."""
    os.environ.setdefault("NNCF_EXTENSION_LOAD_TIMEOUT", "0")
    import nncf
    from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters, QuantizationParameters

    advanced = None
    if (task.weight_bits, task.activation_bits) != (DEFAULT_BITS, DEFAULT_BITS):
        advanced = AdvancedQuantizationParameters(
            weights_quantization_params=QuantizationParameters(num_bits=task.weight_bits),
            activations_quantization_params=QuantizationParameters(num_bits=task.activation_bits),
        )
    return {
        "preset": nncf.QuantizationPreset(preset),
        "subset_size": len(task.batches()),
        "advanced_parameters": advanced,
    }


def quantized(model: nn.Module, task: Task, preset: str) -> Forward:
    """The torch module."""
    chosen = settings(task, preset)
    import nncf

    made: nn.Module = nncf.quantize(model, nncf.Dataset(list(task.batches())), **chosen)
    return made.eval()


def default(model: nn.Module, task: Task) -> Forward:
    """As nncf.quantize comes."""
    return quantized(model, task, "performance")


def mixed(model: nn.Module, task: Task) -> Forward:
    """Activations asymmetric."""
    return quantized(model, task, "mixed")


def full(model: nn.Module, task: Task) -> Forward:
    """Bias correction layer by layer: of a torch module it refuses that, so the ONNX graph is quantized."""
    chosen = settings(task, "mixed")
    import nncf
    import onnx

    batches = [{"images": batch.numpy()} for batch in task.batches()]
    with tempfile.TemporaryDirectory() as name:
        source, path = str(Path(name) / "float.onnx"), str(Path(name) / "made.onnx")
        export(model, task.sample, source)
        made = nncf.quantize(onnx.load(source), nncf.Dataset(batches), fast_bias_correction=False, **chosen)
        onnx.save(made, path)
        return session(path)


NOTE = "biases and input of linear float"
RECIPES = (
    Recipe("default", default, NOTE),
    Recipe("mixed", mixed, NOTE),
    Recipe("mixed, full bias correction, ONNX", full, NOTE),
)
