"""Aten operators that become no Graph node, one of several kinds, or a few of them.

Arithmetic with numbers, parameters and `alpha`; matrix products with a parameter (a linear layer) or without;
attention written out as products and softmax; splits as slices; dropout as a module that knows training.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import fx
from torch.nn import functional as F

from bitjoule.network.aten_call import Call, Unsupported, is_fixed
from bitjoule.network.attributes import mean, reduced
from bitjoule.network.graph_writer import GraphWriter

__all__ = ["ALIASES", "EXPANSIONS", "SPLITS", "additive_mask", "binary", "split_bounds"]


Expansion = Callable[[GraphWriter, Call], fx.Node]

ALIASES = frozenset(
    {"alias.default", "clone.default", "contiguous.default", "lift_fresh_copy.default", "lift_fresh.default"}
    | {"to.dtype", "to.dtype_layout", "to.device", "_to_copy.default", "type_as.default", "expand_as.default"}
    | {"expand.default"}
)
"""Operators that hand on their operand: dropped, unless they change its type or shape."""

SPLITS = frozenset({"split.Tensor", "split_with_sizes.default", "chunk.default", "unbind.int"})
"""Operators with several results: every result that is used is a slice."""


def binary(op: str, function: Callable[..., Any]) -> Expansion:
    """`a op b` of tensors, parameters and numbers. A number is the attribute `value` of a one-input node."""

    def expand(writer: GraphWriter, call: Call) -> fx.Node:
        left, right = call.arguments["self"], call.arguments["other"]
        alpha = call.arguments.get("alpha", 1)
        if isinstance(right, int | float):
            value = right * alpha
            return _with_number(writer, op, function, writer.operand(left), value, call.result)
        if isinstance(writer.value(right), fx.Node) and not isinstance(right.meta.get("val"), torch.Tensor):
            raise Unsupported("arithmetic with the batch size")
        first, second = writer.operand(left), writer.operand(right)
        if alpha != 1:
            second = _with_number(writer, "mul", torch.mul, second, alpha, writer.shape(second))
        return writer.emit(op, function, (first, second), (first, second), call.result)

    return expand


def _with_number(
    writer: GraphWriter,
    op: str,
    function: Callable[..., Any],
    x: fx.Node,
    value: float,
    shape: tuple[int, ...],
) -> fx.Node:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Unsupported(f"{op} with {value!r}, which depends on the batch")
    return writer.emit(op, function, (x, value), (x,), shape, {"value": float(value)})


def _reverse_subtract(writer: GraphWriter, call: Call) -> fx.Node:
    """number - alpha x = (-x) alpha + number."""
    x = writer.operand(call.arguments["self"])
    x = writer.emit("neg", torch.neg, (x,), (x,), call.result)
    if (alpha := call.arguments["alpha"]) != 1:
        x = _with_number(writer, "mul", torch.mul, x, alpha, call.result)
    return _with_number(writer, "add", torch.add, x, call.arguments["other"], call.result)


def _power(writer: GraphWriter, call: Call) -> fx.Node:
    exponent = call.arguments.get("exponent", 2)
    if not isinstance(exponent, int | float):
        raise Unsupported("a power whose exponent is no number")
    return _raise(writer, call, float(exponent))


def _reciprocal(writer: GraphWriter, call: Call) -> fx.Node:
    return _raise(writer, call, -1.0)


def _raise(writer: GraphWriter, call: Call, exponent: float) -> fx.Node:
    x = writer.operand(call.arguments["self"])
    return writer.emit("pow", torch.pow, (x, exponent), (x,), call.result, {"exponent": exponent})


def _concatenate(writer: GraphWriter, call: Call) -> fx.Node:
    tensors = tuple(writer.operand(value) for value in call.arguments["tensors"])
    dim = int(call.arguments["dim"]) % len(call.result)
    if dim == 0:
        raise Unsupported("a concatenation along the batch")
    return writer.emit("concat", torch.cat, (list(tensors), dim), tensors, call.result, {"dim": dim})


def _matrix_product(left: str, right: str) -> Expansion:
    def expand(writer: GraphWriter, call: Call) -> fx.Node:
        return _product(writer, call, call.arguments[left], call.arguments[right], None, call.result)

    return expand


def _product(
    writer: GraphWriter, call: Call, left: Any, right: Any, bias: Any, result: tuple[int, ...]
) -> fx.Node:
    """left @ right; a right operand that is a matrix of parameters makes it a linear layer."""
    static_bias = bias is None or (writer.is_static(bias) and len(bias.meta["val"].shape) == 1)
    if writer.is_static(right) and len(right.meta["val"].shape) == 2 and static_bias:
        in_features, out_features = (int(size) for size in right.meta["val"].shape)
        weight = writer.compute(torch.t, (writer.value(right),), (out_features, in_features))
        parameters: dict[str, tuple[int, ...]] = {"weight": (out_features, in_features)}
        if bias is not None:
            parameters["bias"] = (out_features,)
        x = writer.operand(left)
        made = writer.emit(
            "linear",
            F.linear,
            (x, weight, writer.value(bias)),
            (x,),
            result,
            {"in_features": in_features, "out_features": out_features},
            parameters,
        )
        writer.reads(made, "weight", right)
        if bias is not None:
            writer.reads(made, "bias", bias)
        return made
    first, second = writer.operand(left), writer.operand(right)
    product = _matmul(writer, first, second, result)
    if bias is None:
        return product
    added = writer.operand(bias)
    return writer.emit("add", torch.add, (product, added), (product, added), result)


def _matmul(writer: GraphWriter, left: fx.Node, right: fx.Node, result: tuple[int, ...]) -> fx.Node:
    if min(len(writer.shape(left)), len(writer.shape(right))) < 2:
        raise Unsupported(f"a product of shapes {writer.shape(left)} and {writer.shape(right)}")
    return writer.emit("matmul", torch.matmul, (left, right), (left, right), result)


def _biased_product(left: str, right: str) -> Expansion:
    """beta self + alpha left @ right, as torch.addmm and torch.baddbmm."""

    def expand(writer: GraphWriter, call: Call) -> fx.Node:
        if call.arguments["beta"] != 1 or call.arguments["alpha"] != 1:
            beta, alpha = call.arguments["beta"], call.arguments["alpha"]
            raise Unsupported(f"beta={beta}, alpha={alpha}; both must be 1")
        bias = call.arguments["self"]
        return _product(writer, call, call.arguments[left], call.arguments[right], bias, call.result)

    return expand


def linear_of_activations(writer: GraphWriter, call: Call) -> fx.Node:
    """A linear layer whose weight is itself an activation: input @ weight^T + bias."""
    weight = writer.operand(call.arguments["weight"])
    rows, columns = writer.shape(weight)
    turned = writer.emit(
        "transpose", torch.transpose, (weight, 0, 1), (weight,), (columns, rows), {"dims": (1, 0)}
    )
    product = _matmul(writer, writer.operand(call.arguments["input"]), turned, call.result)
    if call.arguments["bias"] is None:
        return product
    bias = writer.operand(call.arguments["bias"])
    return writer.emit("add", torch.add, (product, bias), (product, bias), call.result)


def additive_mask(mask: torch.Tensor) -> torch.Tensor:
    """A boolean attention mask (True: may attend) as numbers to add: 0 or -inf."""
    return torch.zeros(mask.shape, device=mask.device).masked_fill(~mask, -math.inf)


def _attention(writer: GraphWriter, call: Call) -> fx.Node:
    """softmax(q k^T scale + mask) v (Vaswani 2017, equation 1), with dropout on the probabilities."""
    if call.arguments.get("enable_gqa"):
        raise Unsupported("scaled_dot_product_attention(enable_gqa=True)")
    query, key, value = (writer.operand(call.arguments[name]) for name in ("query", "key", "value"))
    length, features = writer.shape(query)[-2:]
    keys = writer.shape(key)[-2]
    heads = writer.shape(query)[:-2]
    scale = call.arguments["scale"]
    scale = 1 / math.sqrt(features) if scale is None else scale
    query = _with_number(writer, "mul", torch.mul, query, scale, writer.shape(query))
    rank = len(heads) + 2
    turned = writer.emit(
        "transpose",
        torch.transpose,
        (key, -2, -1),
        (key,),
        (*writer.shape(key)[:-2], features, keys),
        {"dims": (*range(rank - 2), rank - 1, rank - 2)},
    )
    scores = _matmul(writer, query, turned, (*heads, length, keys))
    mask = _mask(writer, call, length, keys)
    if mask is not None:
        scores = writer.emit("add", torch.add, (scores, mask), (scores, mask), writer.shape(scores))
    shape = writer.shape(scores)
    probabilities = writer.emit("softmax", torch.softmax, (scores, -1), (scores,), shape, {"dim": rank - 1})
    if call.arguments["dropout_p"]:
        probabilities = writer.dropout(probabilities, float(call.arguments["dropout_p"]), True)
    return _matmul(writer, probabilities, value, call.result)


def _mask(writer: GraphWriter, call: Call, length: int, keys: int) -> fx.Node | None:
    mask = call.arguments["attn_mask"]
    if call.arguments["is_causal"]:
        return writer.constant(torch.full((length, keys), -math.inf).triu(1))
    if mask is None:
        return None
    if mask.meta["val"].dtype != torch.bool:
        return writer.operand(mask)
    if not writer.is_static(mask):
        raise Unsupported("a boolean attention mask that is computed from the input; give a float mask")
    return writer.operand(writer.compute(additive_mask, (writer.value(mask),), call.shapes["attn_mask"]))


def _dropout(writer: GraphWriter, call: Call) -> fx.Node:
    x = writer.operand(call.arguments["input"])
    return writer.dropout(x, float(call.arguments["p"]), bool(call.arguments["train"]))


def _channel_dropout(writer: GraphWriter, call: Call) -> fx.Node:
    x = writer.operand(call.arguments["input"])
    probability, active = float(call.arguments["p"]), bool(call.arguments["train"])
    return writer.dropout(x, probability, active, channels=True)


def _sum(writer: GraphWriter, call: Call) -> fx.Node:
    """A sum is the mean times the number of values, so pools and sums are one operator."""
    dims = reduced(call)
    if 0 in dims:
        raise Unsupported("a sum over the batch")
    op, attributes = mean(call)
    x = writer.operand(call.arguments["self"])
    count = math.prod(writer.shape(x)[dim] for dim in dims)
    arguments = (x, list(dims), bool(call.arguments["keepdim"]))
    made = writer.emit(op, torch.mean, arguments, (x,), call.result, attributes)
    return _with_number(writer, "mul", torch.mul, made, count, call.result)


def _squeeze_all(writer: GraphWriter, call: Call) -> fx.Node:
    """x.squeeze() without dimensions: those that were 1 in the capture, never the batch."""
    x = writer.operand(call.arguments["self"])
    sizes = call.arguments["self"].meta["val"].shape
    dims = tuple(dim for dim, size in enumerate(sizes) if is_fixed(size) and size == 1)
    return writer.emit("reshape", torch.squeeze, (x, dims), (x,), call.result, {"shape": call.result})


def split_bounds(key: str, call: Call, results: int) -> tuple[int, tuple[tuple[int, int], ...]]:
    """The dimension of a split and the (start, length) of every result."""
    dim = call.dim("dim")
    if dim == 0:
        raise Unsupported("a split along the batch")
    size = call.shapes["self"][dim]
    if key == "split_with_sizes.default":
        lengths = list(call.arguments["split_sizes"])
    else:
        step = 1
        if key == "split.Tensor":
            step = int(call.arguments["split_size"])
        elif key == "chunk.default":
            step = -(-size // int(call.arguments["chunks"]))
        lengths = [min(step, size - start) for start in range(0, size, step)]
    starts = [sum(lengths[:index]) for index in range(len(lengths))]
    return dim, tuple(zip(starts, lengths, strict=True))[:results]


EXPANSIONS: Mapping[str, Expansion] = {
    "add.Tensor": binary("add", torch.add),
    "add.Scalar": binary("add", torch.add),
    "sub.Tensor": binary("sub", torch.sub),
    "sub.Scalar": binary("sub", torch.sub),
    "mul.Tensor": binary("mul", torch.mul),
    "mul.Scalar": binary("mul", torch.mul),
    "div.Tensor": binary("div", torch.div),
    "div.Scalar": binary("div", torch.div),
    "rsub.Scalar": _reverse_subtract,
    "pow.Tensor_Scalar": _power,
    "square.default": _power,
    "reciprocal.default": _reciprocal,
    "cat.default": _concatenate,
    "matmul.default": _matrix_product("self", "other"),
    "mm.default": _matrix_product("self", "mat2"),
    "bmm.default": _matrix_product("self", "mat2"),
    "addmm.default": _biased_product("mat1", "mat2"),
    "baddbmm.default": _biased_product("batch1", "batch2"),
    "scaled_dot_product_attention.default": _attention,
    "dropout.default": _dropout,
    "feature_dropout.default": _channel_dropout,
    "sum.dim_IntList": _sum,
    "squeeze.default": _squeeze_all,
}
"""Every aten operator that `RULES` cannot say in one line."""
