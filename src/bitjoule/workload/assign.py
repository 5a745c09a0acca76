"""Which Format is on which edge: a Scheme applied to a Graph (training.md section 2).

SP(b): every stored tensor has b bits; an add takes one conv result from the accumulator.
HPR(b, h): tensors of the H set (operands and results of adds) have h bits, and every layer that reads
one of them sees its own b-bit copy. A layer's precision governs its weights and the tensor it *reads*,
so a stored tensor is as wide as its most demanding reader. An operator with the attribute `bits` (those that
binary repairs bring) reads at least so many, and a residual add with it is in the H set of SP as well.
"""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from bitjoule.formats import TensorFormat, parse_tensor_format
from bitjoule.scheme import Override, Precision, Scheme, SchemeError
from bitjoule.workload.graph import (
    ACCUMULATING_POOLS,
    MAC_OPS,
    NO_OPS,
    NON_NEGATIVE_OPS,
    TRANSPARENT,
    Graph,
    Node,
)
from bitjoule.workload.pipeline import (
    class_of,
    first_layers,
    internal_tensors,
    is_downsample,
    last_layers,
    pipeline_end,
    pipeline_root,
    without_no_ops,
)

__all__ = ["ACCUMULATOR", "INDEX", "Assignment", "Edge", "QuantPoint", "assign"]

ACCUMULATOR = "acc"
"""How an edge prints that is never quantized: it exists in an accumulator only."""

INDEX = "index"
"""How an edge prints that carries row numbers of an embedding's table: they have no Format."""

CAREFUL_OPS = frozenset({"layer_norm", "group_norm", "softmax", "gelu", "silu"})
CAREFUL_BITS = 8
"""Normalisations and smooth activations read at least 8 bits in both modes (training.md section 2)."""

RELU_OPS = frozenset({"relu", "relu6"})

HEAVISIDE = "heaviside"


@dataclass(frozen=True)
class QuantPoint:
    """A place where an activation is quantized.

    `input` and `stored`: `tensor` is quantized once, where it is made, for all `readers`.
    `read`: a further quantizer on the stored value, seen by `readers` only.
    """

    name: str
    tensor: str
    format: TensorFormat
    kind: Literal["input", "stored", "read"]
    readers: tuple[tuple[str, int], ...]
    signed: bool


@dataclass(frozen=True)
class Edge:
    """Operand `operand` of `consumer` is `tensor`, read in `format`.

    "acc": straight from an accumulator; "index": row numbers of a table, which have no Format.
    """

    tensor: str
    consumer: str
    operand: int
    format: str


@dataclass(frozen=True)
class Assignment:
    """The Formats of a Graph under a Scheme; None means accumulator, or one of the `indices`."""

    scheme: Scheme
    stored: Mapping[str, TensorFormat | None]
    reads: Mapping[tuple[str, int], TensorFormat | None]
    weights: Mapping[str, TensorFormat]
    points: tuple[QuantPoint, ...]
    absorbed: frozenset[str]
    internal: frozenset[str]
    indices: frozenset[str] = frozenset()
    edge_order: tuple[tuple[str, str, int], ...] = field(repr=False, default=())

    def edges(self) -> tuple[Edge, ...]:
        """Every edge in running order, outputs last (consumer "output")."""
        found = []
        for tensor, consumer, operand in self.edge_order:
            format_ = self.stored[tensor] if consumer == "output" else self.reads[consumer, operand]
            none = INDEX if tensor in self.indices else ACCUMULATOR
            found.append(Edge(tensor, consumer, operand, none if format_ is None else str(format_)))
        return tuple(found)


def assign(graph: Graph, scheme: Scheme, *, image_signed: bool = True) -> Assignment:
    """Formats for every weight and every edge of `graph`.

    `image_signed`: whether network inputs hold negative values (INT8 image) or not (UINT8).

    Raises:
        SchemeError: an override matches no layer, or the scheme has a repair whose operators `graph` lacks.
    """
    missing = [name for name in scheme.topology_repairs if name not in graph.repairs]
    if missing:
        raise SchemeError(
            f"scheme {str(scheme)!r}: {graph.name} has no operators of repair {missing[0]!r} yet; "
            "repair the network first: quant.repairs.repaired(net, scheme)"
        )
    return _Assigner(graph, scheme, image_signed).assignment()


