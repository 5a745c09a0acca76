"""Brevitas: one scale per tensor as by default, and its strongest recipe, without and with zero-points."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ptq_tools.recipe import Forward, Recipe, Task, calibrate

__all__ = ["RECIPES"]

SWEEPS = 20


def quantized(model: nn.Module, task: Task, best: bool, shifted: bool) -> Forward:
    """Merge batch norm (equalize), insert quantizers, calibrate (GPTQ, bias correction)."""
    from brevitas.graph.calibrate import bias_correction_mode, calibration_mode
    from brevitas.graph.quantize import preprocess_for_quantize, quantize

    traced = preprocess_for_quantize(model, equalize_iters=SWEEPS if best else 0)
    net = quantize(traced, **maps(task, best, shifted)).eval()
    with torch.no_grad():
        with calibration_mode(net):
            calibrate(net, task)
        if best:
            round_by_gptq(net, task)
            with bias_correction_mode(net):
                calibrate(net, task)

    def forward(images: Tensor) -> Tensor:
        out = net(images)
        logits: Tensor = out if isinstance(out, Tensor) else out.value
        return logits

    return forward


def maps(task: Task, best: bool, shifted: bool) -> dict[str, Any]:
    """Which quantizer stands where: the same widths everywhere.

    Plain tensors between modules: its own kind of tensor cannot be sliced as shortcuts do. A bias of 32 bits
    would need it, so biases are float; at 32 bits that is no difference one sees.
    """
    import brevitas.nn as qnn
    from brevitas.quant import scaled_int, shifted_scaled_int

    if best:
        weights, activations = scaled_int.Int8WeightPerChannelFloatMSE, scaled_int.Int8ActPerTensorFloatMSE
    else:
        weights, activations = scaled_int.Int8WeightPerTensorFloat, scaled_int.Int8ActPerTensorFloat
    layer = {
        "weight_quant": weights,
        "weight_bit_width": task.weight_bits,
        "bias_quant": None,
        "return_quant_tensor": False,
    }
    signed: dict[str, Any] = {
        "act_quant": shifted_scaled_int.ShiftedUint8ActPerTensorFloatMSE if shifted else activations,
        "bit_width": task.activation_bits,
        "return_quant_tensor": False,
    }
    unsigned = {**signed, "act_quant": activations, "signed": False}
    return {
        "compute_layer_map": {nn.Conv2d: (qnn.QuantConv2d, layer), nn.Linear: (qnn.QuantLinear, layer)},
        "quant_act_map": {nn.ReLU: (qnn.QuantReLU, unsigned), nn.ReLU6: (qnn.QuantReLU, unsigned)},
        "quant_identity_map": {
            "signed": (qnn.QuantIdentity, signed),
            "unsigned": (qnn.QuantIdentity, unsigned),
        },
    }


def round_by_gptq(net: nn.Module, task: Task) -> None:
    """Layer by layer, columns by falling second moment."""
    from brevitas.graph.gptq import gptq_mode

    with gptq_mode(net, use_quant_activations=True, create_weight_orig=False, act_order=True) as gptq:
        for _ in range(gptq.num_layers):
            calibrate(gptq.model, task)
            gptq.update()


def default(model: nn.Module, task: Task) -> Forward:
    """Statistics, one scale per tensor."""
    return quantized(model, task, best=False, shifted=False)


def best(model: nn.Module, task: Task) -> Forward:
    """Least squared error ranges per channel, equalization, GPTQ, bias correction."""
    return quantized(model, task, best=True, shifted=False)


def best_shifted(model: nn.Module, task: Task) -> Forward:
    """The same, tensors with negative values have a zero-point."""
    return quantized(model, task, best=True, shifted=True)


NOTE = "biases float"
RECIPES = (
    Recipe("default, per tensor", default, NOTE),
    Recipe("MSE, equalized, GPTQ, bias correction", best, NOTE),
    Recipe("the same, zero-points", best_shifted, NOTE),
)
