"""torchao's PT2E: an exported graph, observers where a quantizer asks for them, quantize and dequantize.

torchao leaves the quantizer to the backends; this one asks for what the protocol says: histogram observers,
unsigned with a zero-point, on the inputs of every convolution, linear layer, add and pool, and weights
symmetric per channel.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.fx import GraphModule, Node

from ptq_tools.recipe import Forward, Recipe, Task, calibrate

__all__ = ["RECIPES"]

LAYERS = ("conv1d", "conv2d", "linear")
READERS = ("add", "add_", "mul", "cat", "mean", "adaptive_avg_pool2d", "avg_pool2d")


def pt2e(model: nn.Module, task: Task) -> Forward:
    """Export, prepare, calibrate, convert."""
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    batch = torch.export.Dim("batch", min=1, max=4096)
    program = torch.export.export(model, (task.images[:2],), dynamic_shapes=({0: batch},))
    prepared = prepare_pt2e(program.module(), uniform_quantizer(task))
    with torch.no_grad():
        calibrate(prepared, task)
        converted: GraphModule = convert_pt2e(prepared)
    return converted


def uniform_quantizer(task: Task) -> object:
    """The same widths everywhere."""
    from torchao.quantization.pt2e.observer import HistogramObserver, PerChannelMinMaxObserver
    from torchao.quantization.pt2e.quantizer import QuantizationAnnotation, QuantizationSpec, Quantizer

    activation = QuantizationSpec(
        dtype=torch.uint8,
        observer_or_fake_quant_ctr=HistogramObserver,
        quant_min=0,
        quant_max=2**task.activation_bits - 1,
        qscheme=torch.per_tensor_affine,
    )
    greatest = 2 ** (task.weight_bits - 1) - 1
    weight = QuantizationSpec(
        dtype=torch.int8,
        observer_or_fake_quant_ctr=PerChannelMinMaxObserver,
        quant_min=-greatest,
        quant_max=greatest,
        qscheme=torch.per_channel_symmetric,
        ch_axis=0,
    )

    class Uniform(Quantizer):
        def annotate(self, model: GraphModule) -> GraphModule:
            for node in model.graph.nodes:
                specs = self.inputs(node)
                if specs:
                    node.meta["quantization_annotation"] = QuantizationAnnotation(
                        input_qspec_map=specs, _annotated=True
                    )
            return model

        def inputs(self, node: Node) -> dict[Node, QuantizationSpec]:
            kind = str(node.target).split(".")[1] if str(node.target).startswith("aten.") else ""
            if kind in LAYERS:
                return {node.args[0]: activation, node.args[1]: weight}
            if kind in READERS:
                return {arg: activation for arg in node.args if isinstance(arg, Node)}
            return {}

        def validate(self, model: GraphModule) -> None:
            return None

    return Uniform()


RECIPES = (Recipe("PT2E, histogram, per channel", pt2e, "biases float"),)
