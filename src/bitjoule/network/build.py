"""From an exported program to the trainable fx graph and the Graph that describes it.

Both are made in one walk: every Graph node is exactly one fx node, whose `meta["bitjoule"]` is its name. Fx
nodes without that mark compute on parameters only (a transposed weight) or on sizes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind
from torch.nn import functional as F
from torch.utils import _pytree as pytree

from bitjoule.network.captured_module import CapturedModule, FunctionalBatchNorm
from bitjoule.network.expansions import (
    ALIASES,
    EXPANSIONS,
    SPLITS,
    linear_of_activations,
    split_bounds,
)
from bitjoule.network.operators import RULES, Call, Rule, Unsupported, call_of, key_of, shape_at_batch_one
from bitjoule.network.regroup import LeafCall, Role, leaf_calls, module_path, roles_of
from bitjoule.workload.graph import Attribute, Graph, Node, Tensor

__all__ = ["MARK", "Built", "UnsupportedCall", "build"]

MARK = "bitjoule"
"""Key of fx `Node.meta` under which the name of the Graph node (or network input) stands."""


@dataclass(frozen=True)
class UnsupportedCall:
    """Something the Graph cannot hold: where, what, why, and the source line if known."""

    module: str
    operator: str
    reason: str
    line: str


@dataclass(frozen=True)
class Built:
    """What `build` makes: the two graphs, or the complete list of what stands in the way."""

    module: CapturedModule | None
    graph: Graph | None
    unsupported: tuple[UnsupportedCall, ...]


def build(program: ExportedProgram, model: nn.Module, name: str, *, training: bool) -> Built:
    """Regroup `program` over the modules of `model`, which it takes over.

    `training`: the program was exported in training mode, so active dropout follows train() and eval().
    """
    return _Builder(program, model, name, training).build()


class _Builder:
    """The state of one walk; implements `expansions.Emitter`."""

    def __init__(self, program: ExportedProgram, model: nn.Module, name: str, training: bool) -> None:
        self.program, self.model, self.name, self.training = program, model, name, training
        self.source = program.graph
        signature = program.graph_signature
        self.targets = {spec.arg.name: spec for spec in signature.input_specs}
        self.input_names = tuple(
            spec.arg.name for spec in signature.input_specs if spec.kind == InputKind.USER_INPUT
        )
        self.roles: dict[fx.Node, Role] = roles_of(self.source, frozenset(self.input_names))
        self.leaves, self.covered = leaf_calls(self.source, model, self.roles)
        self.live = self._live()
        self.result = fx.Graph()
        self.env: dict[fx.Node, Any] = {}
        self.constants: dict[fx.Node, fx.Node] = {}
        self.shapes: dict[fx.Node, tuple[int, ...]] = {}
        self.nodes: list[Node] = []
        self.tensors: dict[str, Tensor] = {}
        self.names: set[str] = set()
        self.module_calls: Counter[str] = Counter()
        self.owner = ""
        self.failures: list[UnsupportedCall] = []
        self.folders: dict[str, str] = {}

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
        for node in reversed(self.result.nodes):
            if node.op.startswith(("get_attr", "call_")) and not node.users and MARK not in node.meta:
                self.result.erase_node(node)
        graph = Graph(
            name=self.name,
            inputs=tuple(node.meta[MARK] for node in inputs),
            outputs=outputs,
            nodes=tuple(self.nodes),
            tensors=self.tensors,
        )
        return Built(CapturedModule(self.model, self.result), graph, ())

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
        made = self.result.placeholder(node.name)
        self.env[node] = made
        self.names.add(node.name)
        self._mark(made, node.name, shape_at_batch_one(node.meta["val"]))
        return made

    def _output(self, node: fx.Node) -> tuple[str, ...]:
        values = [self.value(value) for value in node.args[0]]  # type: ignore[union-attr]
        if self.failures:
            return ()
        spec = self.program.call_spec.out_spec
        assert spec is not None
        self.result.output(pytree.tree_unflatten(values, spec))
        marked = [value for value in values if isinstance(value, fx.Node) and MARK in value.meta]
        return tuple(value.meta[MARK] for value in marked)

    def _visit(self, node: fx.Node) -> None:
        role, key = self.roles[node], key_of(node)
        self.owner = module_path(node)
        try:
            if node in self.leaves:
                self.env[node] = self._leaf(self.leaves[node], key)
            elif node in self.covered or role == "effect":
                return
            elif role == "shape":
                self.env[node] = self._size(node, key)
            elif _writes_static(node, self.roles):
                raise Unsupported("it changes a parameter or buffer in place during forward")
            elif role == "static":
                self.env[node] = self._static(node)
            else:
                self.env[node] = self._activation(node, key)
        except Unsupported as problem:
            shown = str(node.target) if "." in str(node.target) else key
            self.failures.append(UnsupportedCall(self.owner, shown, str(problem), _line(node)))
            self.env[node] = self._stub(node)

    def _activation(self, node: fx.Node, key: str) -> Any:
        if key == "getitem":
            return self.env[node.args[0]][node.args[1]]  # type: ignore[index]
        if not isinstance(node.target, torch._ops.OpOverload):
            raise Unsupported("")
        call = call_of(node)
        if key in SPLITS:
            return self._split(node, key, call)
        if key in ALIASES:
            return self._alias(node, call)
        if key == "slice.Tensor" and call.result == call.shapes["self"] and call.arguments["step"] == 1:
            return self.value(call.arguments["self"])
        if key == "linear.default" and not self.is_static(call.arguments["weight"]):
            return linear_of_activations(self, call)
        if key in EXPANSIONS:
            return EXPANSIONS[key](self, call)
        if key in RULES:
            return self._rule(RULES[key], call)
        raise Unsupported("")

    # --- kinds of nodes ----------------------------------------------------------------------

    def _leaf(self, leaf: LeafCall, key: str) -> fx.Node:
        """One call of a torch.nn module."""
        self.owner = leaf.path
        module = self.model.get_submodule(leaf.path)
        call = call_of(leaf.core)
        attributes: dict[str, Attribute]
        weights: Mapping[str, str] = {}
        if key in ("dropout.default", "feature_dropout.default"):
            op, attributes = "dropout", {"p": float(call.arguments["p"])}
        elif key in RULES:
            op, attributes = RULES[key].describe(call)
            weights = RULES[key].weights
        else:
            raise Unsupported("")
        count = self.module_calls[leaf.path]
        self.module_calls[leaf.path] += 1
        name = self._unique(f"{leaf.path}@{count}" if count else leaf.path)
        x = self.operand(leaf.source)
        made = self.result.call_module(leaf.path, (x,))
        if isinstance(getattr(module, "inplace", None), bool):
            module.inplace = False  # type: ignore[assignment]
        self._describe(made, name, op, (x,), call.result, attributes, self._parameters(call, weights))
        return made

    def _rule(self, rule: Rule, call: Call) -> fx.Node:
        """One functional call that is one Graph node."""
        for name in (*rule.weights.values(), "running_mean", "running_var"):
            value = call.arguments.get(name)
            if isinstance(value, fx.Node) and not self.is_static(value):
                raise Unsupported(f"its {name} is computed from the input")
        op, attributes = rule.describe(call)
        operands = {name: self.operand(call.arguments[name]) for name in rule.operands}
        arguments = tuple(
            operands[name] if name in operands else self.value(call.arguments[name]) for name in rule.passed
        )
        parameters = self._parameters(call, rule.weights)
        if op == "batch_norm" and call.arguments["training"] and self.training:
            return self._functional_batch_norm(call, operands["input"], attributes, parameters)
        return self.emit(
            op, rule.function, arguments, tuple(operands.values()), call.result, attributes, parameters
        )

    def _functional_batch_norm(
        self,
        call: Call,
        x: fx.Node,
        attributes: Mapping[str, Attribute],
        parameters: Mapping[str, tuple[int, ...]],
    ) -> fx.Node:
        momentum, eps = float(call.arguments["momentum"]), float(call.arguments["eps"])
        name = self._unique(self._path("batch_norm"))
        target = self._add_module(name, FunctionalBatchNorm(momentum, eps))
        roles = ("weight", "bias", "running_mean", "running_var")
        rest = tuple(self.value(call.arguments[role]) for role in roles)
        made = self.result.call_module(target, (x, *rest))
        self._describe(made, name, "batch_norm", (x,), call.result, attributes, parameters)
        return made

    def _split(self, node: fx.Node, key: str, call: Call) -> dict[int, fx.Node]:
        """Each used result of a split, as a slice."""
        x = self.operand(call.arguments["self"])
        dim, bounds = split_bounds(key, call, len(node.meta["val"]))
        found = {}
        used = sorted({user.args[1] for user in node.users if user in self.live})  # type: ignore[type-var]
        for index in used:
            start, length = bounds[index]  # type: ignore[index]
            attributes: dict[str, Attribute] = {"dim": dim, "start": start, "end": start + length, "step": 1}
            shape = list(self.shape(x))
            shape[dim] = length
            if key == "unbind.int":
                del shape[dim]
                attributes["select"] = True
                made = self.emit("slice", torch.select, (x, dim, start), (x,), tuple(shape), attributes)
            else:
                arguments = (x, dim, start, length)
                made = self.emit("slice", torch.narrow, arguments, (x,), tuple(shape), attributes)
            found[index] = made
        return found  # type: ignore[return-value]

    def _alias(self, node: fx.Node, call: Call) -> Any:
        source = call.arguments["self"]
        if source.meta["val"].dtype != node.meta["val"].dtype:
            raise Unsupported(f"a change of type from {source.meta['val'].dtype} to {node.meta['val'].dtype}")
        if call.shapes["self"] != call.result:
            raise Unsupported(f"an expansion of an activation from {call.shapes['self']} to {call.result}")
        return self.value(source)

    def _static(self, node: fx.Node) -> Any:
        """A value made of parameters only: the same aten call again; without parameters, a constant."""
        if not callable(node.target):
            raise Unsupported("")
        if isinstance(node.target, torch._ops.OpOverload):
            if torch.Tag.nondeterministic_seeded in node.target.tags:
                raise Unsupported("random numbers in forward")
        elif key_of(node) != "getitem":
            raise Unsupported("")
        if self._fixed(node):
            return self._constant_value(self._evaluate(node))
        arguments = fx.map_arg(node.args, self.value)
        keywords = fx.map_arg(node.kwargs, self.value)
        return self.result.call_function(node.target, arguments, dict(keywords))

    def _size(self, node: fx.Node, key: str) -> Any:
        if key == "sym_size.int":
            return self.result.call_method("size", tuple(self.value(value) for value in node.args))
        if isinstance(node.target, torch._ops.OpOverload):
            raise Unsupported("a Python number taken from a tensor")
        return self.result.call_function(node.target, fx.map_arg(node.args, self.value))  # type: ignore[arg-type]

    def _stub(self, node: fx.Node) -> Any:
        """Stands for what could not be made, so that the walk finds the other faults too."""
        values = node.meta.get("val")
        many = isinstance(values, list | tuple)
        made = []
        for value in values if many else (values,):  # type: ignore[union-attr]
            stub = self.result.call_function(torch.neg, ())
            if isinstance(value, torch.Tensor):
                self._mark(stub, self._unique(node.name), shape_at_batch_one(value))
            made.append(stub)
        return made if many else made[0]

    # --- constants without parameters ----------------------------------------------------------

    def _fixed(self, node: fx.Node) -> bool:
        """True when a static value depends on no parameter, buffer or size."""
        if node.op == "placeholder":
            return bool(self.targets[node.name].kind == InputKind.CONSTANT_TENSOR)
        return self.roles[node] == "static" and all(self._fixed(source) for source in node.all_input_nodes)

    def _evaluate(self, node: fx.Node) -> torch.Tensor:
        if node.op == "placeholder":
            value = self.program.constants[str(self.targets[node.name].target)]
        else:
            arguments = fx.map_arg(node.args, self._evaluate)
            keywords = fx.map_arg(node.kwargs, self._evaluate)
            with torch.no_grad():
                value = node.target(*arguments, **keywords)  # type: ignore[operator]
        return value  # type: ignore[no-any-return]

    def _constant_value(self, tensor: torch.Tensor) -> fx.Node:
        folder = self.model.get_submodule(self._folder("constants"))
        name = f"c{len(folder._buffers)}"
        folder.register_buffer(name, tensor.detach().clone(), persistent=False)
        return self.result.get_attr(f"{self.folders['constants']}.{name}")

    # --- Emitter -------------------------------------------------------------------------------

    def is_static(self, value: Any) -> bool:
        return isinstance(value, fx.Node) and self.roles[value] == "static"

    def value(self, value: Any) -> Any:
        if isinstance(value, list | tuple):
            return [self.value(item) for item in value]
        if not isinstance(value, fx.Node):
            return value
        if value not in self.env:
            if value.op != "placeholder":
                raise Unsupported(f"it reads the inside of module {module_path(value)!r}")
            spec = self.targets[value.name]
            if spec.kind == InputKind.CONSTANT_TENSOR:
                self.env[value] = self._constant_value(self._evaluate(value))
            else:
                self.env[value] = self.result.get_attr(str(spec.target))
        return self.env[value]

    def operand(self, value: Any) -> fx.Node:
        made = value if isinstance(value, fx.Node) and value.graph is self.result else self.value(value)
        if not isinstance(made, fx.Node):
            raise Unsupported(f"an operand {made!r} that is no tensor")
        if MARK in made.meta:
            return made
        if made not in self.constants:
            shape = self._static_shape(value, made)
            name = str(made.target) if made.op == "get_attr" else self._path("constant")
            if made.op == "get_attr":
                copied = self.result.get_attr(str(made.target))
            else:
                copied = self.result.call_function(torch.ops.aten.alias.default, (made,))
            self._describe(copied, self._unique(name), "constant", (), shape, {}, {"value": shape})
            self.constants[made] = copied
        return self.constants[made]

    def _static_shape(self, value: Any, made: fx.Node) -> tuple[int, ...]:
        if isinstance(value, fx.Node) and isinstance(value.meta.get("val"), torch.Tensor):
            return shape_at_batch_one(value.meta["val"])
        if isinstance(value, fx.Node) and made in self.shapes:
            return self.shapes[made]
        raise Unsupported("arithmetic with the batch size")

    def constant(self, tensor: torch.Tensor) -> fx.Node:
        made = self._constant_value(tensor)
        self.shapes[made] = tuple(tensor.shape)
        return self.operand(made)

    def shape(self, node: fx.Node) -> tuple[int, ...]:
        return self.shapes[node]

    def emit(
        self,
        op: str,
        function: Callable[..., Any],
        arguments: tuple[Any, ...],
        operands: tuple[fx.Node, ...],
        shape: tuple[int, ...],
        attributes: Mapping[str, Attribute] | None = None,
        parameters: Mapping[str, tuple[int, ...]] | None = None,
    ) -> fx.Node:
        made = self.result.call_function(function, arguments)
        name = self._unique(self._path(op))
        self._describe(made, name, op, operands, shape, attributes or {}, parameters or {})
        return made

    def compute(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> fx.Node:
        return self.result.call_function(function, arguments)

    def dropout(self, x: fx.Node, probability: float, active: bool) -> fx.Node:
        if not active:
            return x
        attributes = {"p": probability}
        if not self.training:
            return self.emit("dropout", F.dropout, (x, probability, True), (x,), self.shape(x), attributes)
        name = self._unique(self._path("dropout"))
        made = self.result.call_module(self._add_module(name, nn.Dropout(probability)), (x,))
        self._describe(made, name, "dropout", (x,), self.shape(x), attributes, {})
        return made

    # --- names and marks -----------------------------------------------------------------------

    def _describe(
        self,
        made: fx.Node,
        name: str,
        op: str,
        operands: tuple[fx.Node, ...],
        shape: tuple[int, ...],
        attributes: Mapping[str, Attribute],
        parameters: Mapping[str, tuple[int, ...]],
    ) -> None:
        inputs = tuple(operand.meta[MARK] for operand in operands)
        self.nodes.append(Node(name, op, inputs, name, dict(attributes), dict(parameters), self.owner))
        self._mark(made, name, shape)

    def _mark(self, made: fx.Node, name: str, shape: tuple[int, ...]) -> None:
        made.meta[MARK] = name
        self.shapes[made] = shape
        self.tensors[name] = Tensor(name, shape)

    def _parameters(self, call: Call, weights: Mapping[str, str]) -> dict[str, tuple[int, ...]]:
        return {role: call.shapes[name] for role, name in weights.items() if name in call.shapes}

    def _path(self, op: str) -> str:
        return f"{self.owner}.{op}" if self.owner else op

    def _unique(self, name: str) -> str:
        unique, count = name, 0
        while unique in self.names:
            count += 1
            unique = f"{name}_{count}"
        self.names.add(unique)
        return unique

    def _folder(self, kind: str) -> str:
        """A top-level module for what the capture itself adds; the model's own names go first."""
        if kind not in self.folders:
            name = kind
            while hasattr(self.model, name):
                name += "_"
            self.model.add_module(name, nn.Module())
            self.folders[kind] = name
        return self.folders[kind]

    def _add_module(self, name: str, module: nn.Module) -> str:
        folder = self._folder("functional")
        key = re.sub(r"\W", "_", name)
        self.model.get_submodule(folder).add_module(key, module.train(self.training))
        return f"{folder}.{key}"


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
    own = [(file, line) for file, line, _ in found if "/torch/" not in file]
    return f"{own[-1][0].rsplit('/', 1)[-1]}:{own[-1][1]}" if own else ""
