"""Brevitas: one scale per tensor as by default, and its strongest recipe, without and with zero-points.

Two things of the float network are written otherwise, the function kept: a shortcut that takes every second
pixel by slicing is a max-pool of one pixel, since Brevitas' quantized tensors cannot be sliced; and the
quantizer that it puts on the logits is taken away again, the protocol has none there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ptq_tools.recipe import Forward, Recipe, Task, calibrate

__all__ = ["RECIPES"]

SWEEPS = 20


class ChannelPad(nn.Module):
    """Channels of zeros before and after."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.pad = (0, 0, 0, 0, before, after)

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x, self.pad)


@dataclass(frozen=True)
class Steps:
    """What a recipe does: ranges of least squared error per channel or not, zero-points, the rest."""

    best: bool
    shifted: bool = False


def quantized(model: nn.Module, task: Task, steps: Steps) -> Forward:
    """Merge batch norm (equalize), insert quantizers, calibrate, (GPTQ,) correct biases."""
    from brevitas.graph.calibrate import bias_correction_mode, calibration_mode
    from brevitas.graph.quantize import preprocess_for_quantize, quantize

    traced = preprocess_for_quantize(pooled(model), equalize_iters=SWEEPS if steps.best else 0)
    net = float_logits(quantize(traced, **maps(task, steps)).eval())
    with torch.no_grad():
        net(task.sample)
        with calibration_mode(net):
            calibrate(net, task)
        if steps.best:
            round_by_gptq(net, task)
        with bias_correction_mode(net):
            calibrate(net, task)

    def forward(images: Tensor) -> Tensor:
        out = net(images)
        logits: Tensor = out if isinstance(out, Tensor) else out.value
        return logits

    return forward


def pooled(model: nn.Module) -> nn.Module:
    """Shortcuts without slices."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if type(child).__name__ == "OptionAShortcut":
                pad = ChannelPad(int(child.before), int(child.after))
                setattr(module, name, nn.Sequential(nn.MaxPool2d(1, int(child.stride)), pad))
    return model


def float_logits(net: Any) -> nn.Module:
    """Without a quantizer between the last layer and the output."""
    import brevitas.nn as qnn

    (output,) = [node for node in net.graph.nodes if node.op == "output"]
    last = output.args[0]
    if last.op == "call_module" and isinstance(net.get_submodule(last.target), qnn.QuantIdentity):
        net.set_submodule(last.target, nn.Identity())
    made: nn.Module = net
    return made


def maps(task: Task, steps: Steps) -> dict[str, Any]:
    """Which quantizer stands where: the same widths everywhere."""
    import brevitas.nn as qnn
    from brevitas.quant import scaled_int, shifted_scaled_int

    if steps.best:
        weights, activations = scaled_int.Int8WeightPerChannelFloatMSE, scaled_int.Int8ActPerTensorFloatMSE
    else:
        weights, activations = scaled_int.Int8WeightPerTensorFloat, scaled_int.Int8ActPerTensorFloat
    layer = {
        "weight_quant": weights,
        "weight_bit_width": task.weight_bits,
        "bias_quant": scaled_int.Int32Bias,
        "return_quant_tensor": False,
    }
    signed: dict[str, Any] = {
        "act_quant": shifted_scaled_int.ShiftedUint8ActPerTensorFloatMSE if steps.shifted else activations,
        "bit_width": task.activation_bits,
        "return_quant_tensor": True,
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
    return quantized(model, task, Steps(best=False))


def best(model: nn.Module, task: Task) -> Forward:
    """Least squared error ranges per channel, equalization, GPTQ, bias correction."""
    return quantized(model, task, Steps(best=True))


def best_shifted(model: nn.Module, task: Task) -> Forward:
    """The same, tensors with negative values have a zero-point."""
    return quantized(model, task, Steps(best=True, shifted=True))


RECIPES = (
    Recipe("per tensor, bias correction", default),
    Recipe("MSE, equalized, GPTQ, bias correction", best),
    Recipe("the same, zero-points", best_shifted),
)
