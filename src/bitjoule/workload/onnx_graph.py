"""The Graph of an ONNX file: its operators and shapes; the weights themselves are not looked at.

Needs the extra `onnx` (`pip install 'bitjoule[onnx]'`). Operators are those of a float inference graph;
what cannot be counted is collected and reported together. `onnx_tensors` knows the constants and shapes,
`onnx_operators` what the Graph says of each operator.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from bitjoule.scheme import Scheme
from bitjoule.workload.graph import Graph, GraphError, Node, Tensor
from bitjoule.workload.onnx_call import Call, Uncountable
from bitjoule.workload.onnx_fold import fold_integers
from bitjoule.workload.onnx_operators import KNOWN, describe
from bitjoule.workload.onnx_tensors import OnnxTensors
from bitjoule.workload.sharing import with_shared
from bitjoule.workload.workload import Workload, workload_of

__all__ = ["from_onnx", "graph_from_onnx"]

OWN_DOMAINS = frozenset({"", "ai.onnx"})
SHAPES_OF_ACTIVATIONS = frozenset({"Shape", "Size"})
"""Operators whose result is a constant whatever they read."""


def from_onnx(path: str | Path, scheme: Scheme | str = "float32", *, image_signed: bool = True) -> Workload:
    """What one inference of the network in `path` computes and stores under `scheme`.

    `image_signed` as in `workload_of`: whether network inputs hold negative values.

    Raises:
        GraphError, ImportError: as `graph_from_onnx`.
        SchemeError: the scheme does not parse, or an override matches no layer.
    """
    return workload_of(graph_from_onnx(path), scheme, image_signed=image_signed)


def graph_from_onnx(path: str | Path) -> Graph:
    """The Graph of an ONNX file, with a batch of 1, whatever batch it was exported with.

    Raises:
        GraphError: no such file, not an ONNX model, shapes that cannot be inferred, an operator that
            contradicts itself, or operators that cannot be counted (all of them, with their names).
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
        model = onnx.load(file, format="protobuf", load_external_data=False)
    except (DecodeError, OSError) as error:
        raise GraphError(f"{file.name}: not an ONNX model ({error})") from None
    if not model.graph.node:
        raise GraphError(f"{file.name}: not an ONNX model (it holds no operators)")
    _check_order(model, file.name)
    fold_integers(model)
    batch = _set_batch_to_one(model)
    hint = f"; the batch of {batch} was set to 1: export with batch 1" if batch > 1 else ""
    try:
        model = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    except Exception as error:  # the inference of a damaged model can raise nearly anything
        raise GraphError(
            f"{file.name}: shapes cannot be inferred: {' '.join(str(error).split())}{hint}"
        ) from None
    reader = _Reader(model, file.name, batch)
    try:
        reader.read()
        reader.check_countable()
        return reader.graph(file.stem)
    except GraphError as error:
        raise GraphError(f"{error}{'' if reader.uncountable else hint}") from None


def _check_order(model: Any, file: str) -> None:
    """Refuse an operator that makes nothing, or reads what nothing before it makes."""
    graph = model.graph
    for entry in (*graph.input, *graph.output, *graph.initializer, *graph.node):
        names = [entry.name, *getattr(entry, "input", ()), *getattr(entry, "output", ())]
        for name in names:
            if not isinstance(name, str):  # protobuf hands out as bytes what is no UTF-8
                raise GraphError(f"{file}: not an ONNX model (the name {name!r} is not UTF-8)")
    made = {value.name for value in (*graph.input, *graph.initializer)}
    made |= {tensor.values.name for tensor in graph.sparse_initializer}
    for operator, name in zip(graph.node, _unique_names(graph.node), strict=True):
        for tensor in operator.input:
            if tensor and tensor not in made:
                raise GraphError(f"{file}: {name} ({operator.op_type}): nothing before it makes {tensor!r}")
        if not operator.output or not operator.output[0]:
            raise GraphError(f"{file}: {name} ({operator.op_type}): it has no output")
        made.update(operator.output)


def _set_batch_to_one(model: Any) -> int:
    """The first dimension of every input becomes 1, where it is free or a batch; the largest it was."""
    constants = {initializer.name for initializer in model.graph.initializer}
    largest = 1
    for value in model.graph.input:
        dims = value.type.tensor_type.shape.dim
        if value.name in constants or not dims:
            continue
        if len(dims) > 1 or not dims[0].dim_value:
            largest = max(largest, dims[0].dim_value)
            dims[0].dim_value = 1
    del model.graph.value_info[:]
    for value in model.graph.output:
        for dim in value.type.tensor_type.shape.dim:
            dim.Clear()
    return largest