class _Assigner:
    """The state of one assignment: readers' needs, tensor classes, the H set.

    Formats are decided on the graph without no-ops; `assignment` carries them over to the graph as it is.
    """

    def __init__(self, graph: Graph, scheme: Scheme, image_signed: bool) -> None:
        self.whole = graph
        self.graph, self.alias = without_no_ops(graph)
        self.scheme = scheme
        self.image_signed = image_signed
        self.high_mode = scheme.mode == "HPR" and not scheme.hpr_is_sp
        fuse_adds = scheme.preadd == "acc" or (scheme.mode == "HPR" and scheme.hpr_is_sp)
        self.internal = internal_tensors(self.graph, fuse_adds=fuse_adds)
        self.classes = class_of(self.graph)
        self.precisions = layer_precisions(self.graph, scheme)
        self.members: dict[str, list[str]] = {}
        for tensor in self.graph.tensors:
            self.members.setdefault(self.classes[tensor], []).append(tensor)
        self.images = frozenset(self.classes[tensor] for tensor in self.graph.inputs)
        self.before_layers = self._before_layers()
        self.high = self._high_classes()

    def assignment(self) -> Assignment:
        absorbed = self._absorbed()
        signed = self._signed(absorbed)
        indices = self.whole.indices
        formats = {
            name: None if indices.intersection(members) else self._class_format(name, signed)
            for name, members in self.members.items()
        }
        plain = {
            tensor: None if tensor in self.internal else formats[self.classes[tensor]]
            for tensor in self.graph.tensors
        }
        stored = {tensor: plain[self.alias[tensor]] for tensor in self.whole.tensors}
        reads: dict[tuple[str, int], TensorFormat | None] = {}
        order: list[tuple[str, str, int]] = []
        for node in self.whole.nodes:
            for operand, tensor in enumerate(node.inputs):
                order.append((tensor, node.name, operand))
                reads[node.name, operand] = self._read_format(
                    node, self.alias[tensor], stored[tensor], signed
                )
        order += [(tensor, "output", index) for index, tensor in enumerate(self.whole.outputs)]
        return Assignment(
            scheme=self.scheme,
            stored=stored,
            reads=reads,
            weights={
                node.name: self.precisions[node.name].weight_format()
                for node in self.graph.mac_nodes()
                if "weight" in node.parameters
            },
            points=() if self.scheme.is_float32 else tuple(self._points(stored, reads, signed)),
            absorbed=absorbed,
            internal=frozenset(t for t in self.whole.tensors if self.alias[t] in self.internal),
            indices=indices,
            edge_order=tuple(order),
        )

    # --- what readers need -------------------------------------------------------------------

    def _needs(self, representative: str) -> list[Precision]:
        """The precision each reader of a class asks for; empty when only the outside reads it."""
        needs = []
        for tensor in self.members[representative]:
            for node, _ in self.graph.consumers(tensor):
                if node.op in MAC_OPS:
                    needs.append(self.precisions[node.name])
                elif node.op not in TRANSPARENT:
                    needs.append(self._own_precision(node))
        return needs

    def _own_precision(self, node: Node) -> Precision:
        """Precision of an operator that is no layer: the scheme's, never below its floor."""
        floor = CAREFUL_BITS if node.op in CAREFUL_OPS else 0
        if node.name in self.before_layers and self.scheme.first is not None:
            floor = max(floor, self.scheme.first)
        floor = max(floor, node.ints("bits", 1, 0)[0])
        return at_least(self.scheme.precision, floor)

    def _before_layers(self) -> frozenset[str]:
        """Operators between a network input and the first layer: they read at that layer's precision."""
        behind: set[str] = set()
        before: set[str] = set()
        for node in self.graph.nodes:
            if node.op in MAC_OPS or any(tensor in behind for tensor in node.inputs):
                behind.add(node.output)
            else:
                before.add(node.name)
        return frozenset(before)

    def _class_format(self, representative: str, signed: Mapping[str, bool]) -> TensorFormat | None:
        needs = self._needs(representative)
        if not needs:
            return None
        if representative in self.high:
            return self.scheme.high()
        widest = max(needs, key=lambda need: need.activation_bits)
        is_signed = signed[representative]
        if representative in self.images and widest.activation.startswith("MOONS"):
            return parse_tensor_format("INT8" if is_signed else "UINT8")
        return self._one_bit(widest.activation_format(signed=is_signed))

    def _one_bit(self, tensor_format: TensorFormat) -> TensorFormat:
        """0 and 1 in the place of -1 and +1 where the scheme asks for it."""
        steps = HEAVISIDE in self.scheme.repairs and tensor_format.format.name == "BIPOLAR"
        return parse_tensor_format("UINT1") if steps else tensor_format

    def _read_format(
        self, node: Node, tensor: str, stored: TensorFormat | None, signed: Mapping[str, bool]
    ) -> TensorFormat | None:
        if stored is None or node.op not in MAC_OPS or self.classes[tensor] in self.images:
            return stored
        own = self.precisions[node.name].activation_format(signed=signed[self.classes[tensor]])
        own = self._one_bit(own)
        return own if own.format.bits <= stored.format.bits else stored

    # --- residuals ---------------------------------------------------------------------------

    def _high_classes(self) -> frozenset[str]:
        """The H set as tensor classes: operands and results of adds, seen through fused operators."""
        graph = self.graph
        high: set[str] = set()
        for node in graph.nodes:
            if not graph.is_residual_add(node) or not (self.high_mode or "bits" in node.attributes):
                continue
            high.add(self.classes[pipeline_end(graph, node, self.internal)])
            for tensor in graph.operands(node):
                if tensor not in self.internal and not self._is_narrow_operand(tensor):
                    high.add(self.classes[tensor])
        for node in reversed(graph.nodes):
            if node.op == "avg_pool" and self.classes[node.output] in high:
                high.add(self.classes[node.inputs[0]])
        return frozenset(high - self.images)

    def _is_narrow_operand(self, tensor: str) -> bool:
        """With `preadd=b`, the convolution result that only an add reads keeps the scheme's width."""
        if self.scheme.preadd != "b" or len(self.graph.consumers(tensor)) != 1:
            return False
        root = pipeline_root(self.graph, tensor, self.internal)
        return root is not None and root.op in MAC_OPS

    # --- signs -------------------------------------------------------------------------------

    def _absorbed(self) -> frozenset[str]:
        """ReLUs whose result a quantizer to -1 and +1 reads: the sign itself is the non-linearity.

        Every reader of such a tensor sees the value before the ReLU, as in Bi-Real nets. A hardtanh that only
        BIPOLAR readers see goes too, so that the pseudo-gradient of the sign is the only clipping.
        """
        absorbed = set()
        for node in self.graph.nodes:
            if node.op not in RELU_OPS | {"hardtanh"} or node.output in self.internal:
                continue
            needs = self._needs(self.classes[node.output])
            if node.op == "hardtanh":
                if needs and _is_unit(node) and all(need.activation == "1" for need in needs):
                    absorbed.add(node.name)
            elif any(_levels_are_signs(need) for need in needs):
                absorbed.add(node.name)
        return frozenset(absorbed)

    def _signed(self, absorbed: frozenset[str]) -> dict[str, bool]:
        """Class -> can it hold values below zero."""
        tensor_signed: dict[str, bool] = dict.fromkeys(self.graph.inputs, self.image_signed)
        for node in self.graph.nodes:
            operands = [tensor_signed[tensor] for tensor in node.inputs]
            if node.name in absorbed:
                value = operands[0]
            elif node.op in NON_NEGATIVE_OPS:
                value = False
            elif node.op in TRANSPARENT | ACCUMULATING_POOLS or self.graph.is_residual_add(node):
                value = any(operands)
            else:
                value = True
            tensor_signed[node.output] = value
        return {
            representative: any(tensor_signed[tensor] for tensor in members)
            for representative, members in self.members.items()
        }

    # --- where the quantizers go -------------------------------------------------------------

    def _points(
        self,
        stored: Mapping[str, TensorFormat | None],
        reads: Mapping[tuple[str, int], TensorFormat | None],
        signed: Mapping[str, bool],
    ) -> Iterable[QuantPoint]:
        graph = self.whole
        for tensor in (*graph.inputs, *(node.output for node in graph.nodes)):
            format_ = stored[tensor]
            if format_ is None:
                continue
            is_signed = signed[self.classes[self.alias[tensor]]]
            uses = tuple((node.name, operand) for node, operand in graph.consumers(tensor))
            producer = graph.producer(tensor)
            if producer is None or producer.op not in TRANSPARENT | NO_OPS:
                kind: Literal["input", "stored"] = "input" if producer is None else "stored"
                yield QuantPoint(tensor, tensor, format_, kind, uses, is_signed)
            narrower: dict[TensorFormat, list[tuple[str, int]]] = {}
            for use in uses:
                own = reads[use]
                if own is not None and own != format_:
                    narrower.setdefault(own, []).append(use)
            for own, readers in narrower.items():
                name = f"{tensor}@{str(own).replace('/', '_')}"
                yield QuantPoint(name, tensor, own, "read", tuple(readers), is_signed)


