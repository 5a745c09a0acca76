"""The Graph of an ONNX file: its operators and shapes; the weights themselves are not looked at.

Needs the extra `onnx` (`pip install 'bitjoule[onnx]'`). Operators are those of a float inference graph;
what cannot be counted is collected and reported together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bitjoule.scheme import Scheme
from bitjoule.workload.graph import Attribute, Graph, GraphError, Node, Tensor
from bitjoule.workload.workload import Workload, workload_of

__all__ = ["from_onnx", "graph_from_onnx"]

Attributes = Mapping[str, Any]

SIMPLE_OPS = {
    "Relu": "relu",
    "Add": "add",
    "Sub": "sub",
    "Mul": "mul",
    "Div": "div",
    "Neg": "neg",
    "Pow": "pow",
    "Exp": "exp",
    "Sqrt": "sqrt",
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
    "HardSigmoid": "hardsigmoid",
    "HardSwish": "hardswish",
    "LeakyRelu": "leaky_relu",
    "PRelu": "prelu",
    "Gelu": "gelu",
    "Softmax": "softmax",
    "LayerNormalization": "layer_norm",
    "GroupNormalization": "group_norm",
    "BatchNormalization": "batch_norm",
    "GlobalAveragePool": "global_avg_pool",
    "ReduceMean": "mean",
    "Flatten": "flatten",
    "Reshape": "reshape",
    "Squeeze": "reshape",
    "Unsqueeze": "reshape",
    "Transpose": "transpose",
    "Pad": "pad",
    "Slice": "slice",
    "Concat": "concat",
    "Identity": "identity",
    "Dropout": "dropout",
}
SHAPE_ONLY = frozenset({"Shape", "Gather", "Constant", "ConstantOfShape", "Cast", "Range", "Expand"})


def from_onnx(path: str | Path, scheme: Scheme | str = "float32") -> Workload:
    """What one inference of the network in `path` computes and stores under `scheme`."""
    return workload_of(graph_from_onnx(path), scheme)


def graph_from_onnx(path: str | Path) -> Graph:
    """The Graph of an ONNX file, with a batch of 1.

    Raises:
        GraphError: no such file, not an ONNX model, shapes that cannot be inferred, or operators that
            cannot be counted (all of them, with their names).
        ImportError: the extra `onnx` is not installed.
    """
    file = Path(path)
    if not file.is_file():
        raise GraphError(f"no ONNX file {str(file)!r}; give the path of a .onnx file")
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError:
        raise ImportError("reading ONNX needs the extra onnx: pip install 'bitjoule[onnx]'") from None
    try:
        model = onnx.load(file, load_external_data=False)
    except DecodeError as error:
        raise GraphError(f"{file.name}: not an ONNX model ({error})") from None
    _fix_batch(model)
    try:
        model = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    except onnx.shape_inference.InferenceError as error:
        raise GraphError(f"{file.name}: shapes cannot be inferred: {error}") from None
    return _Reader(model, file).graph()


def _fix_batch(model: Any) -> None:
    """A free first dimension of an input becomes 1."""
    constants = {initializer.name for initializer in model.graph.initializer}
    for value in model.graph.input:
        dims = value.type.tensor_type.shape.dim
        if value.name not in constants and dims and not dims[0].dim_value:
            dims[0].dim_value = 1
    del model.graph.value_info[:]
    for value in model.graph.output:
        for dim in value.type.tensor_type.shape.dim:
            dim.Clear()


class _Reader:
    """One pass over an ONNX graph."""

    def __init__(self, model: Any, file: Path) -> None:
        self.model = model
        self.file = file
        self.constants: dict[str, tuple[int, ...]] = {
            initializer.name: tuple(initializer.dims) for initializer in model.graph.initializer
        }
        for node in model.graph.node:
            if node.op_type == "Constant":
                self.constants[node.output[0]] = tuple(node.attribute[0].t.dims)
        self.shapes: dict[str, tuple[int, ...]] = {}
        for value in (*model.graph.input, *model.graph.value_info, *model.graph.output):
            dims = value.type.tensor_type.shape.dim
            if all(dim.HasField("dim_value") for dim in dims):
                self.shapes[value.name] = tuple(dim.dim_value for dim in dims)

    def graph(self) -> Graph:
        inputs = tuple(value.name for value in self.model.graph.input if value.name not in self.constants)
        activations = set(inputs)
        nodes: list[Node] = []
        unknown: list[str] = []
        for index, operator in enumerate(self.model.graph.node):
            operands = tuple(name for name in operator.input if name in activations)
            name = operator.name or f"{operator.op_type.lower()}_{index}"
            if not operands or operator.op_type in SHAPE_ONLY:
                if operands and operator.op_type not in ("Shape", "Constant"):
                    unknown.append(f"{name} ({operator.op_type})")
                continue
            node = self._node(operator, name, operands)
            if node is None:
                unknown.append(f"{name} ({operator.op_type})")
                continue
            activations.add(node.output)
            nodes.append(node)
        if unknown:
            raise GraphError(
                f"{self.file.name}: {len(unknown)} operators cannot be counted: {', '.join(unknown)}"
            )
        names = (*inputs, *(node.output for node in nodes))
        return Graph(
            name=self.file.stem,
            inputs=inputs,
            outputs=tuple(value.name for value in self.model.graph.output),
            nodes=tuple(nodes),
            tensors={name: Tensor(name, self._shape(name)) for name in names},
        )

    def _shape(self, tensor: str) -> tuple[int, ...]:
        try:
            return self.shapes[tensor]
        except KeyError:
            raise GraphError(
                f"{self.file.name}: the shape of {tensor!r} is not fixed; only the batch may be free"
            ) from None

    def _node(self, operator: Any, name: str, operands: tuple[str, ...]) -> Node | None:
        attributes: Attributes = {item.name: _value(item) for item in operator.attribute}
        convert = CONVERTERS.get(operator.op_type)
        if convert is not None:
            op, found, roles = convert(self, operator, attributes)
        elif operator.op_type == "Clip":
            op, found, roles = "relu6", {}, {}
        elif operator.op_type in SIMPLE_OPS:
            op, found, roles = SIMPLE_OPS[operator.op_type], {}, self._simple_roles(operator)
        else:
            return None
        if op == "add" and len(operands) == 1:
            op = "identity" if operator.op_type == "Add" else op
        return Node(name, op, operands, operator.output[0], found, roles, name)

    def _simple_roles(self, operator: Any) -> dict[str, tuple[int, ...]]:
        if operator.op_type in ("BatchNormalization", "LayerNormalization", "GroupNormalization"):
            roles = ("weight", "bias")
            return {
                role: self.constants[name] for role, name in zip(roles, operator.input[1:3], strict=False)
            }
        return {}


def _value(item: Any) -> Any:
    import onnx

    return onnx.helper.get_attribute_value(item)


def _pads(attributes: Attributes) -> tuple[int, int, int, int]:
    """ONNX (top, left, bottom, right) as it is; one dimension stands in the columns."""
    pads = tuple(attributes.get("pads", (0, 0, 0, 0)))
    return (0, pads[0], 0, pads[1]) if len(pads) == 2 else (pads[0], pads[1], pads[2], pads[3])


def _conv(reader: _Reader, operator: Any, attributes: Attributes) -> tuple[str, dict[str, Attribute], Any]:
    weight = reader.constants[operator.input[1]]
    spatial = len(weight) - 2
    groups = int(attributes.get("group", 1))
    padding = _pads(attributes)
    if attributes.get("auto_pad", b"NOTSET") in (b"SAME_UPPER", b"SAME_LOWER"):
        padding = _same_padding(reader, operator, attributes, weight)
    found: dict[str, Attribute] = {
        "kernel": weight[2:],
        "stride": tuple(attributes.get("strides", (1,) * spatial)),
        "padding": padding,
        "dilation": tuple(attributes.get("dilations", (1,) * spatial)),
        "groups": groups,
        "in_channels": weight[1] * groups,
        "out_channels": weight[0],
        "transposed": False,
    }
    return "conv", found, _weights(reader, operator.input, weight)


def _same_padding(
    reader: _Reader, operator: Any, attributes: Attributes, weight: tuple[int, ...]
) -> tuple[int, int, int, int]:
    stride = attributes.get("strides", (1, 1))
    before_after = []
    for axis in range(2):
        size = reader._shape(operator.input[0])[2 + axis]
        total = max(0, (math.ceil(size / stride[axis]) - 1) * stride[axis] + weight[2 + axis] - size)
        low = total // 2
        before_after.append(
            (low, total - low) if attributes["auto_pad"] == b"SAME_UPPER" else (total - low, low)
        )
    (top, bottom), (left, right) = before_after
    return top, left, bottom, right


def _gemm(reader: _Reader, operator: Any, attributes: Attributes) -> tuple[str, dict[str, Attribute], Any]:
    weight = reader.constants.get(operator.input[1])
    if weight is None:
        return "matmul", {}, {}
    if not attributes.get("transB", 0):
        weight = weight[::-1]
    found: dict[str, Attribute] = {"in_features": weight[-1], "out_features": weight[-2]}
    return "linear", found, _weights(reader, operator.input, weight)


def _weights(reader: _Reader, names: Sequence[str], weight: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    roles = {"weight": weight}
    if len(names) > 2 and names[2]:
        roles["bias"] = reader.constants[names[2]]
    return roles


def _pool(op: str) -> Callable[[_Reader, Any, Attributes], tuple[str, dict[str, Attribute], Any]]:
    def convert(
        reader: _Reader, operator: Any, attributes: Attributes
    ) -> tuple[str, dict[str, Attribute], Any]:
        kernel = tuple(attributes["kernel_shape"])
        return op, {"kernel": kernel, "stride": tuple(attributes.get("strides", (1,) * len(kernel)))}, {}

    return convert


CONVERTERS: Mapping[str, Callable[[_Reader, Any, Attributes], tuple[str, dict[str, Attribute], Any]]] = {
    "Conv": _conv,
    "Gemm": _gemm,
    "MatMul": _gemm,
    "MaxPool": _pool("max_pool"),
    "AveragePool": _pool("avg_pool"),
}
