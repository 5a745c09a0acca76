"""Workloads built by hand from loop bounds: the nets of Moons et al. and ResNet-18, without capture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bitjoule.formats import TensorFormat, parse_tensor_format
from bitjoule.workload import Layer, StoredTensor, Workload

INT32 = parse_tensor_format("INT32")


def moons_format(bits: int) -> TensorFormat:
    """MOONSb; BIPOLAR-like MOONS1 for one bit."""
    return parse_tensor_format(f"MOONS{bits}")


def moons_net(
    depths: Sequence[int], filters: Sequence[int], bits: int, *, classes: int = 10, side: int = 32, colours: int = 3
) -> Workload:
    """Blocks of `depths[i]` conv3x3 of `filters[i]` with bias, each followed by a 2x2 pool, then a dense layer."""
    q = moons_format(bits)
    layers: list[Layer] = []
    channels, tensor = colours, "input"
    for block, (depth, outputs) in enumerate(zip(depths, filters, strict=True), start=1):
        for index in range(1, depth + 1):
            name = f"block{block}.conv{index}"
            layers.append(
                Layer(
                    name, "conv", 1, outputs, channels, side, side, 3, 3, padding=(1, 1, 1, 1), bias=True,
                    inputs=(tensor,), output=f"{name}.out", weight_format=q, input_format=q, output_format=q,
                    reads_network_input=tensor == "input",
                )
            )
            channels, tensor = outputs, f"{name}.out"
        side //= 2
        tensor = f"block{block}.pool"
    features = channels * side * side
    layers.append(
        Layer(
            "classifier", "linear", 1, classes, features, 1, 1, 1, 1, inputs=(tensor,), output="logits",
            weight_format=q, input_format=q, output_format=INT32,
        )
    )
    return Workload(f"moons-{depths}-{filters}", f"moons-{bits}", tuple(layers))


def reference_net(bits: int) -> Workload:
    """The reference net of energy.md 2.2: A 3 x conv64, pool, B 3 x conv128, pool, C 3 x conv256, pool, dense."""
    return moons_net((3, 3, 3), (64, 128, 256), bits)


def mixed_reference_net(weights: str | None = None) -> Workload:
    """energy.md 2.2, mixed: first and dense weights 8 bits (or all `weights`), others 4; image and logits 8."""
    narrow, wide = parse_tensor_format("INT4"), parse_tensor_format("INT8")
    all_weights = parse_tensor_format(weights) if weights else None
    net = reference_net(4)
    last = len(net.layers) - 1
    layers = []
    for index, layer in enumerate(net.layers):
        edge = index in (0, last)
        layers.append(
            replace(
                layer,
                weight_format=all_weights or (wide if edge else narrow),
                input_format=wide if index == 0 else narrow,
                output_format=wide if index == last else narrow,
            )
        )
    return replace(net, layers=tuple(layers))


def chain(*layers: Layer) -> Workload:
    """A Workload whose layers already name their tensors; sizes come from the layers."""
    tensors: dict[str, StoredTensor] = {}
    for index, layer in enumerate(layers):
        if index == 0:
            tensors[layer.inputs[0]] = StoredTensor(
                layer.inputs[0], layer.input_elements, layer.input_format, "input"
            )
        role = "output" if index == len(layers) - 1 else "feature"
        tensors[layer.output] = StoredTensor(layer.output, layer.output_elements, layer.output_format, role)
    return Workload("chain", "test", tuple(layers), tensors=tensors, order=tuple(layer.name for layer in layers))
