"""The captured network as plain data: operators, tensors, shapes. The one graph every room reads.

`network/` makes it from a PyTorch module, `from_onnx` from a file. It holds no weights and loads no
torch, so a study or a mapper reads it in milliseconds. Convention: a node's output tensor carries the
node's name; network inputs carry the names of the forward arguments.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from bitjoule.workload.document import Entry, entries, schema
from bitjoule.workload.graph_error import GraphError

__all__ = [
    "ACCUMULATING_POOLS",
    "AFFINE",
    "FUSED",
    "MAC_OPS",
    "NON_NEGATIVE_OPS",
    "NO_OPS",
    "OPS",
    "TRANSPARENT",
    "Attribute",
    "Graph",
    "GraphError",
    "Node",
    "Tensor",
]

Attribute = int | float | str | bool | tuple[int, ...]

MAC_OPS = frozenset({"conv", "linear", "matmul"})
"""Operators that multiply and accumulate; matmul has two activation operands."""

FUSED = frozenset({"batch_norm", "relu", "relu6", "hardtanh", "prelu"})
"""Element-wise operators that run on the accumulator, before a result is stored."""

AFFINE = frozenset({"add", "sub", "mul", "div"})
"""Arithmetic that is affine, and runs on the accumulator, where all operands but one are constants."""

NO_OPS = frozenset({"identity", "dropout"})
"""Operators that do nothing at inference: no Format begins or ends at one."""

TRANSPARENT = frozenset({"flatten", "reshape", "transpose", "pad", "max_pool", "slice", "concat"})
"""Operators that move or select stored values and never change their Format."""

ACCUMULATING_POOLS = frozenset({"avg_pool", "global_avg_pool", "mean"})
"""Pools that add exactly and are requantized afterwards."""

NON_NEGATIVE_OPS = frozenset({"relu", "relu6", "sigmoid", "softmax", "hardsigmoid", "exp", "sqrt"})
"""Operators whose result is never below zero."""

OPS = (
    MAC_OPS
    | FUSED
    | AFFINE
    | NO_OPS
    | TRANSPARENT
    | ACCUMULATING_POOLS
    | NON_NEGATIVE_OPS
    | frozenset(
        {"neg", "pow", "rsqrt", "constant", "embedding"}
        | {"layer_norm", "group_norm", "gelu", "silu", "tanh", "hardswish", "leaky_relu", "prelu"}
    )
)
"""Every operator a Graph may hold."""


@dataclass(frozen=True)
class Tensor:
    """One activation. `shape` has the batch first and was captured with a batch of 1.

    `index`: it holds row numbers of an embedding's table, not values, so it never has a Format.
    """

    name: str
    shape: tuple[int, ...]
    index: bool = False

    @property
    def elements(self) -> int:
        """Number of values for a batch of one."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Node:
    """One operator. `inputs` are activations only; weights are named by role in `parameters`.

    `shared`: role -> name of the parameter, for those that other nodes read too. They are stored once.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    output: str
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    parameters: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    module: str = ""
    shared: Mapping[str, str] = field(default_factory=dict)

    def ints(self, key: str, length: int, default: int = 0) -> tuple[int, ...]:
        """Attribute `key` as `length` integers; a single number is repeated."""
        value = self.attributes.get(key, default)
        if isinstance(value, tuple):
            numbers = tuple(int(v) for v in value)
        elif isinstance(value, int | float):
            numbers = (int(value),) * length
        else:
            raise GraphError(f"{self.name}.{key} must be one or {length} integers, not {value!r}")
        if len(numbers) == 1:
            numbers *= length
        if len(numbers) != length:
            raise GraphError(f"{self.name}.{key} must be one or {length} integers, not {value!r}")
        return numbers


@dataclass(frozen=True)
class Graph:
    """Operators in an order in which they can run, and the tensors between them.

    `repairs` are the binary repairs whose operators are in it (`workload/repairs/`).

    >>> x, y = Tensor("x", (1, 4)), Tensor("fc", (1, 2))
    >>> fc = Node("fc", "linear", ("x",), "fc", {"in_features": 4, "out_features": 2}, {"weight": (2, 4)})
    >>> graph = Graph("tiny", ("x",), ("fc",), (fc,), {"x": x, "fc": y})
    >>> graph.producer("fc").op
    'linear'
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    tensors: Mapping[str, Tensor]
    repairs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.validate()

    def validate(self) -> None:
        """Raise `GraphError` unless every tensor is made before it is read, exactly once."""
        made = set(self.inputs)
        names: set[str] = set()
        for tensor in self.inputs:
            if tensor not in self.tensors:
                raise GraphError(f"graph {self.name!r}: input {tensor!r} has no entry in tensors")
        for node in self.nodes:
            if node.name in names:
                raise GraphError(f"graph {self.name!r}: two nodes are named {node.name!r}")
            names.add(node.name)
            if node.op not in OPS:
                raise GraphError(
                    f"graph {self.name!r}: node {node.name!r} has unknown operator {node.op!r}; "
                    f"operators: {', '.join(sorted(OPS))}"
                )
            for tensor in node.inputs:
                if tensor not in made:
                    raise GraphError(
                        f"graph {self.name!r}: node {node.name!r} reads {tensor!r} before anything makes it"
                    )
            if node.output in made:
                raise GraphError(f"graph {self.name!r}: tensor {node.output!r} is made twice")
            if node.output not in self.tensors:
                raise GraphError(
                    f"graph {self.name!r}: output {node.output!r} of {node.name!r} has no entry in tensors"
                )
            for role in node.shared:
                if role not in node.parameters:
                    raise GraphError(
                        f"graph {self.name!r}: node {node.name!r} shares {role!r}, which is none of its "
                        f"parameters: {', '.join(node.parameters) or 'it has none'}"
                    )
            made.add(node.output)
        for tensor in self.outputs:
            if tensor not in made:
                raise GraphError(f"graph {self.name!r}: output {tensor!r} is never made")

    @cached_property
    def _producers(self) -> dict[str, Node]:
        return {node.output: node for node in self.nodes}

    @cached_property
    def _consumers(self) -> dict[str, tuple[tuple[Node, int], ...]]:
        uses: dict[str, list[tuple[Node, int]]] = {name: [] for name in self.tensors}
        for node in self.nodes:
            for operand, tensor in enumerate(node.inputs):
                uses[tensor].append((node, operand))
        return {name: tuple(found) for name, found in uses.items()}

    @cached_property
    def _by_name(self) -> dict[str, Node]:
        return {node.name: node for node in self.nodes}

    def node(self, name: str) -> Node:
        """The node of that name; `GraphError` lists the names when there is none."""
        try:
            return self._by_name[name]
        except KeyError:
            raise GraphError(
                f"graph {self.name!r} has no node {name!r}; nodes: {', '.join(self._by_name)}"
            ) from None

    def producer(self, tensor: str) -> Node | None:
        """The node that makes `tensor`, None for a network input."""
        return self._producers.get(tensor)

    def consumers(self, tensor: str) -> tuple[tuple[Node, int], ...]:
        """Every (node, operand index) that reads `tensor`, in running order."""
        return self._consumers[tensor]

    def operands(self, node: Node) -> tuple[str, ...]:
        """Inputs of `node` that are not constants."""
        return tuple(tensor for tensor in node.inputs if tensor not in self._constants)

    @cached_property
    def _constants(self) -> frozenset[str]:
        return frozenset(node.output for node in self.nodes if node.op == "constant")

    def is_residual_add(self, node: Node) -> bool:
        """True for an add of two or more activations, such as the end of a residual block."""
        return node.op == "add" and len(self.operands(node)) > 1

    def is_gate(self, node: Node) -> bool:
        """True for a product of a result and the gate computed for it: it runs on the accumulator."""
        return node.op == "mul" and bool(node.attributes.get("gate", False))

    def is_fused(self, node: Node) -> bool:
        """True for what runs on the accumulator: batch norm, a clip, arithmetic with constants."""
        return node.op in FUSED or (node.op in AFFINE and len(self.operands(node)) == 1)

    def mac_nodes(self) -> tuple[Node, ...]:
        """Convolutions, linear layers and matrix products, in running order."""
        return tuple(node for node in self.nodes if node.op in MAC_OPS)

    @property
    def indices(self) -> frozenset[str]:
        """Tensors that hold row numbers of a table."""
        return frozenset(tensor.name for tensor in self.tensors.values() if tensor.index)

    @property
    def parameter_elements(self) -> int:
        """Values of all parameters; one that several nodes read counts once."""
        sizes = {
            node.shared.get(role, (node.name, role)): math.prod(shape)
            for node in self.nodes
            for role, shape in node.parameters.items()
        }
        return sum(sizes.values())

    def to_json(self) -> dict[str, object]:
        """A JSON document; `from_json` reads it back exactly."""
        indices = sorted(self.indices)
        return {
            "schema": "bitjoule.graph/1",
            "name": self.name,
            "inputs": list(self.inputs),
            "outputs": list(self.outputs),
            "tensors": {name: list(tensor.shape) for name, tensor in self.tensors.items()},
            **({"indices": indices} if indices else {}),
            **({"repairs": list(self.repairs)} if self.repairs else {}),
            "nodes": [
                {
                    "name": node.name,
                    "op": node.op,
                    "inputs": list(node.inputs),
                    "output": node.output,
                    "attributes": {
                        key: list(value) if isinstance(value, tuple) else value
                        for key, value in node.attributes.items()
                    },
                    "parameters": {role: list(shape) for role, shape in node.parameters.items()},
                    "module": node.module,
                    **({"shared": dict(node.shared)} if node.shared else {}),
                }
                for node in self.nodes
            ],
        }

    @classmethod
    def from_json(cls, document: Mapping[str, object]) -> Graph:
        """The graph of a document that `to_json` wrote; `GraphError` for anything else."""
        schema(document, "graph", "bitjoule.graph/1")
        required = ("schema", "name", "inputs", "outputs", "tensors", "nodes")
        read = Entry(document, "graph", required, optional=("indices", "repairs"))
        keys = ("name", "op", "inputs", "output", "attributes", "parameters", "module")
        shapes = read.shapes("tensors")
        indices = read.texts("indices")
        for name in indices:
            if name not in shapes:
                raise GraphError(f"graph: indices names {name!r}, which has no entry in tensors")
        if list(indices) != sorted(set(indices)):
            raise read.fault("indices", "a sorted list of tensors, each once")
        return cls(
            name=read.text("name"),
            repairs=read.texts("repairs"),
            inputs=read.texts("inputs"),
            outputs=read.texts("outputs"),
            tensors={name: Tensor(name, shape, name in indices) for name, shape in shapes.items()},
            nodes=tuple(
                Node(
                    name=entry.text("name"),
                    op=entry.text("op"),
                    inputs=entry.texts("inputs"),
                    output=entry.text("output"),
                    attributes=entry.attributes("attributes"),
                    parameters=entry.shapes("parameters"),
                    module=entry.text("module"),
                    shared=entry.named_texts("shared"),
                )
                for entry in entries(read, "nodes", keys, optional=("shared",))
            ),
        )

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the canonical JSON: equal graphs have equal hashes in every process."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()
