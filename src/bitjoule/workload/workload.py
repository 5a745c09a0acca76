"""A Workload: everything one inference computes and stores, with Formats, ready to be priced."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from bitjoule.formats import TensorFormat, parse_tensor_format
from bitjoule.scheme import Scheme, parse_scheme
from bitjoule.workload.assign import Assignment, assign
from bitjoule.workload.document import Entry, entries, schema
from bitjoule.workload.graph import MAC_OPS, Attribute, Graph, GraphError, Node
from bitjoule.workload.layer import Layer, layer_of
from bitjoule.workload.pipeline import pipeline_end, without_no_ops
from bitjoule.workload.repairs import repaired_graph
from bitjoule.workload.sparsity import sparse_layers
from bitjoule.workload.thresholds import threshold_nodes

__all__ = ["Operation", "StoredTensor", "Workload", "workload_of"]

RENAMES = frozenset({"flatten", "reshape", "transpose", "slice", "pad", "concat"})
"""Operators that only rename stored values: no step of their own. What reads a concat reads its parts."""

ACCUMULATOR_FORMAT = "INT32"


@dataclass(frozen=True)
class Operation:
    """An operator that is not a multiply-accumulate: pooling, an add of its own, a normalisation.

    `fused_into` names the step whose pipeline runs it (batch norm, activation, residual add), or is "":
    then it is a step of its own, and `output` is the stored tensor that its pipeline ends in.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    output: str
    elements: int
    fused_into: str = ""
    attributes: Mapping[str, Attribute] = field(default_factory=dict)


@dataclass(frozen=True)
class StoredTensor:
    """A tensor that lives in memory. A Format of None means FLOAT32."""

    name: str
    elements: int
    format: TensorFormat | None
    role: Literal["input", "feature", "output"]

    @property
    def bits(self) -> int:
        """Storage bits of one value."""
        return 32 if self.format is None else int(self.format.format.bits)

    @property
    def size_bits(self) -> int:
        """Storage of the whole tensor."""
        return self.elements * self.bits


