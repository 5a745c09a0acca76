"""One operator of an ONNX file, read field by field; a malformed field is a `GraphError`."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from bitjoule.workload.graph import Attribute
from bitjoule.workload.graph_error import GraphError
from bitjoule.workload.onnx_tensors import OnnxTensors

__all__ = ["Call", "Described", "Uncountable"]


class Uncountable(Exception):
    """An operator that no Graph holds; the text says what is special about it, or is empty."""


@dataclass(frozen=True)
class Described:
    """Operator, attributes and shapes of the parameters by role, as a `Node` has them."""

    op: str
    attributes: dict[str, Attribute] = field(default_factory=dict)
    parameters: dict[str, tuple[int, ...]] = field(default_factory=dict)


class Call:
    """One operator of the file; `operands` are its inputs that are activations."""

    def __init__(self, tensors: OnnxTensors, operator: Any, name: str, operands: tuple[str, ...]) -> None:
        import onnx

        self.tensors = tensors
        self.name = name
        self.kind: str = operator.op_type
        self.inputs = tuple(operator.input)
        self.operands = operands
        self.outputs = tuple(operator.output)
        try:
            self.values = {item.name: onnx.helper.get_attribute_value(item) for item in operator.attribute}
        except ValueError as error:
            raise self.fault(f"an attribute cannot be read: {error}") from None

    def fault(self, text: str) -> GraphError:
        """The error that names file and node."""
        return GraphError(f"{self.tensors.file}: {self.name} ({self.kind}): {text}")

    def shape(self, tensor: str) -> tuple[int, ...]:
        """The shape of a tensor that this operator reads or makes."""
        return self.tensors.shape(tensor, f"{self.name} ({self.kind})")

    @property
    def source(self) -> tuple[int, ...]:
        """The shape of the first activation."""
        return self.shape(self.operands[0])

    @property
    def result(self) -> tuple[int, ...]:
        """The shape of the first output."""
        return self.shape(self.outputs[0])

    def given(self, index: int) -> str | None:
        """The name of input `index`, None where it is left out."""
        return (self.inputs[index] or None) if index < len(self.inputs) else None

    def activation(self, index: int) -> None:
        """Input `index` must be there, and be an activation."""
        if self.given(index) is None:
            raise self.fault(f"input {index} is missing")
        if self.inputs[index] not in self.operands:
            raise Uncountable(f"input {index} is a constant")

    def weight(self, index: int) -> tuple[int, ...]:
        """The shape of the constant input `index`."""
        name = self.given(index)
        if name is None:
            raise self.fault(f"input {index}, its weight, is missing")
        return self.shape(name)

    def integer(self, key: str, default: int) -> int:
        """An attribute that is one integer."""
        value = self.values.get(key, default)
        if not isinstance(value, int):
            raise self.fault(f"{key} must be an integer, not {value!r}")
        return value

    def number(self, key: str, default: float) -> float:
        """An attribute that is one number."""
        value = self.values.get(key, default)
        if not isinstance(value, int | float) or math.isnan(value):
            raise self.fault(f"{key} must be a number, not {value!r}")
        return float(value)

    def integers(self, key: str, default: tuple[int, ...], least: int = 1) -> tuple[int, ...]:
        """An attribute that is as many integers as `default`, each of at least `least`."""
        value = self.values.get(key, default)
        numbers = tuple(value) if isinstance(value, list | tuple) else ()
        if len(numbers) != len(default) or not all(isinstance(n, int) and n >= least for n in numbers):
            raise self.fault(f"{key} must be {len(default)} integers of at least {least}, not {value!r}")
        return numbers
