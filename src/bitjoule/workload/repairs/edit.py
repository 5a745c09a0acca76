"""A Graph being rewritten: operators in and out, readers moved; `graph()` checks and orders the result."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from bitjoule.workload.graph import Attribute, Graph, Node, Tensor

__all__ = ["MODULES", "Edit"]

MODULES = "repairs"
"""The module under which the parameters of repairs stand."""


class Edit:
    """The state of one rewriting. `high_bits` is what new operators work at; `notes` say what was left.

    >>> x, y = Tensor("x", (1, 4)), Tensor("fc", (1, 2))
    >>> fc = Node("fc", "linear", ("x",), "fc", {"in_features": 4, "out_features": 2}, {"weight": (2, 4)})
    >>> edit = Edit(Graph("tiny", ("x",), ("fc",), (fc,), {"x": x, "fc": y}), high_bits=16)
    >>> made = edit.follow("fc", "prelu", "fc.prelu", {}, {"weight": (2,)})
    >>> edit.graph(("prelu",)).outputs
    ('fc.prelu',)
    """

    def __init__(self, graph: Graph, high_bits: int) -> None:
        self.name, self.inputs, self.outputs = graph.name, graph.inputs, graph.outputs
        self.nodes: dict[str, Node] = {node.name: node for node in graph.nodes}
        self.tensors: dict[str, Tensor] = dict(graph.tensors)
        self.high_bits = high_bits
        self.notes: list[str] = []

    # --- reading ------------------------------------------------------------------------------

    def shape(self, tensor: str) -> tuple[int, ...]:
        """Shape of a tensor at batch 1."""
        return self.tensors[tensor].shape

    def producer(self, tensor: str) -> Node | None:
        """The node that makes `tensor`."""
        return self.nodes.get(tensor)

    def consumers(self, tensor: str) -> list[tuple[Node, int]]:
        """Every (node, operand) that reads `tensor`."""
        return [
            (node, place)
            for node in self.nodes.values()
            for place, source in enumerate(node.inputs)
            if source == tensor
        ]

    def only_reader(self, tensor: str) -> Node | None:
        """The one node that reads `tensor`, if there is exactly one and the network does not return it."""
        uses = self.consumers(tensor)
        return uses[0][0] if len(uses) == 1 and tensor not in self.outputs else None

    def operands(self, node: Node) -> tuple[str, ...]:
        """Inputs that are not constants."""
        return tuple(t for t in node.inputs if t not in self.nodes or self.nodes[t].op != "constant")

    # --- writing ------------------------------------------------------------------------------

    def make(
        self,
        name: str,
        op: str,
        inputs: Iterable[str],
        shape: tuple[int, ...],
        attributes: Mapping[str, Attribute] | None = None,
        parameters: Mapping[str, tuple[int, ...]] | None = None,
        *,
        bits: int | None = None,
    ) -> str:
        """A new operator at the end of `inputs`; returns the tensor it makes.

        `bits`: what it reads at least, by default the high precision; 0 leaves it to the scheme. A taken name
        gets a number.
        """
        unique, count = name, 0
        while unique in self.tensors:
            count += 1
            unique = f"{name}_{count}"
        marked: dict[str, Attribute] = dict(attributes or {})
        if bits != 0:
            marked["bits"] = bits or self.high_bits
        self.nodes[unique] = Node(
            unique, op, tuple(inputs), unique, marked, dict(parameters or {}), f"{MODULES}.{key(unique)}"
        )
        self.tensors[unique] = Tensor(unique, shape)
        return unique

    def constant(
        self,
        name: str,
        shape: tuple[int, ...],
        init: float,
        parameters: Mapping[str, tuple[int, ...]] | None = None,
    ) -> str:
        """A learned tensor that starts at `init`."""
        return self.make(name, "constant", (), shape, {"init": init}, parameters or {"value": shape})

    def follow(
        self,
        tensor: str,
        op: str,
        name: str,
        attributes: Mapping[str, Attribute] | None = None,
        parameters: Mapping[str, tuple[int, ...]] | None = None,
        others: tuple[str, ...] = (),
    ) -> str:
        """A new operator of the same shape between `tensor` and all that read it."""
        made = self.make(name, op, (tensor, *others), self.shape(tensor), attributes, parameters)
        self.redirect(tensor, made, lambda node: node.name != made)
        return made

    def precede(
        self,
        node: str,
        op: str,
        name: str,
        attributes: Mapping[str, Attribute] | None = None,
        parameters: Mapping[str, tuple[int, ...]] | None = None,
        others: tuple[str, ...] = (),
    ) -> str:
        """A new operator of the same shape between the first operand of `node` and that node alone."""
        source = self.nodes[node].inputs[0]
        made = self.make(name, op, (source, *others), self.shape(source), attributes, parameters)
        self.read(node, 0, made)
        return made

    def read(self, node: str, operand: int, tensor: str) -> None:
        """Let operand `operand` of `node` be `tensor`."""
        inputs = list(self.nodes[node].inputs)
        inputs[operand] = tensor
        self.nodes[node] = replace(self.nodes[node], inputs=tuple(inputs))

    def redirect(self, tensor: str, other: str, where: Callable[[Node], bool] = lambda node: True) -> None:
        """Let the readers of `tensor` (those `where`), and the network's outputs, see `other`."""
        for node in list(self.nodes.values()):
            if tensor in node.inputs and where(node):
                inputs = tuple(other if source == tensor else source for source in node.inputs)
                self.nodes[node.name] = replace(node, inputs=inputs)
        self.outputs = tuple(other if source == tensor else source for source in self.outputs)

    def change(self, node: str, attributes: Mapping[str, Attribute]) -> None:
        """Set attributes of a node."""
        old = self.nodes[node]
        self.nodes[node] = replace(old, attributes={**old.attributes, **attributes})

    def remove(self, node: str) -> None:
        """Take a node out; its readers see what it read."""
        gone = self.nodes.pop(node)
        self.redirect(gone.output, gone.inputs[0])
        del self.tensors[gone.output]

    def drop_unread(self) -> None:
        """Take out operators that nothing reads any more."""
        while True:
            read = {source for node in self.nodes.values() for source in node.inputs} | set(self.outputs)
            dead = [name for name, node in self.nodes.items() if node.output not in read]
            if not dead:
                return
            for name in dead:
                del self.tensors[self.nodes.pop(name).output]

    def graph(self, repairs: tuple[str, ...]) -> Graph:
        """The Graph as it is now, in an order in which it can run; `repairs` are those in it."""
        made, order = set(self.inputs), []
        waiting = list(self.nodes.values())
        while waiting:
            ready = [node for node in waiting if all(source in made for source in node.inputs)]
            first = ready[0]
            waiting.remove(first)
            order.append(first)
            made.add(first.output)
        return Graph(self.name, self.inputs, self.outputs, tuple(order), self.tensors, repairs)


def key(name: str) -> str:
    """A name as the name of a module."""
    return "".join(sign if sign.isalnum() else "_" for sign in name)
