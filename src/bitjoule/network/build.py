"""From an exported program to the trainable fx graph and the Graph that describes it.

Both are made in one walk: every Graph node is exactly one fx node, whose `meta["bitjoule"]` is its name. Fx
nodes without that mark compute on parameters only (a transposed weight) or on sizes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind
from torch.utils import _pytree as pytree

from bitjoule.network.aten_call import (
    Call,
    Unsupported,
    call_of,
    is_index,
    key_of,
    nested_graph,
    shape_at_batch_one,
)
from bitjoule.network.captured_module import CapturedModule, FunctionalBatchNorm
from bitjoule.network.expansions import (
    ALIASES,
    EXPANSIONS,
    SPLITS,
    linear_of_activations,
    split_bounds,
)
from bitjoule.network.graph_writer import MARK, GraphWriter
from bitjoule.network.operators import ADAPTIVE_MAX_POOLS, RULES, Rule
from bitjoule.network.regroup import LeafCall, Role, leaf_calls, module_path, roles_of
from bitjoule.workload.graph import Attribute, Graph
from bitjoule.workload.sharing import with_shared

__all__ = ["Built", "UnsupportedCall", "build"]


@dataclass(frozen=True)
class UnsupportedCall:
    """Something the Graph cannot hold: where, what, why, and the source line if known."""

    module: str
    operator: str
    reason: str
    line: str


@dataclass(frozen=True)
class Built:
    """What `build` makes: the two graphs and what they leave out, or all that stands in the way."""

    module: CapturedModule | None
    graph: Graph | None
    unsupported: tuple[UnsupportedCall, ...]
    notes: tuple[str, ...] = ()


def build(program: ExportedProgram, model: nn.Module, name: str, *, training: bool) -> Built:
    """Regroup `program` over the modules of `model`, which it takes over.

    `training`: the program was exported in training mode, so active dropout follows train() and eval().
    """
    return _Builder(program, model, name, training).build()


class _Builder:
    """The state of one walk through the exported graph."""

    def __init__(self, program: ExportedProgram, model: nn.Module, name: str, training: bool) -> None:
        self.program, self.model, self.name, self.training = program, model, name, training
        self.source = program.graph
        signature = program.graph_signature
        self.input_names = tuple(
            spec.arg.name for spec in signature.input_specs if spec.kind == InputKind.USER_INPUT
        )
        self.roles: dict[fx.Node, Role] = roles_of(self.source, frozenset(self.input_names))
        self.leaves, self.covered = leaf_calls(self.source, model, self.roles)
        self.live = self._live()
        self.writer = GraphWriter(program, model, self.roles, training)
        self.module_calls: Counter[str] = Counter()
        self.failures: list[UnsupportedCall] = []
        self.notes: list[str] = []
        self.lost: set[fx.Node] = set()

    # --- the walk ----------------------------------------------------------------------------

    def build(self) -> Built:
        inputs: list[fx.Node] = []
        outputs: tuple[str, ...] = ()
        for node in self.source.nodes:
            if node.op == "placeholder":
                if node.name in self.input_names:
                    inputs.append(self._input(node))
            elif node.op == "output":
                outputs = self._output(node)
            elif node in self.live:
                self._visit(node)
        if self.failures:
            return Built(None, None, tuple(self.failures))
        for node in reversed(self.writer.graph.nodes):
            if node.op.startswith(("get_attr", "call_")) and not node.users and MARK not in node.meta:
                self.writer.graph.erase_node(node)
        graph = Graph(
            name=self.name,
            inputs=tuple(node.meta[MARK] for node in inputs),
            outputs=outputs,
            nodes=with_shared(self.writer.nodes, self.writer.sources),
            tensors=self.writer.tensors,
        )
        return Built(CapturedModule(self.model, self.writer.graph), graph, (), tuple(self.notes))

    def _live(self) -> frozenset[fx.Node]:
        """Nodes that an output needs (what a leaf module does besides is the module's own affair)."""
        found: set[fx.Node] = set()
        open_nodes = [node for node in self.source.nodes if node.op == "output"]
        while open_nodes:
            for node in open_nodes.pop().all_input_nodes:
                if node not in found:
                    found.add(node)
                    open_nodes.append(node)
        touched = {
            node
            for node in self.source.nodes
            if node.op == "call_function" and node not in self.covered and _writes_static(node, self.roles)
        }
        return frozenset(found | touched)

    def _input(self, node: fx.Node) -> fx.Node:
        made = self.writer.graph.placeholder(node.name)
        self.writer.env[node] = made
        self.writer.unique(node.name)
        value = node.meta["val"]
        self.writer.mark(made, node.name, shape_at_batch_one(value), index=is_index(value))
        return made

    def _output(self, node: fx.Node) -> tuple[str, ...]:
        values = [self.writer.value(value) for value in node.args[0]]  # type: ignore[union-attr]
        if self.failures:
            return ()
        spec = self.program.call_spec.out_spec
        assert spec is not None
        self.writer.graph.output(pytree.tree_unflatten(values, spec))
        found = [value.meta.get(MARK) if isinstance(value, fx.Node) else None for value in values]
        fixed = [f"output {index}" for index, name in enumerate(found) if name is None]
        if fixed:
            self.notes.append(
                f"not computed from an input, so returned but not in the Graph: {', '.join(fixed)}"
            )
        return tuple(name for name in found if name is not None)

    def _visit(self, node: fx.Node) -> None:
        role, key = self.roles[node], key_of(node)
        if any(source in self.lost for source in node.all_input_nodes):
            self.lost.add(node)
            self.writer.env[node] = self._stub(node)
            return
        self.writer.owner = module_path(node)
        try:
            if node in self.leaves:
                self.writer.env[node] = self._leaf(self.leaves[node], key)
            elif node in self.covered or role == "effect" or node.op == "get_attr":
                return  # get_attr: the graph of a branch, which the call of the branch refuses
            elif isinstance(node.target, torch._ops.HigherOrderOperator):
                raise Unsupported(nested_graph(node.target))
            elif role == "shape":
                self.writer.env[node] = self._size(node, key)
            elif _writes_static(node, self.roles):
                raise Unsupported("it changes a parameter or buffer in place during forward")
            elif role == "static":
                self.writer.env[node] = self.writer.static(node)
            else:
                self.writer.env[node] = self._activation(node, key)
        except Unsupported as problem:
            shown = str(node.target) if "." in str(node.target) else key
            self.failures.append(UnsupportedCall(self.writer.owner, shown, str(problem), _line(node)))
            self.writer.env[node] = self._stub(node)
            if role == "shape":
                self.lost.add(node)

    def _activation(self, node: fx.Node, key: str) -> Any:
        if key == "getitem":
            return self.writer.env[node.args[0]][node.args[1]]  # type: ignore[index]
        if not isinstance(node.target, torch._ops.OpOverload):
            raise Unsupported("")
        call = call_of(node)
        if key in SPLITS:
            return self._split(node, key, call)
        if key in ADAPTIVE_MAX_POOLS:
            self._refuse_positions(node)
            return {0: self._rule(ADAPTIVE_MAX_POOLS[key], call)}
        if key in ALIASES:
            return self._alias(node, call)
        if key == "slice.Tensor" and call.result == call.shapes["self"] and call.arguments["step"] == 1:
            return self.writer.value(call.arguments["self"])
        if key == "linear.default" and not self.writer.is_static(call.arguments["weight"]):
            return linear_of_activations(self.writer, call)
        if key in EXPANSIONS:
            return EXPANSIONS[key](self.writer, call)
        if key in RULES:
            return self._rule(RULES[key], call)
        raise Unsupported("")

    # --- kinds of nodes ----------------------------------------------------------------------

    def _leaf(self, leaf: LeafCall, key: str) -> Any:
        """One call of a torch.nn module."""
        self.writer.owner = leaf.path
        module = self.model.get_submodule(leaf.path)
        call = call_of(leaf.core)
        attributes: dict[str, Attribute]
        weights: Mapping[str, str] = {}
        if key in ("dropout.default", "feature_dropout.default"):
            op, attributes = "dropout", {"p": float(call.arguments["p"])}
        elif key in RULES:
            op, attributes = RULES[key].describe(call)
            weights = RULES[key].weights
        elif key in ADAPTIVE_MAX_POOLS:
            op, attributes = ADAPTIVE_MAX_POOLS[key].describe(call)
        else:
            raise Unsupported("")
        count = self.module_calls[leaf.path]
        self.module_calls[leaf.path] += 1
        name = self.writer.unique(f"{leaf.path}@{count}" if count else leaf.path)
        x = self.writer.operand(leaf.source)
        made = self.writer.graph.call_module(leaf.path, (x,))
        if isinstance(getattr(module, "inplace", None), bool):
            module.inplace = False  # type: ignore[assignment]
        self.writer.describe(made, name, op, (x,), call.result, attributes, self._parameters(call, weights))
        self._note_sources(made, call, weights)
        return {0: made} if key in ADAPTIVE_MAX_POOLS else made

    def _rule(self, rule: Rule, call: Call) -> fx.Node:
        """One functional call that is one Graph node."""
        for name in (*rule.weights.values(), "running_mean", "running_var"):
            value = call.arguments.get(name)
            if isinstance(value, fx.Node) and not self.writer.is_static(value):
                raise Unsupported(f"its {name} is computed from the input")
        op, attributes = rule.describe(call)
        operands = {name: self.writer.operand(call.arguments[name]) for name in rule.operands}
        arguments = tuple(
            operands[name] if name in operands else self.writer.value(call.arguments[name])
            for name in rule.passed
        )
        parameters = self._parameters(call, rule.weights)
        if op == "batch_norm" and call.arguments["training"] and self.training:
            made = self._functional_batch_norm(call, operands["input"], attributes, parameters)
        else:
            made = self.writer.emit(
                op, rule.function, arguments, tuple(operands.values()), call.result, attributes, parameters
            )
        self._note_sources(made, call, rule.weights)
        return made

    def _functional_batch_norm(
        self,
        call: Call,
        x: fx.Node,
        attributes: Mapping[str, Attribute],
        parameters: Mapping[str, tuple[int, ...]],
    ) -> fx.Node:
        momentum, eps = float(call.arguments["momentum"]), float(call.arguments["eps"])
        name = self.writer.unique(self.writer.path("batch_norm"))
        target = self.writer.add_module(name, FunctionalBatchNorm(momentum, eps))
        roles = ("weight", "bias", "running_mean", "running_var")
        rest = tuple(self.writer.value(call.arguments[role]) for role in roles)
        made = self.writer.graph.call_module(target, (x, *rest))
        self.writer.describe(made, name, "batch_norm", (x,), call.result, attributes, parameters)
        return made

    def _split(self, node: fx.Node, key: str, call: Call) -> dict[int, fx.Node]:
        """Each used result of a split, as a slice."""
        x = self.writer.operand(call.arguments["self"])
        dim, bounds = split_bounds(key, call, len(node.meta["val"]))
        found = {}
        used = sorted({user.args[1] for user in node.users if user in self.live})  # type: ignore[type-var]
        for index in used:
            start, length = bounds[index]  # type: ignore[index]
            attributes: dict[str, Attribute] = {"dim": dim, "start": start, "end": start + length, "step": 1}
            shape = list(self.writer.shape(x))
            shape[dim] = length
            if key == "unbind.int":
                del shape[dim]
                attributes["select"] = True
                made = self.writer.emit(
                    "slice", torch.select, (x, dim, start), (x,), tuple(shape), attributes
                )
            else:
                arguments = (x, dim, start, length)
                made = self.writer.emit("slice", torch.narrow, arguments, (x,), tuple(shape), attributes)
            found[index] = made
        return found  # type: ignore[return-value]

    def _alias(self, node: fx.Node, call: Call) -> Any:
        source = call.arguments["self"]
        if source.meta["val"].dtype != node.meta["val"].dtype:
            raise Unsupported(f"a change of type from {source.meta['val'].dtype} to {node.meta['val'].dtype}")
        if call.shapes["self"] != call.result:
            raise Unsupported(f"an expansion of an activation from {call.shapes['self']} to {call.result}")
        return self.writer.value(source)

    def _size(self, node: fx.Node, key: str) -> Any:
        if key == "sym_size.int":
            return self.writer.graph.call_method(
                "size", tuple(self.writer.value(value) for value in node.args)
            )
        if isinstance(node.target, torch._ops.OpOverload):
            raise Unsupported("a Python number taken from a tensor")
        return self.writer.graph.call_function(node.target, fx.map_arg(node.args, self.writer.value))  # type: ignore[arg-type]

    def _stub(self, node: fx.Node) -> Any:
        """Stands for what could not be made, so that the walk finds the other faults too."""
        values = node.meta.get("val")
        many = isinstance(values, list | tuple)
        made = []
        for value in values if many else (values,):  # type: ignore[union-attr]
            stub = self.writer.graph.call_function(torch.neg, ())
            if isinstance(value, torch.Tensor):
                self.writer.mark(stub, self.writer.unique(node.name), shape_at_batch_one(value))
            made.append(stub)
        return made if many else made[0]

    def _refuse_positions(self, node: fx.Node) -> None:
        if any(user.args[1] != 0 for user in node.users if user in self.live):
            raise Unsupported("the positions of the maxima are read too")

    def _note_sources(self, made: fx.Node, call: Call, weights: Mapping[str, str]) -> None:
        for role, name in weights.items():
            if name in call.shapes:
                self.writer.reads(made, role, call.arguments[name])

    def _parameters(self, call: Call, weights: Mapping[str, str]) -> dict[str, tuple[int, ...]]:
        return {role: call.shapes[name] for role, name in weights.items() if name in call.shapes}


def _writes_static(node: fx.Node, roles: Mapping[fx.Node, Role]) -> bool:
    """An in-place operator on a parameter or buffer."""
    if not isinstance(node.target, torch._ops.OpOverload) or not node.target._schema.is_mutable:
        return False
    first = node.args[0] if node.args else None
    while isinstance(first, fx.Node) and first.op != "placeholder" and first.args and _is_view(first):
        first = first.args[0]
    return isinstance(first, fx.Node) and first.op == "placeholder" and roles[first] == "static"


def _is_view(node: fx.Node) -> bool:
    target = node.target
    return isinstance(target, torch._ops.OpOverload) and target.is_view


def _line(node: fx.Node) -> str:
    """The innermost source line outside torch that made this call, or ""."""
    found = re.findall(r'File "([^"]+)", line (\d+), in (\w+)', node.meta.get("stack_trace") or "")
    own = [(file, line) for file, line, _ in found if "/torch/" not in file and file[0] != "<"]
    return f"{own[-1][0].rsplit('/', 1)[-1]}:{own[-1][1]}" if own else ""
