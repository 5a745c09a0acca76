"""A Network over another Graph of the same model: operators left out, put in, and read in another way.

The rewriting of the Graph (`workload/repairs/`) says what is computed; this file makes the module that does
it. Operators that stay keep their modules and parameters; parameters of new ones stand under `repairs.`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import fx, nn

from bitjoule.network.captured_module import CapturedModule
from bitjoule.network.graph_writer import MARK
from bitjoule.network.network import Network, NetworkError
from bitjoule.network.repair_modules import function_of, module_of, residual_of_signs
from bitjoule.workload.graph import Graph, Node

__all__ = ["FOLDER", "rebuild"]

FOLDER = "repairs"
"""The module under which parameters of new operators stand."""


def rebuild(net: Network, graph: Graph, notes: tuple[str, ...] = ()) -> Network:
    """A new Network that computes `graph`, a rewriting of `net.graph`; `net` stays as it is.

    Weights are copied. New operators start as their repair says. Modules that only removed operators used
    are gone from the state dict.

    Raises:
        NetworkError: quantizers were inserted already, or the model has a module named `repairs` of its own.
    """
    if net.quantized:
        raise NetworkError(
            f"{net.name}: quantizers of scheme {str(net.scheme)!r} are inserted already; repair before that"
        )
    clone = net.clone()
    folder = getattr(clone.module, FOLDER, None)
    if folder is not None and not net.graph.repairs:
        raise NetworkError(
            f"{net.name} has a module of its own named {FOLDER!r}, where repairs go: rename it"
        )
    if folder is None:
        clone.module.add_module(FOLDER, nn.Module().train(clone.module.training))
    module = _Builder(clone, graph).module()
    return Network(graph, module, notes=(*net.notes, *notes))


class _Builder:
    """Writes a new fx graph in the order of the new Graph, taking over what stays."""

    def __init__(self, net: Network, graph: Graph) -> None:
        self.root, self.old, self.new = net.module, net.graph, graph
        self.marked = {node.meta[MARK]: node for node in net.module.graph.nodes if MARK in node.meta}
        self.outputs = dict(zip(net.graph.outputs, graph.outputs, strict=True))
        self.graph = fx.Graph()
        self.env: dict[str, fx.Node] = {}
        self.static: dict[fx.Node, fx.Node] = {}

    def module(self) -> CapturedModule:
        """The module over the new graph."""
        for node in self.root.graph.nodes:
            if node.op == "placeholder":
                made = self.graph.node_copy(node)
                self.static[node] = made
                if MARK in node.meta:
                    self.env[node.meta[MARK]] = made
        known = {node.name: node for node in self.old.nodes}
        for node in self.new.nodes:
            made = self._kept(node, known[node.name]) if node.name in known else self._made(node)
            made.meta[MARK] = node.name
            self.env[node.name] = made
        output = next(node for node in self.root.graph.nodes if node.op == "output")
        self.graph.output(fx.map_arg(output.args[0], self._output))
        for name in set(known) - {node.name for node in self.new.nodes}:
            self._forget(self.marked[name])
        self.graph.lint()
        return CapturedModule(self.root, self.graph)

    def _kept(self, node: Node, before: Node) -> fx.Node:
        old = self.marked[node.name]
        operands = iter(node.inputs)

        def argument(source: fx.Node) -> fx.Node:
            return self.env[next(operands)] if MARK in source.meta else self._static(source)

        made = self.graph.create_node(
            old.op,
            old.target,
            fx.map_arg(old.args, argument),
            fx.map_arg(old.kwargs, argument),
            type_expr=old.type,
        )
        made.meta.update(old.meta)
        if before.op == "conv" and before.ints("stride", 2, 1) != node.ints("stride", 2, 1):
            module = self.root.get_submodule(str(old.target)) if old.op == "call_module" else None
            if not isinstance(module, nn.Conv2d):
                raise NetworkError(
                    f"{self.new.name}: the stride of {node.name!r} cannot change: it is a functional call; "
                    "use torch.nn.Conv2d for shortcuts"
                )
            rows, columns = node.ints("stride", 2, 1)
            module.stride = (rows, columns)
        return made

    def _made(self, node: Node) -> fx.Node:
        arguments: tuple[Any, ...] = tuple(self.env[name] for name in node.inputs)
        module = module_of(node, len(self.new.tensors[node.output].shape), self.root.training)
        if module is None:
            function, more = function_of(node)
            return self.graph.call_function(function, (*arguments, *more))
        self._initialize(node, module)
        reference = next(self.root.parameters())
        path = node.module
        self.root.get_submodule(FOLDER).add_module(
            path.removeprefix(f"{FOLDER}."), module.to(device=reference.device, dtype=reference.dtype)
        )
        return self.graph.call_module(path, arguments)

    def _initialize(self, node: Node, module: nn.Module) -> None:
        """Weights of a further binary base follow from those of the first."""
        if "base_of" in node.attributes:
            first = self.marked[str(node.attributes["base_of"])]
            weight = (
                self.root.get_submodule(str(first.target)).get_parameter("weight")
                if first.op == "call_module"
                else self._parameter(first)
            )
            with torch.no_grad():
                module.get_parameter("weight").copy_(residual_of_signs(weight, node.ints("base", 1)[0]))

    def _parameter(self, call: fx.Node) -> torch.Tensor:
        weight = call.args[1]
        if not isinstance(weight, fx.Node) or weight.op != "get_attr":
            raise NetworkError(
                f"{self.new.name}: the weight of {call.meta[MARK]!r} is no parameter of its own"
            )
        owner, _, name = str(weight.target).rpartition(".")
        return self.root.get_submodule(owner).get_parameter(name)

    def _static(self, node: fx.Node) -> fx.Node:
        """A value made of parameters only, brought over with what it is made of."""
        if node not in self.static:
            self.static[node] = self.graph.node_copy(node, self._static)
        return self.static[node]

    def _output(self, node: fx.Node) -> fx.Node:
        return self.env[self.outputs[node.meta[MARK]]] if MARK in node.meta else self._static(node)

    def _forget(self, call: fx.Node) -> None:
        """Delete a module that nothing calls any more, with its parameters."""
        path = str(call.target)
        still = {str(node.target) for node in self.graph.nodes if node.op == "call_module"}
        reads = [str(node.target) for node in self.graph.nodes if node.op == "get_attr"]
        if (
            call.op == "call_module"
            and path not in still
            and not any(t.startswith(f"{path}.") for t in reads)
        ):
            self.root.delete_submodule(path)
