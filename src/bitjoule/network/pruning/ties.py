"""Which channels of a Graph belong together: cutting one means cutting all that are tied to it.

Every tensor has one slot per channel (dimension 1; per feature behind a flatten). Operators that keep
channels hand slots on, an add or a product joins the slots of its operands one by one, a depthwise
convolution joins its input to its output, a pad along the channels brings new slots (zeros), a convolution or
linear layer makes new ones. A set of joined slots is a *tie*; ties that the same layers make are a *group*,
from which the weakest are cut. Slots that cannot go (network inputs and outputs, operators that mix channels
in another way) are fixed, and the reason is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bitjoule.workload.graph import Graph, Node

__all__ = ["ChannelGroup", "Ties", "channel_pads", "channel_ties"]

KEEPING = frozenset(
    {"batch_norm", "relu", "relu6", "hardtanh", "prelu", "leaky_relu", "identity", "dropout", "max_pool"}
    | {"avg_pool", "global_avg_pool", "sigmoid", "hardsigmoid", "hardswish", "silu", "gelu", "tanh", "exp"}
    | {"neg", "pow", "sqrt", "rsqrt"}
)
"""Operators with one operand, whose channels stay apart."""

JOINING = frozenset({"add", "sub", "mul", "div"})


@dataclass(frozen=True)
class ChannelGroup:
    """Ties made by the same layers. `ties` are their ids, in the order of the channels."""

    layers: tuple[str, ...]
    ties: tuple[int, ...]


@dataclass(frozen=True)
class Ties:
    """`slots`: tensor -> the tie of each channel. `fixed`: tensor -> why its channels cannot be cut."""

    slots: Mapping[str, tuple[int, ...]]
    groups: tuple[ChannelGroup, ...]
    fixed: Mapping[str, str]


def channel_ties(graph: Graph, refused: Mapping[str, str] | None = None) -> Ties:
    """The ties of `graph`. `refused`: operators that cannot be cut for a reason of their own.

    >>> from bitjoule.workload import Tensor
    >>> wide = {"groups": 1, "in_channels": 3, "out_channels": 8}
    >>> a = Node("a", "conv", ("x",), "a", wide, {"weight": (8, 3, 1, 1)})
    >>> b = Node("b", "conv", ("x",), "b", wide, {"weight": (8, 3, 1, 1)})
    >>> c = Node("c", "add", ("a", "b"), "c")
    >>> d = Node("d", "conv", ("c",), "d", {"groups": 1}, {"weight": (2, 8, 1, 1)})
    >>> channels = {"x": 3, "a": 8, "b": 8, "c": 8, "d": 2}
    >>> tensors = {name: Tensor(name, (1, count, 4, 4)) for name, count in channels.items()}
    >>> channel_ties(Graph("block", ("x",), ("d",), (a, b, c, d), tensors)).groups
    (ChannelGroup(layers=('a', 'b'), ties=(3, 4, 5, 6, 7, 8, 9, 10)),)
    """
    return _Tier(graph, dict(refused or {})).ties()


class _Tier:
    """Union and find over slots, in the order of the graph."""

    def __init__(self, graph: Graph, refused: Mapping[str, str]) -> None:
        self.graph, self.refused = graph, refused
        self.parent: list[int] = []
        self.slots: dict[str, list[int]] = {}
        self.fixed: dict[str, str] = {}
        self.makers: list[tuple[int, str]] = []

    def ties(self) -> Ties:
        for name in self.graph.inputs:
            self._new(name)
            self._fix(name, "it is a network input")
        for node in self.graph.nodes:
            reason = self._visit(node)
            if reason:
                self.slots.pop(node.output, None)
                self._new(node.output)
                for tensor in (*node.inputs, node.output):
                    self._fix(tensor, reason)
        for name in self.graph.outputs:
            self._fix(name, "it is a network output")
        slots = {name: tuple(self._find(slot) for slot in found) for name, found in self.slots.items()}
        held = {tie for name in self.fixed for tie in slots[name]}
        layers: dict[int, dict[str, None]] = {}
        for slot, layer in self.makers:
            layers.setdefault(self._find(slot), {})[layer] = None
        groups: dict[tuple[str, ...], list[int]] = {}
        for tie, made in layers.items():
            if tie not in held:
                groups.setdefault(tuple(made), []).append(tie)
        return Ties(slots, tuple(ChannelGroup(k, tuple(v)) for k, v in groups.items()), dict(self.fixed))

    def _visit(self, node: Node) -> str:
        """Give the output its slots; else the reason why what this operator touches is fixed."""
        graph = self.graph
        shape = graph.tensors[node.output].shape
        if node.name in self.refused:
            return f"{node.name} {self.refused[node.name]}"
        if node.shared:
            return f"{node.name} shares parameters with another operator"
        if any(len(graph.tensors[name].shape) < 2 for name in (*node.inputs, node.output)):
            return f"{node.name} works on tensors without channels"
        if node.op == "conv":
            return self._convolution(node)
        if node.op == "linear":
            if len(shape) != 2:
                return f"{node.name} is applied to every position"
            self._make(node)
            return ""
        if node.op in KEEPING and len(node.inputs) == 1:
            self.slots[node.output] = self.slots[node.inputs[0]]
            return ""
        if node.op in JOINING and graph.operands(node) == node.inputs:
            return self._join(node)
        if node.op == "pad":
            return self._pad(node)
        if node.op == "slice" and node.ints("dim", 1)[0] % len(shape) > 1:
            self.slots[node.output] = self.slots[node.inputs[0]]
            return ""
        if node.op == "mean" and 1 not in _dims(node, len(graph.tensors[node.inputs[0]].shape)):
            self.slots[node.output] = self.slots[node.inputs[0]]
            return ""
        if node.op == "flatten" and node.ints("start_dim", 1, 1)[0] == 1 and len(shape) == 2:
            source = self.slots[node.inputs[0]]
            places = shape[1] // len(source)
            self.slots[node.output] = [slot for slot in source for _ in range(places)]
            return ""
        if node.op == "concat" and node.ints("dim", 1, 1)[0] == 1:
            self.slots[node.output] = [slot for name in node.inputs for slot in self.slots[name]]
            return ""
        return f"{node.name} is a {node.op}, through which channels are not followed"

    def _convolution(self, node: Node) -> str:
        groups = node.ints("groups", 1, 1)[0]
        source, made = (self.graph.tensors[name].shape[1] for name in (node.inputs[0], node.output))
        if node.attributes.get("transposed"):
            return f"{node.name} is a transposed convolution"
        if groups == 1:
            self._make(node)
            return ""
        if groups == source == made:
            self.slots[node.output] = self.slots[node.inputs[0]]
            self.makers += [(slot, node.name) for slot in self.slots[node.output]]
            return ""
        return f"{node.name} is a convolution of {groups} groups"

    def _join(self, node: Node) -> str:
        operands = [self.slots[name] for name in node.inputs]
        if len({len(slots) for slots in operands}) != 1:
            return f"{node.name} repeats one channel over others"
        for slots in operands[1:]:
            for left, right in zip(operands[0], slots, strict=True):
                self._union(left, right)
        self.slots[node.output] = operands[0]
        return ""

    def _pad(self, node: Node) -> str:
        source = self.slots[node.inputs[0]]
        front, back = channel_pads(node, len(self.graph.tensors[node.output].shape))
        if front < 0 or back < 0:
            return f"{node.name} cuts channels off"
        self.slots[node.output] = [
            *(self._slot() for _ in range(front)),
            *source,
            *(self._slot() for _ in range(back)),
        ]
        return ""

    def _make(self, node: Node) -> None:
        self._new(node.output)
        self.makers += [(slot, node.name) for slot in self.slots[node.output]]

    def _new(self, tensor: str) -> None:
        shape = self.graph.tensors[tensor].shape
        count = shape[1] if len(shape) > 1 else 0
        self.slots[tensor] = [self._slot() for _ in range(count)]

    def _slot(self) -> int:
        self.parent.append(len(self.parent))
        return len(self.parent) - 1

    def _find(self, slot: int) -> int:
        while self.parent[slot] != slot:
            self.parent[slot] = self.parent[self.parent[slot]]
            slot = self.parent[slot]
        return slot

    def _union(self, left: int, right: int) -> None:
        low, high = sorted((self._find(left), self._find(right)))
        self.parent[high] = low

    def _fix(self, tensor: str, reason: str) -> None:
        self.fixed.setdefault(tensor, reason)


def channel_pads(node: Node, dims: int) -> tuple[int, int]:
    """Channels that a pad puts before and behind; `pads` is that of `F.pad`, last dimension first."""
    pads = node.attributes["pads"]
    numbers = [int(value) for value in pads] if isinstance(pads, tuple) else [node.ints("pads", 1)[0]]
    place = 2 * (dims - 2)
    front, back = (*numbers[place : place + 2], 0, 0)[:2]
    return front, back


def _dims(node: Node, dims: int) -> set[int]:
    value = node.attributes.get("dims", ())
    listed = value if isinstance(value, tuple) else (value,)
    return {int(dim) % dims for dim in listed} if listed else set(range(dims))