def layer_precisions(graph: Graph, scheme: Scheme) -> dict[str, Precision]:
    """Precision of every MAC layer: overrides first, then first, last, downsample, depthwise, the rest."""
    first, last = first_layers(graph), last_layers(graph)
    layers = graph.mac_nodes()
    for override in scheme.overrides:
        if not any(_overridden(node, override) for node in layers):
            names = [node.name for node in layers]
            near = difflib.get_close_matches(override.pattern, names, n=1, cutoff=0.4)
            hint = f"did you mean {near[0]!r}?" if near else f"layers: {', '.join(names)}"
            raise SchemeError(
                f"scheme {str(scheme)!r}: override {override.pattern!r} matches no layer; {hint}"
            )
    found = {}
    for node in layers:
        floors = [
            floor
            for floor, applies in (
                (scheme.first, node.name in first),
                (scheme.last, node.name in last),
                (scheme.downsample, scheme.downsample is not None and is_downsample(graph, node)),
                (scheme.depthwise, scheme.depthwise is not None and _is_depthwise(node)),
                (node.ints("bits", 1, 0)[0], "bits" in node.attributes),
            )
            if applies and floor is not None
        ]
        precision = at_least(scheme.precision, max(floors, default=0))
        for override in scheme.overrides:
            if _overridden(node, override):
                precision = override.precision
        found[node.name] = precision
    return found


def _overridden(node: Node, override: Override) -> bool:
    """Whether the pattern matches the layer, or the layer whose further binary base it is."""
    names = (node.name, str(node.attributes.get("base_of", node.name)))
    return any(fnmatch.fnmatchcase(name, override.pattern) for name in names)


def at_least(precision: Precision, bits: int) -> Precision:
    """`precision` with integers of `bits` where its weights or activations are narrower."""
    return Precision(
        precision.weight if precision.weight_bits >= bits else str(bits),
        precision.activation if precision.activation_bits >= bits else str(bits),
    )


def _is_depthwise(node: Node) -> bool:
    groups = node.attributes.get("groups", 1)
    return (
        node.op == "conv"
        and isinstance(groups, int)
        and groups > 1
        and groups == node.attributes["in_channels"]
    )


def _is_unit(node: Node) -> bool:
    """Whether a hardtanh clips to [-1, 1]."""
    return node.attributes.get("min_value") == -1 and node.attributes.get("max_value") == 1


def _levels_are_signs(precision: Precision) -> bool:
    format_ = precision.activation_format(signed=True).format
    return bool(format_.bits == 1 and not format_.has_zero)
