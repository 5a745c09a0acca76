"""What each aten operator is in the Graph: its name there, its attributes, its weights.

One table, `RULES`, keyed by the aten overload without namespace and in-place underscore (`relu_.default` and
`relu.default` are one). Operators that become several Graph nodes stand in `expansions.py`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import fx
from torch.nn import functional as F

from bitjoule.workload.graph import Attribute

__all__ = ["RULES", "Call", "Rule", "Unsupported", "call_of", "key_of", "shape_at_batch_one"]

Attributes = dict[str, Attribute]
Description = tuple[str, Attributes]


class Unsupported(Exception):
    """An operator, or a use of one, that the Graph cannot describe; the text is the reason."""


@dataclass(frozen=True)
class Call:
    """One aten call: its arguments by schema name, and its shapes at batch 1."""

    arguments: Mapping[str, Any]
    shapes: Mapping[str, tuple[int, ...]]
    result: tuple[int, ...]

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


@dataclass(frozen=True)
class Rule:
    """How one aten operator is described and called again.

    `passed`: schema arguments handed to `function` in order; `operands`: those that are activations;
    `weights`: Graph role and schema argument of the parameters.
    """

    describe: Callable[[Call], Description]
    function: Callable[..., Any]
    passed: tuple[str, ...]
    operands: tuple[str, ...] = ("self",)
    weights: Mapping[str, str] = field(default_factory=dict)


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
    return Call(arguments, shapes, shape_at_batch_one(value) if isinstance(value, torch.Tensor) else ())


def _plain(op: str, **renamed: str) -> Callable[[Call], Description]:
    """An operator without attributes, or with schema arguments under the Graph's names."""

    def describe(call: Call) -> Description:
        return op, {key: call.arguments[name] for key, name in renamed.items()}

    return describe


