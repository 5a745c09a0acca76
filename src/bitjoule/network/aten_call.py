"""One exported aten call: its name, its arguments by schema name, its shapes at batch 1."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import fx

__all__ = [
    "Call",
    "Unsupported",
    "call_of",
    "is_fixed",
    "is_index",
    "key_of",
    "nested_graph",
    "shape_at_batch_one",
]


class Unsupported(Exception):
    """An operator, or a use of one, that the Graph cannot describe; the text is the reason."""


@dataclass(frozen=True)
class Call:
    """One aten call: its arguments by schema name, and its shapes at batch 1.

    `keeps_first`: the first size of the result is that of the first tensor, for any batch.
    """

    arguments: Mapping[str, Any]
    shapes: Mapping[str, tuple[int, ...]]
    result: tuple[int, ...]
    keeps_first: bool

    def tuple_of(self, name: str, length: int) -> tuple[int, ...]:
        """Argument `name` as `length` integers; one integer is repeated."""
        value = self.arguments[name]
        numbers = (value,) if isinstance(value, int) else tuple(value)
        numbers = numbers * length if len(numbers) == 1 else numbers
        if len(numbers) != length or not all(type(number) is int for number in numbers):
            raise Unsupported(f"{name}={value} must be {length} integers that do not depend on the batch")
        return numbers

    def dim(self, name: str, source: str = "self") -> int:
        """Dimension argument `name`, counted from the front."""
        return int(self.arguments[name]) % len(self.shapes[source])


def is_fixed(size: int | torch.SymInt) -> bool:
    """True when a size is the same for every batch."""
    return isinstance(size, int) or not size.node.expr.free_symbols


def is_index(value: torch.Tensor) -> bool:
    """True for integers and booleans: row numbers or choices, which no Format holds."""
    return not (value.is_floating_point() or value.is_complex())


def shape_at_batch_one(value: torch.Tensor) -> tuple[int, ...]:
    """The shape of an exported value with every symbol (they are all the batch) set to 1."""
    shape = []
    for size in value.shape:
        expression = None if isinstance(size, int) else size.node.expr
        shape.append(
            size if expression is None else int(expression.subs(dict.fromkeys(expression.free_symbols, 1)))
        )
    return tuple(shape)


def key_of(node: fx.Node) -> str:
    """`aten.relu_.default` -> `relu.default`; anything that is no aten overload -> its own name."""
    target = node.target
    if not isinstance(target, torch._ops.OpOverload) or target.namespace != "aten":
        return getattr(target, "__name__", str(target))
    name = target._schema.name.removeprefix("aten::")
    return f"{name.removesuffix('_')}.{target._overloadname}"


def call_of(node: fx.Node) -> Call:
    """The arguments of an exported aten call by name, defaults filled in."""
    schema = cast(torch._ops.OpOverload, node.target)._schema
    arguments = {}
    for index, argument in enumerate(schema.arguments):
        if index < len(node.args):
            arguments[argument.name] = node.args[index]
        else:
            arguments[argument.name] = node.kwargs.get(argument.name, argument.default_value)
    shapes = {
        name: shape_at_batch_one(value.meta["val"])
        for name, value in arguments.items()
        if isinstance(value, fx.Node) and isinstance(value.meta.get("val"), torch.Tensor)
    }
    value = node.meta["val"]
    if isinstance(value, tuple) and isinstance(value[0], torch.Tensor):
        value = value[0]  # the maxima of a pool that also gives their positions
    if not isinstance(value, torch.Tensor):
        return Call(arguments, shapes, (), False)
    source = next((item for item in node.all_input_nodes if item.meta.get("val") is not None), None)
    before = source.meta["val"].shape[:1] if source and isinstance(source.meta["val"], torch.Tensor) else ()
    return Call(arguments, shapes, shape_at_batch_one(value), str(before) == str(value.shape[:1]))


def nested_graph(target: torch._ops.HigherOrderOperator) -> str:
    """Why a call that runs graphs of its own (`torch.cond`, `while_loop`, `torch.no_grad` in forward) is no
    node of the Graph, and what to write instead.

    >>> nested_graph(torch.ops.higher_order.cond)[:43]
    'the values of a tensor decide what runs, an'
    """
    name = str(target.name())  # type: ignore[no-untyped-call]
    if name in ("cond", "while_loop"):
        return (
            "the values of a tensor decide what runs, and a captured network is one fixed graph; write the "
            "choice as arithmetic (relu, clamp, a product), or capture each side alone"
        )
    if "grad" in name:
        return "a part of forward runs under torch.no_grad or torch.enable_grad; leave that to the caller"
    return "it runs a graph of its own; write that out in forward as tensor operations"
