"""Workloads built by hand from loop bounds: the nets of Moons et al. and ResNet-18, without capture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from bitjoule.formats import TensorFormat, parse_tensor_format
from bitjoule.workload import Layer, Operation, StoredTensor, Workload

INT32 = parse_tensor_format("INT32")


def moons_format(bits: int) -> TensorFormat:
    """MOONSb."""
    return parse_tensor_format(f"MOONS{bits}")


def conv(
    name: str, outputs: int, channels: int, side: int, source: str, formats: TensorFormat, **rest: object
) -> Layer:
    """A 3x3 convolution with bias and "same" padding, all tensors in one format."""
    layer = Layer(
        name,
        "conv",
        *(1, outputs, channels, side, side, 3, 3),
        padding=(1, 1, 1, 1),
        bias=True,
        inputs=(source,),
        output=f"{name}.out",
        weight_format=formats,
        input_format=formats,
        output_format=formats,
        reads_network_input=source == "input",
    )
    return replace(layer, **rest)  # type: ignore[arg-type]


def dense(name: str, outputs: int, features: int, source: str, formats: TensorFormat) -> Layer:
    """A linear layer without bias whose results are the logits."""
    return Layer(
        name,
        "linear",
        *(1, outputs, features, 1, 1, 1, 1),
        inputs=(source,),
        output="logits",
        weight_format=formats,
        input_format=formats,
        output_format=INT32,
    )


def workload(name: str, steps: Sequence[Layer | Operation]) -> Workload:
    """The Workload of steps that name their tensors; sizes come from the steps, "input" is the image."""
    formats: dict[str, TensorFormat | None] = {}
    elements: dict[str, int] = {}
    for step in steps:
        if isinstance(step, Layer):
            formats.setdefault(step.inputs[0], step.input_format)
            elements.setdefault(step.inputs[0], step.input_elements)
            formats[step.output], elements[step.output] = step.output_format, step.output_elements
        else:
            formats[step.output], elements[step.output] = formats[step.inputs[0]], step.elements
    read = {tensor for step in steps for tensor in step.inputs}

    def role(tensor: str) -> Literal["input", "feature", "output"]:
        return "input" if tensor == "input" else "feature" if tensor in read else "output"

    return Workload(
        name,
        "test",
        tuple(step for step in steps if isinstance(step, Layer)),
        tuple(step for step in steps if isinstance(step, Operation)),
        {tensor: StoredTensor(tensor, elements[tensor], formats[tensor], role(tensor)) for tensor in formats},
        tuple(step.name for step in steps if isinstance(step, Layer) or not step.fused_into),
    )


def moons_net(
    depths: Sequence[int], filters: Sequence[int], bits: int, classes: int = 10, side: int = 32
) -> Workload:
    """Blocks of `depths[i]` conv3x3 of `filters[i]` with bias and a 2x2 pool each, then a dense layer."""
    q = moons_format(bits)
    steps: list[Layer | Operation] = []
    channels, tensor = 3, "input"
    for block, (depth, outputs) in enumerate(zip(depths, filters, strict=True), start=1):
        for index in range(1, depth + 1):
            steps.append(conv(f"block{block}.conv{index}", outputs, channels, side, tensor, q))
            channels, tensor = outputs, steps[-1].output
        side //= 2
        pool = f"block{block}.pool"
        attributes = {"kernel": (2, 2), "stride": (2, 2)}
        steps.append(
            Operation(pool, "max_pool", (tensor,), pool, channels * side * side, attributes=attributes)
        )
        tensor = pool
    steps.append(dense("classifier", classes, channels * side * side, tensor, q))
    return workload(f"moons-{depths}-{filters}-{bits}", steps)


def reference_net(bits: int) -> Workload:
    """The reference net of energy.md 2.2: 3 x conv64, pool, 3 x conv128, pool, 3 x conv256, pool, dense."""
    return moons_net((3, 3, 3), (64, 128, 256), bits)


def mixed_reference_net(weights: str | None = None) -> Workload:
    """energy.md 2.2, mixed: edge weights 8 bits (or all `weights`), others 4; image and logits 8."""
    narrow, wide = parse_tensor_format("INT4"), parse_tensor_format("INT8")
    all_weights = parse_tensor_format(weights) if weights else None
    net = reference_net(4)
    last = len(net.layers) - 1
    layers = [
        replace(
            layer,
            weight_format=all_weights or (wide if index in (0, last) else narrow),
            input_format=wide if index == 0 else narrow,
            output_format=wide if index == last else narrow,
        )
        for index, layer in enumerate(net.layers)
    ]
    return replace(net, layers=tuple(layers))


def residual_net(bits: int = 4, side: int = 16, channels: int = 16) -> Workload:
    """Stem, one basic block whose add is fused into its second convolution, global pool, dense."""
    q = moons_format(bits)
    stem = conv("stem", channels, 3, side, "input", q)
    first = conv("conv1", channels, channels, side, stem.output, q)
    second = conv("conv2", channels, channels, side, first.output, q, inputs=(first.output, stem.output))
    add = Operation("add", "add", (stem.output,), second.output, second.output_elements, fused_into="conv2")
    pool = Operation("pool", "global_avg_pool", (second.output,), "pool", channels)
    return workload("residual", (stem, first, second, add, pool, dense("fc", 10, channels, "pool", q)))


def resnet18(body: str, edges: str) -> tuple[Layer, ...]:
    """ResNet-18 at 224x224: `body` format, and `edges` for the first, downsample and last layers."""

    def layer(name: str, k: int, c: int, side: int, kernel: int, text: str) -> Layer:
        f = parse_tensor_format(text)
        return Layer(
            name,
            "conv",
            1,
            k,
            c,
            side,
            side,
            kernel,
            kernel,
            weight_format=f,
            input_format=f,
            output_format=f,
        )

    layers = [layer("conv1", 64, 3, 112, 7, edges)]
    channels = 64
    for stage, (k, side) in enumerate([(64, 56), (128, 28), (256, 14), (512, 7)], start=1):
        for block in range(2):
            c = channels if block == 0 else k
            layers.append(layer(f"layer{stage}.{block}.conv1", k, c, side, 3, body))
            layers.append(layer(f"layer{stage}.{block}.conv2", k, k, side, 3, body))
            if c != k:
                layers.append(layer(f"layer{stage}.{block}.downsample", k, c, side, 1, edges))
        channels = k
    layers.append(layer("fc", 1000, 512, 1, 1, edges))
    return tuple(layers)