@dataclass(frozen=True)
class Workload:
    """The layers of a network in running order, its other operations, its stored tensors.

    Computing and reading are counted for every call, storing once: a convolution called five times is five
    layers with five times the MACs, but one weight (`Layer.weight_name`). `parameters` are all values of the
    network's parameters, also those of a batch norm or an embedding.

    `order` names the steps that run one after another: layers, and operations that are not fused.
    """

    network: str
    scheme: str
    layers: tuple[Layer, ...]
    operations: tuple[Operation, ...] = ()
    tensors: Mapping[str, StoredTensor] = field(default_factory=dict)
    order: tuple[str, ...] = ()
    parameters: int = 0

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one inference."""
        return sum(layer.macs for layer in self.layers)

    @property
    def weight_elements(self) -> int:
        """Weights of all layers as stored, without biases; what several layers read counts once."""
        return sum({layer.stored_weight: layer.weight_elements for layer in self.layers}.values())

    @property
    def bias_elements(self) -> int:
        """Biases of all layers as stored; what several layers read counts once."""
        return sum({layer.stored_bias: layer.bias_elements for layer in self.layers if layer.bias}.values())

    @property
    def output_elements(self) -> int:
        """Results of all layers, before pooling, logits included."""
        return sum(layer.output_elements for layer in self.layers)

    @property
    def weight_bits(self) -> int:
        """Storage of all weights, N:M indices included. A weight read in two Formats is stored in both."""
        stored = {layer.stored_weight: layer.weight_storage_bits for layer in self.layers}
        return sum(stored.values())

    def layer(self, name: str) -> Layer:
        """The layer of that name; `GraphError` lists the names when there is none."""
        for layer in self.layers:
            if layer.name == name:
                return layer
        names = ", ".join(layer.name for layer in self.layers)
        raise GraphError(f"workload {self.network!r} has no layer {name!r}; layers: {names}")

    def to_json(self) -> dict[str, object]:
        """A JSON document; `from_json` reads it back exactly."""
        return {
            "schema": "bitjoule.workload/1",
            "network": self.network,
            "scheme": self.scheme,
            "parameters": self.parameters,
            "layers": [layer.to_json() for layer in self.layers],
            "operations": [
                {
                    "name": operation.name,
                    "kind": operation.kind,
                    "inputs": list(operation.inputs),
                    "output": operation.output,
                    "elements": operation.elements,
                    "fused_into": operation.fused_into,
                    "attributes": {
                        key: list(value) if isinstance(value, tuple) else value
                        for key, value in operation.attributes.items()
                    },
                }
                for operation in self.operations
            ],
            "tensors": [
                {
                    "name": tensor.name,
                    "elements": tensor.elements,
                    "format": None if tensor.format is None else str(tensor.format),
                    "role": tensor.role,
                }
                for tensor in self.tensors.values()
            ],
            "order": list(self.order),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, object]) -> Workload:
        """The Workload of a document that `to_json` wrote; `GraphError` for anything else."""
        schema(document, "workload", "bitjoule.workload/1")
        keys = ("schema", "network", "scheme", "parameters", "layers", "operations", "tensors", "order")
        read = Entry(document, "workload", keys)
        layers = tuple(_layer(entry, index) for index, entry in enumerate(read.items("layers")))
        operations = tuple(
            Operation(
                name=entry.text("name"),
                kind=entry.text("kind"),
                inputs=entry.texts("inputs"),
                output=entry.text("output"),
                elements=entry.count("elements", 0),
                fused_into=entry.text("fused_into"),
                attributes=entry.attributes("attributes"),
            )
            for entry in entries(read, "operations", tuple(Operation.__dataclass_fields__))
        )
        tensors = [
            StoredTensor(
                name=entry.text("name"),
                elements=entry.count("elements", 0),
                format=entry.format("format"),
                role=entry.choice("role", ("input", "feature", "output")),  # type: ignore[arg-type]
            )
            for entry in entries(read, "tensors", tuple(StoredTensor.__dataclass_fields__))
        ]
        order = read.texts("order")
        steps = [layer.name for layer in layers] + [step.name for step in operations if not step.fused_into]
        for place, names in (("tensors", [tensor.name for tensor in tensors]), ("order", order)):
            for index, name in enumerate(names):
                if name in names[:index]:
                    raise GraphError(f"workload: {place}[{index}]: {name!r} is named twice")
        for index, name in enumerate(order):
            if name not in steps:
                raise GraphError(f"workload: order[{index}] names {name!r}; steps: {', '.join(steps)}")
        return cls(
            network=read.text("network"),
            scheme=read.text("scheme"),
            layers=layers,
            operations=operations,
            tensors={tensor.name: tensor for tensor in tensors},
            order=order,
            parameters=read.count("parameters", 0),
        )

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the canonical JSON."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def _layer(entry: object, index: int) -> Layer:
    try:
        return Layer.from_json(entry)  # type: ignore[arg-type]
    except GraphError as error:
        raise GraphError(f"workload: layers[{index}]: {error}") from None


def workload_of(graph: Graph, scheme: Scheme | str = "float32", *, image_signed: bool = True) -> Workload:
    """What one inference of `graph` computes and stores under `scheme`, its binary repairs included.

    Raises:
        SchemeError: the scheme does not parse, or an override matches no layer.
        RepairError: the scheme names a repair and the graph has no binary layer under it.
        GraphError: a shape that does not fit its operator, or a network without layers.
    """
    parsed = parse_scheme(scheme) if isinstance(scheme, str) else scheme
    if not graph.mac_nodes():
        raise GraphError(
            f"graph {graph.name!r} has no convolution, linear layer or matrix product: nothing to cost"
        )
    plain, _ = without_no_ops(repaired_graph(graph, parsed))
    assignment = assign(plain, parsed, image_signed=image_signed)
    if assignment.absorbed:  # signs stand in the place of these clips: nothing computes them
        plain, _ = without_no_ops(plain, assignment.absorbed)
        assignment = assign(plain, parsed, image_signed=image_signed)
    return _Counter(plain, parsed, assignment).workload()


class _Counter:
    """Walks a graph once: names of stored tensors, fused operators, steps."""

    def __init__(self, graph: Graph, scheme: Scheme, assignment: Assignment) -> None:
        self.graph = graph
        self.scheme = scheme
        self.assignment = assignment
        self.root: Mapping[str, tuple[str, ...]] = self._roots()
        self.thresholds = threshold_nodes(graph, assignment)
        self.sparse = sparse_layers(graph, scheme)

    def workload(self) -> Workload:
        graph = self.graph
        owner = self._owners()
        layers: list[Layer] = []
        operations: list[Operation] = []
        order: list[str] = []
        for node in self._running_order(owner):
            if node.op in MAC_OPS:
                layers.append(self._layer(node, owner))
                order.append(node.name)
            elif node.op not in RENAMES and node.op != "constant":
                fused = owner.get(node.name, "")
                if fused and node.name in self.thresholds:
                    continue
                operations.append(self._operation(node, fused))
                if not fused:
                    order.append(node.name)
        stored: dict[str, None] = {}
        for layer in layers:
            stored.update(dict.fromkeys((*layer.inputs, layer.output)))
        for operation in operations:
            stored.update(dict.fromkeys((*operation.inputs, operation.output)))
        return Workload(
            network=graph.name,
            scheme=str(self.scheme),
            layers=tuple(layers),
            operations=tuple(operations),
            tensors={name: self._stored(name) for name in stored if name not in self.assignment.internal},
            order=tuple(order),
            parameters=self.graph.parameter_elements,
        )

    def _roots(self) -> dict[str, tuple[str, ...]]:
        """Tensor -> the stored tensors it is a renaming of: several behind a concat."""
        root: dict[str, tuple[str, ...]] = {tensor: (tensor,) for tensor in self.graph.tensors}
        for node in self.graph.nodes:
            if node.op in RENAMES and node.output not in self.assignment.internal:
                root[node.output] = tuple(dict.fromkeys(part for t in node.inputs for part in root[t]))
        return root

    def _reads(self, tensors: Iterable[str]) -> tuple[str, ...]:
        """The stored tensors behind `tensors`, each once; accumulators and constants are none."""
        stored = [tensor for tensor in tensors if tensor not in self.assignment.internal]
        return tuple(dict.fromkeys(part for tensor in stored for part in self.root[tensor]))

    def _owners(self) -> dict[str, str]:
        """Fused operator -> the step whose pipeline it runs in."""
        owner: dict[str, str] = {}
        for node in self.graph.nodes:
            for tensor in self.graph.operands(node):
                if tensor in self.assignment.internal:
                    producer = self.graph.producer(tensor)
                    if producer is not None:
                        owner[node.name] = owner.get(producer.name, producer.name)
        return owner

    def _running_order(self, owner: Mapping[str, str]) -> list[Node]:
        """The nodes, each layer moved to the last add or gate fused into it: its other operand must be
        there.
        """
        position = {node.name: index for index, node in enumerate(self.graph.nodes)}
        due = dict(position)
        for node in self.graph.nodes:
            if self._joins(node) and node.name in owner:
                due[owner[node.name]] = position[node.name]
        return sorted(self.graph.nodes, key=lambda node: (due[node.name], position[node.name]))

    def _joins(self, node: Node) -> bool:
        """Operators that bring a second stored tensor into a pipeline."""
        return self.graph.is_residual_add(node) or self.graph.is_gate(node)

    def _layer(self, node: Node, owner: Mapping[str, str]) -> Layer:
        shape = layer_of(self.graph, node)
        assignment = self.assignment
        end = self._end(node)
        shortcuts = [
            tensor
            for fused in self.graph.nodes
            if owner.get(fused.name) == node.name and self._joins(fused)
            for tensor in fused.inputs
        ]
        output_format = assignment.stored[end]
        if output_format is None:
            output_format = parse_tensor_format("FLOAT32" if self.scheme.is_float32 else ACCUMULATOR_FORMAT)
        weight_format = assignment.weights.get(node.name)
        if weight_format is None:
            weight_format = assignment.reads[node.name, 1]
        return Layer(
            **{
                **{key: getattr(shape, key) for key in shape.__dataclass_fields__},
                "inputs": self._reads((*node.inputs, *shortcuts)),
                "output": end,
                "weight_format": weight_format,
                "input_format": assignment.reads[node.name, 0],
                "output_format": output_format,
                "sparsity": self.sparse.pruned.get(node.name),
                "reads_network_input": any(t in self.graph.inputs for t in self.root[node.inputs[0]]),
            }
        )

    def _end(self, node: Node) -> str:
        return pipeline_end(self.graph, node, self.assignment.internal)

    def _operation(self, node: Node, fused: str) -> Operation:
        compares = not fused and node.name in self.thresholds
        return Operation(
            name=node.name,
            kind="compare" if compares else node.op,
            inputs=self._reads(node.inputs),
            output=node.output if fused else self._end(node),
            elements=self.graph.tensors[node.output].elements,
            fused_into=fused,
            attributes=node.attributes,
        )

    def _stored(self, name: str) -> StoredTensor:
        role: Literal["input", "feature", "output"] = "feature"
        if name in self.graph.inputs:
            role = "input"
        elif any(name in self.root[tensor] for tensor in self.graph.outputs):
            role = "output"
        tensor_format = self.assignment.stored[name]
        if tensor_format is None and not self.scheme.is_float32:
            tensor_format = parse_tensor_format(ACCUMULATOR_FORMAT)
        return StoredTensor(name, self.graph.tensors[name].elements, tensor_format, role)
