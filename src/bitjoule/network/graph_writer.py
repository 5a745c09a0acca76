"""Writes the new fx graph and the Graph side by side, and brings values over from the exported program."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import fx, nn
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind

from bitjoule.network.aten_call import Unsupported, key_of, shape_at_batch_one
from bitjoule.network.regroup import Role, module_path
from bitjoule.workload.graph import NO_OPS, TRANSPARENT, Attribute, Node, Tensor

__all__ = ["MARK", "GraphWriter"]

MARK = "bitjoule"
"""Key of fx `Node.meta` under which the name of the Graph node (or network input) stands."""

LAYOUTS = frozenset(
    {"t.default", "numpy_T.default", "mT.default", "transpose.int", "permute.default", "view.default"}
    | {"reshape.default", "flatten.using_ints", "unsqueeze.default", "squeeze.dim", "squeeze.default"}
    | {"alias.default", "detach.default", "clone.default", "contiguous.default"}
)
"""Operators behind which a parameter holds the same values in the same or another order."""


class GraphWriter:
    """What is written so far, and how exported values are called there.

    `owner` is the path of the module whose call is being written; new nodes are named after it.
    """

    def __init__(
        self, program: ExportedProgram, model: nn.Module, roles: Mapping[fx.Node, Role], training: bool
    ) -> None:
        self.program, self.model, self.roles, self.training = program, model, roles, training
        self.specs = {spec.arg.name: spec for spec in program.graph_signature.input_specs}
        self.graph = fx.Graph()
        self.env: dict[fx.Node, Any] = {}
        self.nodes: list[Node] = []
        self.tensors: dict[str, Tensor] = {}
        self.sources: dict[tuple[str, str], str] = {}
        self.owner = ""
        self._paths: dict[int, str] = {}
        for path, tensor in (
            *model.named_parameters(remove_duplicate=False),
            *model.named_buffers(remove_duplicate=False),
        ):
            self._paths.setdefault(id(tensor), path)
        self._shapes: dict[fx.Node, tuple[int, ...]] = {}
        self._constants: dict[fx.Node, fx.Node] = {}
        self._names: set[str] = set()
        self._folders: dict[str, str] = {}

    def is_static(self, value: Any) -> bool:
        """True for a tensor that depends on parameters only."""
        return isinstance(value, fx.Node) and self.roles[value] == "static"

    def value(self, value: Any) -> Any:
        """The new graph's counterpart of an argument: a node, a number, a list of them."""
        if isinstance(value, list | tuple):
            return [self.value(item) for item in value]
        if not isinstance(value, fx.Node):
            return value
        if value not in self.env:
            if value.op != "placeholder":
                raise Unsupported(f"it reads the inside of module {module_path(value)!r}")
            spec = self.specs[value.name]
            if spec.kind == InputKind.CONSTANT_TENSOR:
                self.env[value] = self.constant_value(self._evaluate(value))
            else:
                self.env[value] = self.graph.get_attr(str(spec.target))
        return self.env[value]

    def operand(self, value: Any) -> fx.Node:
        """The counterpart of an activation operand; a parameter becomes a `constant` node."""
        made = value if isinstance(value, fx.Node) and value.graph is self.graph else self.value(value)
        if not isinstance(made, fx.Node):
            raise Unsupported(f"an operand {made!r} that is no tensor")
        if MARK in made.meta:
            return made
        if made not in self._constants:
            shape = self._static_shape(value, made)
            name = str(made.target) if made.op == "get_attr" else self.path("constant")
            if made.op == "get_attr":
                copied = self.graph.get_attr(str(made.target))
            else:
                copied = self.graph.call_function(torch.ops.aten.alias.default, (made,))
            self.describe(copied, self.unique(name), "constant", (), shape, {}, {"value": shape})
            if isinstance(value, fx.Node) and value.graph is not self.graph:
                self.reads(copied, "value", value)
            self._constants[made] = copied
        return self._constants[made]

    def reads(self, made: fx.Node, role: str, value: fx.Node) -> None:
        """Note which parameter the Graph node of `made` reads as `role`; `value` is an exported node."""
        self.sources[made.meta[MARK], role] = self._source(value)

    def _source(self, value: fx.Node) -> str:
        """One text for one set of values: the parameter's path, whatever name or layout it is read by."""
        if value.op == "placeholder":
            target = str(self.specs[value.name].target)
            owner, _, name = target.rpartition(".")
            try:
                return self._paths[id(getattr(self.model.get_submodule(owner), name))]
            except (AttributeError, KeyError):
                return target
        key = key_of(value)
        if key in LAYOUTS and isinstance(value.args[0], fx.Node):
            return self._source(value.args[0])
        told = [repr(fx.map_arg(item, self._source)) for item in (value.args, dict(value.kwargs))]
        return f"{key}{''.join(told)}"

    def constant(self, tensor: torch.Tensor) -> fx.Node:
        """A `constant` node that holds `tensor`."""
        made = self.constant_value(tensor)
        self._shapes[made] = tuple(tensor.shape)
        return self.operand(made)

    def shape(self, node: fx.Node) -> tuple[int, ...]:
        """Shape of a new activation at batch 1."""
        return self._shapes[node]

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
        """A new call that is one Graph node."""
        made = self.graph.call_function(function, arguments)
        name = self.unique(self.path(op))
        self.describe(made, name, op, operands, shape, attributes or {}, parameters or {})
        return made

    def compute(
        self, function: Callable[..., Any], arguments: tuple[Any, ...], shape: tuple[int, ...]
    ) -> fx.Node:
        """A new call on parameters only: no Graph node."""
        made = self.graph.call_function(function, arguments)
        self._shapes[made] = shape
        return made

    def dropout(self, x: fx.Node, probability: float, active: bool, *, channels: bool = False) -> fx.Node:
        """Dropout that is on while the network trains (`active`: as captured).

        `channels`: whole channels are dropped, as F.dropout1d and F.dropout2d do.
        """
        if not active:
            return x
        if not self.training:
            raise Unsupported(
                "random numbers in forward: this dropout is on in evaluation too; "
                "write F.dropout(x, p, self.training) or use torch.nn.Dropout"
            )
        kinds = {3: nn.Dropout1d, 4: nn.Dropout2d} if channels else {len(self.shape(x)): nn.Dropout}
        if len(self.shape(x)) not in kinds:
            raise Unsupported(f"dropout of whole channels on shape {self.shape(x)}")
        attributes = {"p": probability}
        name = self.unique(self.path("dropout"))
        module = kinds[len(self.shape(x))](probability)
        made = self.graph.call_module(self.add_module(name, module), (x,))
        self.describe(made, name, "dropout", (x,), self.shape(x), attributes, {})
        return made

    # --- parameters and constants -----------------------------------------------------------

    def static(self, node: fx.Node) -> Any:
        """A value made of parameters only: the same aten call again; without parameters, a constant."""
        if not callable(node.target):
            raise Unsupported("")
        if isinstance(node.target, torch._ops.OpOverload):
            if torch.Tag.nondeterministic_seeded in node.target.tags:
                raise Unsupported("random numbers in forward")
        elif key_of(node) != "getitem":
            raise Unsupported("")
        if self._fixed(node):
            return self.constant_value(self._evaluate(node))
        arguments = fx.map_arg(node.args, self.value)
        keywords = fx.map_arg(node.kwargs, self.value)
        return self.graph.call_function(node.target, arguments, dict(keywords))

    def _fixed(self, node: fx.Node) -> bool:
        """True when a static value depends on no parameter, buffer or size."""
        if node.op == "placeholder":
            return bool(self.specs[node.name].kind == InputKind.CONSTANT_TENSOR)
        return self.roles[node] == "static" and all(self._fixed(source) for source in node.all_input_nodes)

    def _evaluate(self, node: fx.Node) -> torch.Tensor:
        if node.op == "placeholder":
            value = self.program.constants[str(self.specs[node.name].target)]
        else:
            arguments = fx.map_arg(node.args, self._evaluate)
            keywords = fx.map_arg(node.kwargs, self._evaluate)
            with torch.no_grad():
                value = node.target(*arguments, **keywords)  # type: ignore[operator]
        return value  # type: ignore[no-any-return]

    def constant_value(self, tensor: torch.Tensor) -> fx.Node:
        """A tensor as a buffer outside the state dict."""
        folder = self.model.get_submodule(self._folder("constants"))
        name = f"c{len(folder._buffers)}"
        folder.register_buffer(name, tensor.detach().clone(), persistent=False)
        return self.graph.get_attr(f"{self._folders['constants']}.{name}")

    def _static_shape(self, value: Any, made: fx.Node) -> tuple[int, ...]:
        if made in self._shapes:
            return self._shapes[made]
        if isinstance(value, fx.Node) and isinstance(value.meta.get("val"), torch.Tensor):
            return shape_at_batch_one(value.meta["val"])
        raise Unsupported("arithmetic with the batch size")

    # --- names and marks ----------------------------------------------------------------------

    def describe(
        self,
        made: fx.Node,
        name: str,
        op: str,
        operands: tuple[fx.Node, ...],
        shape: tuple[int, ...],
        attributes: Mapping[str, Attribute],
        parameters: Mapping[str, tuple[int, ...]],
    ) -> None:
        """The Graph node of a new call.

        Row numbers may be moved, and read by an embedding; anything else would compute on them.
        """
        inputs = tuple(operand.meta[MARK] for operand in operands)
        index = any(self.tensors[tensor].index for tensor in inputs)
        if index and op not in TRANSPARENT | NO_OPS | {"embedding"}:
            raise Unsupported("it computes on integers or booleans; only an embedding may read them")
        self.nodes.append(Node(name, op, inputs, name, dict(attributes), dict(parameters), self.owner))
        self.mark(made, name, shape, index=index and op != "embedding")

    def mark(self, made: fx.Node, name: str, shape: tuple[int, ...], *, index: bool = False) -> None:
        """Give a new value its name and shape."""
        made.meta[MARK] = name
        self._shapes[made] = shape
        self.tensors[name] = Tensor(name, shape, index)

    def path(self, op: str) -> str:
        """Name of an operator of the module being written."""
        return f"{self.owner}.{op}" if self.owner else op

    def unique(self, name: str) -> str:
        """`name`, or with `_1`, `_2`, ... if it is taken."""
        unique, count = name, 0
        while unique in self._names:
            count += 1
            unique = f"{name}_{count}"
        self._names.add(unique)
        return unique

    def add_module(self, name: str, module: nn.Module) -> str:
        """Register a module that the capture adds; return its path."""
        folder = self._folder("functional")
        key = re.sub(r"\W", "_", name)
        self.model.get_submodule(folder).add_module(key, module.train(self.training))
        return f"{folder}.{key}"

    def _folder(self, kind: str) -> str:
        """A top-level module for what the capture itself adds; the model's own names go first."""
        if kind not in self._folders:
            name = kind
            while hasattr(self.model, name):
                name += "_"
            self.model.add_module(name, nn.Module())
            self._folders[kind] = name
        return self._folders[kind]
