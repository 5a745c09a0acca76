"""What the Graph says of an aten call: operator and attributes. One function for each kind of operator."""

from __future__ import annotations

from collections.abc import Callable

from bitjoule.network.aten_call import Call, Unsupported
from bitjoule.workload.graph import Attribute

__all__ = [
    "Describe",
    "Description",
    "adaptive_pool",
    "batch_norm",
    "clip",
    "convolution",
    "layer_norm",
    "linear",
    "mean",
    "pad",
    "plain",
    "pool",
    "reduced",
    "reshape",
    "select",
    "slice_",
    "softmax",
    "transpose",
]

Attributes = dict[str, Attribute]
Description = tuple[str, Attributes]
Describe = Callable[[Call], Description]


def plain(op: str, **renamed: str) -> Describe:
    """An operator without attributes, or with schema arguments under the Graph's names."""

    def describe(call: Call) -> Description:
        return op, {key: call.arguments[name] for key, name in renamed.items()}

    return describe


def convolution(spatial: int, *, transposed: bool = False) -> Describe:
    """A convolution over `spatial` dimensions; padding is (top, left, bottom, right)."""

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


def linear(call: Call) -> Description:
    """Matrix of (out, in) features."""
    out_features, in_features = call.shapes["weight"]
    return "linear", {"in_features": in_features, "out_features": out_features}


def batch_norm(call: Call) -> Description:
    """Normalisation of dimension 1."""
    return "batch_norm", {"features": call.shapes["input"][1], "eps": float(call.arguments["eps"])}


def pool(op: str, spatial: int) -> Describe:
    """A maximum or average over windows."""

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


def adaptive_pool(op: str, spatial: int) -> Describe:
    """A pool with a given result size; to one pixel it is global."""

    def describe(call: Call) -> Description:
        source, result = call.shapes["self"][-spatial:], call.result[-spatial:]
        if op == "avg_pool" and all(size == 1 for size in result):
            return "global_avg_pool", {"keepdim": True}
        if any(size % goal for size, goal in zip(source, result, strict=True)):
            raise Unsupported(f"an adaptive pool from {source} to {result}: windows of unequal size")
        kernel = tuple(size // goal for size, goal in zip(source, result, strict=True))
        kernel = _rows_columns(kernel, 1)
        attributes: Attributes = {"kernel": kernel, "stride": kernel, "padding": (0, 0, 0, 0)}
        attributes["ceil_mode"] = False
        if op == "max_pool":
            attributes["dilation"] = (1, 1)
        return op, attributes

    return describe


def reduced(call: Call) -> tuple[int, ...]:
    """The dimensions that a mean or sum reduces, counted from the front; none given is all."""
    rank = len(call.shapes["self"])
    return tuple(sorted(dim % rank for dim in call.arguments["dim"] or range(rank)))


def mean(call: Call) -> Description:
    """A mean over rows and columns is global average pooling."""
    dims, rank = reduced(call), len(call.shapes["self"])
    keepdim = bool(call.arguments["keepdim"])
    if call.arguments["dtype"] is not None:
        raise Unsupported(f"a result of type {call.arguments['dtype']}")
    if rank > 2 and dims == tuple(range(2, rank)):
        return "global_avg_pool", {"keepdim": keepdim}
    return "mean", {"dims": dims, "keepdim": keepdim}


def clip(low: str, high: str) -> Describe:
    """A clamp between two numbers, by its usual name if it has one."""

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


def pad(call: Call) -> Description:
    """Constant padding; `pads` as in torch.nn.functional.pad, last dimension first."""
    if call.arguments.get("mode", "constant") != "constant":
        raise Unsupported(f"padding mode {call.arguments['mode']!r}; only constant padding is")
    pads = tuple(call.arguments["pad"])
    if not all(type(pad) is int for pad in pads):
        raise Unsupported(f"padding {pads} that depends on the batch")
    return "pad", {"pads": pads, "value": float(call.arguments["value"] or 0.0)}


def reshape(call: Call) -> Description:
    """Any change of shape that keeps the order of values; `flatten` when only features are joined."""
    source = call.shapes["self"]
    if len(call.result) == 2 < len(source) and call.keeps_first:
        return "flatten", {"start_dim": 1}
    return "reshape", {"shape": call.result}


def transpose(call: Call) -> Description:
    """`dims`: the source dimension of every result dimension."""
    dims = list(range(len(call.shapes["self"])))
    if "dims" in call.arguments:
        dims = [dim % len(dims) for dim in call.arguments["dims"]]
    elif dims:
        first, second = (call.dim("dim0"), call.dim("dim1")) if "dim0" in call.arguments else (-2, -1)
        dims[first], dims[second] = dims[second], dims[first]
    return "transpose", {"dims": tuple(dims)}


def select(call: Call) -> Description:
    """One index of a dimension, which disappears."""
    dim, index = call.dim("dim"), call.arguments["index"]
    if type(index) is not int:
        raise Unsupported("a selection whose index depends on the batch")
    start = index % call.shapes["self"][dim]
    return "slice", {"dim": dim, "start": start, "end": start + 1, "step": 1, "select": True}


def slice_(call: Call) -> Description:
    """A range of one dimension."""
    dim = call.dim("dim")
    size = call.shapes["self"][dim]
    bounds = (call.arguments["start"], call.arguments["end"])
    if dim == 0 or not all(bound is None or type(bound) is int for bound in bounds):
        raise Unsupported("a slice along the batch, or with bounds that depend on it")
    start, end, _ = slice(*bounds).indices(size)
    return "slice", {"dim": dim, "start": start, "end": end, "step": int(call.arguments["step"])}


def softmax(call: Call) -> Description:
    """Softmax over one dimension."""
    return "softmax", {"dim": call.dim("dim")}


def layer_norm(call: Call) -> Description:
    """Normalisation of the last dimensions."""
    shape = tuple(call.arguments["normalized_shape"])
    return "layer_norm", {"normalized_shape": shape, "eps": float(call.arguments["eps"])}