def _convolution(spatial: int, *, transposed: bool = False) -> Callable[[Call], Description]:
    def describe(call: Call) -> Description:
        source, weight = call.shapes["input"], call.shapes["weight"]
        if len(source) != spatial + 2:
            raise Unsupported(f"an input without batch dimension, shape {source}")
        kernel = weight[2:]
        dilation = call.tuple_of("dilation", spatial)
        if isinstance(padding := call.arguments["padding"], str):
            total = [0 if padding == "valid" else d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
            before = tuple(t // 2 for t in total)
            after = tuple(t - b for t, b in zip(total, before, strict=True))
        else:
            before = after = call.tuple_of("padding", spatial)
        groups = int(call.arguments["groups"])
        attributes: Attributes = {
            "kernel": _rows_columns(kernel, 1),
            "stride": _rows_columns(call.tuple_of("stride", spatial), 1),
            "padding": _rows_columns(before, 0) + _rows_columns(after, 0),
            "dilation": _rows_columns(dilation, 1),
            "groups": groups,
            "in_channels": source[1],
            "out_channels": weight[1] * groups if transposed else weight[0],
            "transposed": transposed,
        }
        if transposed:
            attributes["output_padding"] = _rows_columns(call.tuple_of("output_padding", spatial), 0)
        return "conv", attributes

    return describe


def _rows_columns(numbers: tuple[int, ...], missing: int) -> tuple[int, ...]:
    """A 1-d operator works on one row: `(k,)` is `(1, k)`."""
    return (missing, *numbers) if len(numbers) == 1 else tuple(numbers)


def _linear(call: Call) -> Description:
    out_features, in_features = call.shapes["weight"]
    return "linear", {"in_features": in_features, "out_features": out_features}


def _batch_norm(call: Call) -> Description:
    return "batch_norm", {"features": call.shapes["input"][1], "eps": float(call.arguments["eps"])}


def _pool(op: str, spatial: int) -> Callable[[Call], Description]:
    def describe(call: Call) -> Description:
        kernel = call.tuple_of("kernel_size", spatial)
        stride = call.tuple_of("stride", spatial) if call.arguments["stride"] else kernel
        padding = _rows_columns(call.tuple_of("padding", spatial), 0)
        attributes: Attributes = {
            "kernel": _rows_columns(kernel, 1),
            "stride": _rows_columns(stride, 1),
            "padding": padding + padding,
            "ceil_mode": bool(call.arguments["ceil_mode"]),
        }
        if op == "max_pool":
            attributes["dilation"] = _rows_columns(call.tuple_of("dilation", spatial), 1)
        else:
            if call.arguments.get("divisor_override") is not None:
                raise Unsupported(f"divisor_override={call.arguments['divisor_override']}")
            attributes["count_include_pad"] = bool(call.arguments["count_include_pad"])
        return op, attributes

    return describe


def _adaptive(op: str, spatial: int) -> Callable[[Call], Description]:
    def describe(call: Call) -> Description:
        source, result = call.shapes["self"][-spatial:], call.result[-spatial:]
        if op == "avg_pool" and all(size == 1 for size in result):
            return "global_avg_pool", {"keepdim": True}
        if any(size % goal for size, goal in zip(source, result, strict=True)):
            raise Unsupported(f"an adaptive pool from {source} to {result}: windows of unequal size")
        kernel = tuple(size // goal for size, goal in zip(source, result, strict=True))
        kernel = _rows_columns(kernel, 1)
        return op, {"kernel": kernel, "stride": kernel, "padding": (0, 0, 0, 0), "ceil_mode": False}

    return describe


def _mean(call: Call) -> Description:
    rank = len(call.shapes["self"])
    chosen = call.arguments["dim"]
    listed = range(rank) if not chosen else (chosen,) if isinstance(chosen, int) else chosen
    dims = tuple(sorted(dim % rank for dim in listed))
    keepdim = bool(call.arguments["keepdim"])
    if call.arguments["dtype"] is not None:
        raise Unsupported(f"mean with dtype={call.arguments['dtype']}")
    if rank > 2 and dims == tuple(range(2, rank)):
        return "global_avg_pool", {"keepdim": keepdim}
    return "mean", {"dims": dims, "keepdim": keepdim}


def _clip(low: str, high: str) -> Callable[[Call], Description]:
    def describe(call: Call) -> Description:
        lowest, highest = call.arguments.get(low), call.arguments.get(high)
        if lowest == 0 and highest is None:
            return "relu", {}
        if lowest == 0 and highest == 6:
            return "relu6", {}
        if not isinstance(lowest, int | float) or not isinstance(highest, int | float):
            raise Unsupported(f"a clamp from {lowest} to {highest}; both ends must be numbers")
        return "hardtanh", {"min_value": float(lowest), "max_value": float(highest)}

    return describe


def _pad(call: Call) -> Description:
    if call.arguments.get("mode", "constant") != "constant":
        raise Unsupported(f"padding mode {call.arguments['mode']!r}; only constant padding is")
    pads = tuple(call.arguments["pad"])
    if not all(type(pad) is int for pad in pads):
        raise Unsupported(f"padding {pads} that depends on the batch")
    return "pad", {"pads": pads, "value": float(call.arguments["value"] or 0.0)}


def _reshape(call: Call) -> Description:
    source = call.shapes["self"]
    if len(call.result) == 2 < len(source) and source[0] == call.result[0]:
        return "flatten", {"start_dim": 1}
    return "reshape", {"shape": call.result}


def _transpose(call: Call) -> Description:
    dims = list(range(len(call.shapes["self"])))
    if "dims" in call.arguments:
        dims = [dim % len(dims) for dim in call.arguments["dims"]]
    elif dims:
        first, second = (call.dim("dim0"), call.dim("dim1")) if "dim0" in call.arguments else (-2, -1)
        dims[first], dims[second] = dims[second], dims[first]
    return "transpose", {"dims": tuple(dims)}


def _select(call: Call) -> Description:
    dim, index = call.dim("dim"), call.arguments["index"]
    if type(index) is not int:
        raise Unsupported("a selection whose index depends on the batch")
    start = index % call.shapes["self"][dim]
    return "slice", {"dim": dim, "start": start, "end": start + 1, "step": 1, "select": True}


def _slice(call: Call) -> Description:
    dim = call.dim("dim")
    size = call.shapes["self"][dim]
    bounds = (call.arguments["start"], call.arguments["end"])
    if dim == 0 or not all(bound is None or type(bound) is int for bound in bounds):
        raise Unsupported("a slice along the batch, or with bounds that depend on it")
    start, end, _ = slice(*bounds).indices(size)
    return "slice", {"dim": dim, "start": start, "end": end, "step": int(call.arguments["step"])}


def _softmax(call: Call) -> Description:
    return "softmax", {"dim": call.dim("dim")}


def _layer_norm(call: Call) -> Description:
    shape = tuple(call.arguments["normalized_shape"])
    return "layer_norm", {"normalized_shape": shape, "eps": float(call.arguments["eps"])}


def _gelu(x: torch.Tensor, approximate: str) -> torch.Tensor:
    return F.gelu(x, approximate=approximate)


def _embedding(weight: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
    return F.embedding(indices, weight)


def _elementwise(op: str, function: Callable[..., Any]) -> Rule:
    return Rule(_plain(op), function, ("self",))


def _conv_rule(describe: Callable[[Call], Description], function: Callable[..., Any], *more: str) -> Rule:
    passed = ("input", "weight", "bias", "stride", "padding", *more)
    return Rule(describe, function, passed, ("input",), {"weight": "weight", "bias": "bias"})


_NORM = {"weight": "weight", "bias": "bias"}
_POOL = ("self", "kernel_size", "stride", "padding")
_MAX = (*_POOL, "dilation", "ceil_mode")
_AVERAGE = (*_POOL, "ceil_mode", "count_include_pad")
_slice_call: Callable[..., Any] = torch.ops.aten.slice.Tensor

RULES: Mapping[str, Rule] = {
    "conv1d.default": _conv_rule(_convolution(1), torch.conv1d, "dilation", "groups"),
    "conv1d.padding": _conv_rule(_convolution(1), torch.conv1d, "dilation", "groups"),
    "conv2d.default": _conv_rule(_convolution(2), torch.conv2d, "dilation", "groups"),
    "conv2d.padding": _conv_rule(_convolution(2), torch.conv2d, "dilation", "groups"),
    "conv_transpose1d.default": _conv_rule(
        _convolution(1, transposed=True), torch.conv_transpose1d, "output_padding", "groups", "dilation"
    ),
    "conv_transpose2d.input": _conv_rule(
        _convolution(2, transposed=True), torch.conv_transpose2d, "output_padding", "groups", "dilation"
    ),
    "linear.default": Rule(_linear, F.linear, ("input", "weight", "bias"), ("input",), _NORM),
    "batch_norm.default": Rule(
        _batch_norm,
        F.batch_norm,
        ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps"),
        ("input",),
        _NORM,
    ),
    "layer_norm.default": Rule(
        _layer_norm, F.layer_norm, ("input", "normalized_shape", "weight", "bias", "eps"), ("input",), _NORM
    ),
    "group_norm.default": Rule(
        _plain("group_norm", groups="num_groups", eps="eps"),
        F.group_norm,
        ("input", "num_groups", "weight", "bias", "eps"),
        ("input",),
        _NORM,
    ),
    "embedding.default": Rule(
        _plain("embedding"), _embedding, ("weight", "indices"), ("indices",), {"weight": "weight"}
    ),
    "prelu.default": Rule(_plain("prelu"), torch.prelu, ("self", "weight"), ("self",), {"weight": "weight"}),
    "relu.default": _elementwise("relu", torch.relu),
    "relu6.default": _elementwise("relu6", F.relu6),
    "hardtanh.default": Rule(_clip("min_val", "max_val"), F.hardtanh, ("self", "min_val", "max_val")),
    "clamp.default": Rule(_clip("min", "max"), torch.clamp, ("self", "min", "max")),
    "clamp_min.default": Rule(_clip("min", "max"), torch.clamp_min, ("self", "min")),
    "leaky_relu.default": Rule(
        _plain("leaky_relu", negative_slope="negative_slope"), F.leaky_relu, ("self", "negative_slope")
    ),
    "gelu.default": Rule(_plain("gelu", approximate="approximate"), _gelu, ("self", "approximate")),
    "silu.default": _elementwise("silu", F.silu),
    "sigmoid.default": _elementwise("sigmoid", torch.sigmoid),
    "tanh.default": _elementwise("tanh", torch.tanh),
    "hardsigmoid.default": _elementwise("hardsigmoid", F.hardsigmoid),
    "hardswish.default": _elementwise("hardswish", F.hardswish),
    "neg.default": _elementwise("neg", torch.neg),
    "exp.default": _elementwise("exp", torch.exp),
    "sqrt.default": _elementwise("sqrt", torch.sqrt),
    "rsqrt.default": _elementwise("rsqrt", torch.rsqrt),
    "detach.default": _elementwise("identity", torch.detach),
    "softmax.int": Rule(_softmax, torch.softmax, ("self", "dim")),
    "max_pool1d.default": Rule(_pool("max_pool", 1), torch.max_pool1d, _MAX),
    "max_pool2d.default": Rule(_pool("max_pool", 2), torch.max_pool2d, _MAX),
    "avg_pool1d.default": Rule(_pool("avg_pool", 1), F.avg_pool1d, _AVERAGE),
    "avg_pool2d.default": Rule(_pool("avg_pool", 2), F.avg_pool2d, _AVERAGE),
    "adaptive_avg_pool1d.default": Rule(
        _adaptive("avg_pool", 1), torch.adaptive_avg_pool1d, ("self", "output_size")
    ),
    "adaptive_avg_pool2d.default": Rule(
        _adaptive("avg_pool", 2), F.adaptive_avg_pool2d, ("self", "output_size")
    ),
    "mean.dim": Rule(_mean, torch.mean, ("self", "dim", "keepdim")),
    "pad.default": Rule(_pad, F.pad, ("self", "pad", "mode", "value")),
    "constant_pad_nd.default": Rule(_pad, torch.constant_pad_nd, ("self", "pad", "value")),
    "flatten.using_ints": Rule(_reshape, torch.flatten, ("self", "start_dim", "end_dim")),
    "view.default": Rule(_reshape, torch.reshape, ("self", "size")),
    "_unsafe_view.default": Rule(_reshape, torch.reshape, ("self", "size")),
    "reshape.default": Rule(_reshape, torch.reshape, ("self", "shape")),
    "unflatten.int": Rule(_reshape, torch.unflatten, ("self", "dim", "sizes")),
    "unsqueeze.default": Rule(_reshape, torch.unsqueeze, ("self", "dim")),
    "squeeze.dim": Rule(_reshape, torch.squeeze, ("self", "dim")),
    "squeeze.dims": Rule(_reshape, torch.squeeze, ("self", "dim")),
    "transpose.int": Rule(_transpose, torch.transpose, ("self", "dim0", "dim1")),
    "permute.default": Rule(_transpose, torch.permute, ("self", "dims")),
    "t.default": Rule(_transpose, torch.t, ("self",)),
    "numpy_T.default": Rule(_transpose, torch.t, ("self",)),
    "mT.default": Rule(_transpose, operator.attrgetter("mT"), ("self",)),
    "select.int": Rule(_select, torch.select, ("self", "dim", "index")),
    "slice.Tensor": Rule(_slice, _slice_call, ("self", "dim", "start", "end", "step")),
}
"""Every aten operator that is exactly one Graph node."""
