"""The tensors of an ONNX model: which are constants, every shape, and the numbers that bound a Clip.

A tensor is constant when nothing it is computed from is a network input; so a weight behind Transpose, Cast,
Reshape, Identity or DequantizeLinear is one, and the shape inference of ONNX gives its shape.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from bitjoule.workload.graph_error import GraphError

__all__ = ["OnnxTensors", "shape_of_value"]

FLOAT32_MAX = 3.4028234663852886e38
"""Exporters write this for a bound that is none."""

SAME_NUMBERS = frozenset({"Identity", "Cast", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Transpose"})
"""Operators whose result has the numbers of their first operand."""

NUMBERS = ("value_float", "value_floats", "value_int", "value_ints")
"""Attributes of a Constant, besides its tensors."""


class OnnxTensors:
    """Constants and shapes of a model after shape inference; constants grow while its nodes are read."""

    def __init__(self, model: Any, file: str) -> None:
        self.file = file
        self.shapes: dict[str, tuple[int, ...]] = {}
        for value in (*model.graph.input, *model.graph.value_info, *model.graph.output):
            shape = shape_of_value(value)
            if shape is not None:
                self.shapes[value.name] = shape
        self.constants: set[str] = set()
        self.initialized: set[str] = set()
        self.sources: dict[str, Any] = {}
        for tensor in model.graph.initializer:
            self._put(tensor.name, tuple(tensor.dims), tensor)
        for tensor in model.graph.sparse_initializer:
            self._put(tensor.values.name, tuple(tensor.dims), None)
        self.initialized |= self.constants

    def _put(self, name: str, shape: tuple[int, ...], source: Any) -> None:
        self.constants.add(name)
        self.shapes[name] = shape
        self.sources[name] = source

    def derive(self, operator: Any) -> None:
        """The outputs of `operator`, which reads constants only (or shapes), are constants."""
        for name in operator.output:
            if name:
                self.constants.add(name)
                self.sources[name] = operator
                if any(operand in self.initialized for operand in operator.input):
                    self.initialized.add(name)

    def shape(self, tensor: str, node: str) -> tuple[int, ...]:
        """The shape of `tensor`, which the node `node` reads or makes."""
        shape = self.shapes.get(tensor)
        if shape is None:
            raise GraphError(
                f"{self.file}: {node}: the shape of {tensor!r} is not fixed; only the batch may be free"
            )
        if any(size < 1 for size in shape):
            raise GraphError(f"{self.file}: {node}: tensor {tensor!r} of shape {shape} holds nothing")
        return shape

    def is_learned(self, tensor: str) -> bool:
        """True for a constant of more than one element that comes from an initializer."""
        return tensor in self.initialized and math.prod(self.shapes.get(tensor, ())) > 1

    def numbers(self, tensor: str) -> tuple[float, ...] | None:
        """The values of a small constant; None where the file alone does not tell them."""
        import onnx

        source = self.sources.get(tensor)
        for _ in range(len(self.sources)):
            if not isinstance(source, onnx.NodeProto) or source.op_type not in SAME_NUMBERS:
                break
            source = self.sources.get(source.input[0])
        if isinstance(source, onnx.NodeProto) and source.op_type == "Constant":
            found: Mapping[str, Any] = {item.name: item for item in source.attribute}
            for key in NUMBERS:
                if key in found:
                    value = onnx.helper.get_attribute_value(found[key])
                    return tuple(float(v) for v in value) if key.endswith("s") else (float(value),)
            source = found["value"].t if "value" in found else None
        if not isinstance(source, onnx.TensorProto) or source.data_location == onnx.TensorProto.EXTERNAL:
            return None
        try:
            return tuple(float(v) for v in onnx.numpy_helper.to_array(source).reshape(-1))
        except (KeyError, TypeError, ValueError):  # an unknown element type, or bytes that are none
            return None

    def bound(self, tensor: str, node: str) -> float | None:
        """The single number of a bound; None for an infinite one."""
        numbers = self.numbers(tensor)
        if numbers is None or len(numbers) != 1 or math.isnan(numbers[0]):
            raise GraphError(f"{self.file}: {node}: the bound {tensor!r} of Clip must be one constant number")
        return finite(numbers[0])


def finite(number: float) -> float | None:
    """`number`, None where it bounds nothing."""
    return None if abs(number) >= FLOAT32_MAX else number


def shape_of_value(value: Any) -> tuple[int, ...] | None:
    """The shape that a value of the model declares; None where it is not fixed or no tensor."""
    if not value.type.HasField("tensor_type") or not value.type.tensor_type.HasField("shape"):
        return None
    dims = value.type.tensor_type.shape.dim
    return tuple(dim.dim_value for dim in dims) if all(dim.HasField("dim_value") for dim in dims) else None
