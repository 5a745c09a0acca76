"""How a Workload uses the feature-map memory of a core: steps, tensors, streaming buffers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

from bitjoule.energy.feature_map import BEFORE, FeatureMap, ResidencyPlan, Step
from bitjoule.energy.residency import nothing_kept, residency
from bitjoule.workload import Layer, Operation, StoredTensor, Workload

__all__ = ["ResidencyMode", "feature_maps_of", "plan_feature_maps", "steps_of"]

ResidencyMode = Literal["optimal", "none", "ideal"]


def plan_feature_maps(
    workload: Workload, capacity_bits: int | None, *, word_bits: int, lanes: int, mode: ResidencyMode
) -> ResidencyPlan:
    """Which tensors of `workload` cross DRAM.

    `optimal`: the least traffic that fits; `none`: everything streamed; `ideal`: an unlimited memory, the
    lower bound.

    Raises:
        ValueError: a layer that names no tensors, or tensors the workload does not hold.
        Infeasible: a step does not fit even when everything is streamed.
    """
    steps = steps_of(workload)
    tensors = feature_maps_of(workload, steps, lambda tensor: _rounded(tensor, word_bits))
    needs = [
        Step(name, streaming_bits=_streaming(workload, step, lanes, tensors)) for name, step in steps.items()
    ]
    if mode == "none":
        return nothing_kept(needs, tensors, capacity_bits)
    return residency(needs, tensors, None if mode == "ideal" else capacity_bits)


def steps_of(workload: Workload) -> dict[str, Layer | Operation]:
    """Layers and unfused operations in running order.

    Raises:
        ValueError: the order names a step that is not there, or leaves a layer out.
    """
    steps: dict[str, Layer | Operation] = {layer.name: layer for layer in workload.layers}
    steps.update({operation.name: operation for operation in workload.operations if not operation.fused_into})
    unknown = set(workload.order) ^ set(steps)
    if workload.order and unknown:
        raise ValueError(
            f"workload {workload.network!r}: order and steps differ in {', '.join(sorted(unknown))}; "
            "make workloads with workload_of"
        )
    return {name: steps[name] for name in workload.order or steps}


def feature_maps_of(
    workload: Workload, steps: dict[str, Layer | Operation], size_bits: Callable[[StoredTensor], int]
) -> list[FeatureMap]:
    """The stored tensors of a workload with the steps that make and use them.

    Raises:
        ValueError: a step names a tensor that the workload does not hold.
    """
    producer: dict[str, int] = {}
    uses: dict[str, list[int]] = {}
    for index, step in enumerate(steps.values()):
        for name in (*step.inputs, step.output):
            if name not in workload.tensors:
                raise ValueError(
                    f"workload {workload.network!r}: step {step.name!r} names tensor {name!r}, which is not "
                    "among its tensors; make workloads with workload_of"
                )
        for name in dict.fromkeys(step.inputs):
            uses.setdefault(name, []).append(index)
        producer[step.output] = index
    return [
        FeatureMap(
            name,
            size_bits(tensor),
            producer.get(name, BEFORE),
            tuple(use for use in uses.get(name, []) if use > producer.get(name, BEFORE)),
            is_output=tensor.role == "output" or name not in uses,
        )
        for name, tensor in workload.tensors.items()
        if name in producer or name in uses
    ]


def _rounded(tensor: StoredTensor, word_bits: int) -> int:
    """Size of a tensor in whole words."""
    return math.ceil(tensor.size_bits / word_bits) * word_bits


def _streaming(
    workload: Workload, step: Layer | Operation, lanes: int, tensors: list[FeatureMap]
) -> dict[str, int]:
    """Buffer of each tensor of a step while it comes from or goes to DRAM [assumed].

    A layer holds the rows of its input that one row of outputs needs, one row of each shortcut, one row of
    its output, and the whole right-hand side of a matrix product; an operation holds one vector per operand
    and window value.
    """
    size = {tensor.name: tensor.size_bits for tensor in tensors}
    need: dict[str, int] = {}
    for position, name in enumerate(dict.fromkeys((*step.inputs, step.output))):
        bits = workload.tensors[name].bits
        if isinstance(step, Operation):
            kernel = step.attributes.get("kernel", 1)
            window = math.prod(kernel) if isinstance(kernel, tuple) else 1
            wanted = lanes * bits * (window if name in step.inputs else 1)
        elif name == step.output or (position > 0 and step.kind != "matmul"):
            wanted = step.K * step.Q * bits
        elif position > 0:
            wanted = size[name]
        else:
            wanted = _window_rows(step) * bits
        need[name] = min(size[name], wanted)
    return need


def _window_rows(layer: Layer) -> int:
    """Values in the input rows that one row of outputs reads."""
    window = (layer.R - 1) * layer.dilation[0] + 1
    covered = (layer.P - 1) * layer.stride[0] + window - layer.padding[0] - layer.padding[2]
    rows = max(1, covered)
    return math.ceil(layer.input_elements / rows) * min(window, rows)
