"""Integers that exporters of ONNX write as operators, such as the widths of a Pad, computed.

Shape inference follows a few operators only; here those on small known integers are run by the reference
implementation of ONNX, and a Constant takes the place of each.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

__all__ = ["fold_integers"]

LARGEST = 256
"""Elements of the largest operand and result: widths and shapes, never weights."""

FOLDED = frozenset(
    {"Add", "Cast", "Concat", "Constant", "ConstantOfShape", "Div", "Gather", "Identity", "Mul", "Reshape"}
    | {"Slice", "Squeeze", "Sub", "Transpose", "Unsqueeze"}
)
"""Operators whose result is no larger than their operands together (ConstantOfShape is looked at first)."""


def fold_integers(model: Any) -> None:
    """Put a Constant in the place of every operator of `model` on small known integers, in running order.

    What cannot be computed stays as it is: who reads the model next says what is wrong with it.
    """
    import onnx

    opsets = {entry.domain: entry.version for entry in model.opset_import}
    known: dict[str, Any] = {}
    for tensor in model.graph.initializer:
        if math.prod(tensor.dims) <= LARGEST and tensor.data_location != onnx.TensorProto.EXTERNAL:
            _keep(known, tensor.name, _array(tensor))
    for node in model.graph.node:
        if node.op_type not in FOLDED or node.domain or len(node.output) != 1:
            continue
        result = _result(node, known, opsets)
        if result is not None and _keep(known, node.output[0], result) and node.op_type != "Constant":
            tensor = onnx.numpy_helper.from_array(result)
            constant = onnx.helper.make_node("Constant", [], [node.output[0]], node.name, value=tensor)
            node.CopyFrom(constant)


def _keep(known: dict[str, Any], name: str, array: Any) -> bool:
    """Note an array if it holds few integers."""
    import numpy as np

    fits = array is not None and array.dtype in (np.int32, np.int64) and array.size <= LARGEST
    if fits:
        known[name] = array
    return fits


def _array(tensor: Any) -> Any:
    import onnx

    try:
        return onnx.numpy_helper.to_array(tensor)
    except (KeyError, TypeError, ValueError):  # an unknown element type, or bytes that are none
        return None


def _result(node: Any, known: Mapping[str, Any], opsets: Mapping[str, int]) -> Any:
    """What `node` computes; None where an operand is not known or the operator does not fit it."""
    from onnx.reference import ReferenceEvaluator

    operands = [name for name in node.input if name]
    if any(name not in known for name in operands):
        return None
    if node.op_type == "Constant" and any(
        math.prod(item.t.dims) > LARGEST or item.name != "value" for item in node.attribute
    ):
        return None
    if node.op_type == "ConstantOfShape" and math.prod(map(int, known[operands[0]].reshape(-1))) > LARGEST:
        return None
    try:
        (result,) = ReferenceEvaluator(node, opsets=dict(opsets)).run(None, {n: known[n] for n in operands})
    except Exception:  # a damaged operator can make the reference implementation raise nearly anything
        return None
    return result