class _Reader:
    """One pass over an ONNX graph: an operator becomes a constant, a node, or an entry of `uncountable`."""

    def __init__(self, model: Any, file: str, batch: int) -> None:
        self.source = model.graph
        self.file = file
        self.batch = batch
        self.tensors = OnnxTensors(model, file)
        self.inputs = tuple(
            value.name for value in model.graph.input if value.name not in self.tensors.constants
        )
        self.outputs = tuple(value.name for value in model.graph.output)
        self.activations = set(self.inputs)
        self.lost: set[str] = set()  # made by operators that cannot be counted
        self.extra: set[str] = set()  # second and further outputs, such as the mask of a dropout
        self.nodes: list[Node] = []
        self.sources: dict[tuple[str, str], str] = {}  # (node, role) -> the initializer it reads
        self.uncountable: list[str] = []
        self.uses = Counter(name for node in model.graph.node for name in node.input)
        self.uses.update(self.outputs)

    def read(self) -> None:
        """Go over the operators in running order."""
        for operator, name in zip(self.source.node, _unique_names(self.source.node), strict=True):
            self._read(operator, name)

    def check_countable(self) -> None:
        """Refuse what cannot be counted, all of it at once."""
        if self.uncountable:
            raise GraphError(
                f"{self.file}: {len(self.uncountable)} operators cannot be counted: "
                f"{', '.join(self.uncountable)}"
            )

    def graph(self, name: str) -> Graph:
        """The Graph of what was read."""
        places = {tensor: f"input {tensor!r}" for tensor in self.inputs}
        places |= {node.output: node.name for node in self.nodes}
        tensors = {
            tensor: Tensor(tensor, self.tensors.shape(tensor, place)) for tensor, place in places.items()
        }
        try:
            nodes = with_shared(self.nodes, self.sources)
            return Graph(name, self.inputs, self.outputs, nodes, tensors)
        except GraphError as error:
            raise GraphError(f"{self.file}: {error}") from None

    def _read(self, operator: Any, name: str) -> None:
        operands = tuple(tensor for tensor in operator.input if tensor in self.activations)
        from_lost = any(tensor in self.lost for tensor in operator.input)
        from_extra = any(tensor in self.extra for tensor in operator.input)
        if operator.op_type in SHAPES_OF_ACTIVATIONS or (
            not (operands or from_lost or from_extra or _has_subgraph(operator))
        ):
            self.tensors.derive(operator)
            return
        try:
            if operator.op_type not in KNOWN or operator.domain not in OWN_DOMAINS:
                raise Uncountable
            if from_extra:
                raise Uncountable("it reads a second output")
            if from_lost:
                self.lost.update(filter(None, operator.output))
                return
            self._put(Call(self.tensors, operator, name, operands))
            self.extra.update(filter(None, operator.output[1:]))
        except Uncountable as error:
            self.uncountable.append(f"{name} ({operator.op_type}{f': {error}' if str(error) else ''})")
            self.lost.update(filter(None, operator.output))

    def _put(self, call: Call) -> None:
        described = describe(call)
        self._refuse_batch(call)
        self.activations.add(call.outputs[0])
        if call.kind == "Add" and len(call.operands) == 1 and self._became_bias(call):
            return
        for role, name in (("weight", call.given(1)), ("bias", call.given(2))):
            if role in described.parameters and name is not None:
                self.sources[call.name, role] = name
        self.nodes.append(
            Node(
                call.name,
                described.op,
                call.operands,
                call.outputs[0],
                described.attributes,
                described.parameters,
                call.name,
            )
        )

    def _refuse_batch(self, call: Call) -> None:
        """A constant shape that holds the batch of the file is wrong for a batch of 1."""
        target = call.given(1) if call.kind == "Reshape" else None
        numbers = self.tensors.numbers(target) if target is not None else None
        if self.batch > 1 and numbers and numbers[0] == self.batch:
            raise call.fault(f"reshapes to {[int(number) for number in numbers]}")

    def _became_bias(self, call: Call) -> bool:
        """Fold the constant of this Add into the linear layer that alone feeds it, if it fits as a bias."""
        constant = next((name for name in call.inputs if name not in call.operands), "")
        for index, node in enumerate(self.nodes):
            if node.output == call.operands[0] and node.op == "linear" and "bias" not in node.parameters:
                bias, features = call.shape(constant), node.attributes["out_features"]
                fits = bool(bias) and bias[-1] == math.prod(bias) == features
                if fits and self.uses[node.output] == 1 and call.result == call.source:
                    parameters = {**node.parameters, "bias": bias}
                    self.sources[node.name, "bias"] = constant
                    self.nodes[index] = replace(node, output=call.outputs[0], parameters=parameters)
                    return True
        return False


def _unique_names(operators: Iterable[Any]) -> list[str]:
    """The name of every operator, made from its type where it has none, and distinct by _1, _2, ..."""
    given = [node.name or f"{node.op_type.lower()}_{index}" for index, node in enumerate(operators)]
    taken = set(given)
    seen: set[str] = set()
    names = []
    for name in given:
        number, unique = 0, name
        while unique in seen or (number and unique in taken):
            number += 1
            unique = f"{name}_{number}"
        seen.add(unique)
        names.append(unique)
    return names


def _has_subgraph(operator: Any) -> bool:
    """True for If, Loop and Scan, whose bodies read tensors that `input` does not name."""
    return any(item.HasField("g") or item.graphs for item in operator.attribute)
