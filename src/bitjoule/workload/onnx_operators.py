"""What the Graph says of an ONNX operator: its own operator, attributes and weights, one function a kind."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from bitjoule.workload.graph import Attribute
from bitjoule.workload.onnx_call import Call, Described, Uncountable
from bitjoule.workload.onnx_tensors import finite

__all__ = ["KNOWN", "describe"]

SIMPLE_OPS = {
    "Relu": "relu",
    "Neg": "neg",
    "Pow": "pow",
    "Exp": "exp",
    "Sqrt": "sqrt",
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
    "HardSigmoid": "hardsigmoid",
    "HardSwish": "hardswish",
    "LeakyRelu": "leaky_relu",
    "Gelu": "gelu",
    "Softmax": "softmax",
    "GlobalAveragePool": "global_avg_pool",
    "ReduceMean": "mean",
    "Pad": "pad",
    "Slice": "slice",
    "Concat": "concat",
    "Identity": "identity",
    "Dropout": "dropout",
}
ARITHMETIC = {"Add": "add", "Sub": "sub", "Mul": "mul", "Div": "div"}
RESHAPES = {
    "Flatten": "flatten",
    "Reshape": "reshape",
    "Squeeze": "reshape",
    "Unsqueeze": "reshape",
    "Transpose": "transpose",
}
NORMALIZATIONS = {
    "BatchNormalization": "batch_norm",
    "LayerNormalization": "layer_norm",
    "GroupNormalization": "group_norm",
}


MANY_OPERANDS = frozenset({*ARITHMETIC, "MatMul", "Concat"})


def describe(call: Call) -> Described:
    """The Graph's words for `call`.

    Raises:
        Uncountable: no Graph holds such an operator.
        GraphError: the operator contradicts itself or its operands.
    """
    if len(call.operands) > 1 and call.kind not in MANY_OPERANDS:
        raise Uncountable(f"{len(call.operands)} of its operands are activations")
    if call.kind in SIMPLE_OPS:
        return Described(SIMPLE_OPS[call.kind], {}, _constants(call) if call.kind == "Concat" else {})
    return CONVERTERS[call.kind](call)


def _constants(call: Call) -> dict[str, tuple[int, ...]]:
    learned = [name for name in call.inputs if call.tensors.is_learned(name)]
    names = ["constant"] if len(learned) == 1 else [f"constant{index}" for index in range(len(learned))]
    return {role: call.shape(name) for role, name in zip(names, learned, strict=True)}


def _arithmetic(call: Call) -> Described:
    if len(call.inputs) != 2:
        raise call.fault(f"takes 2 operands, not {len(call.inputs)}")
    op = ARITHMETIC[call.kind]
    if len(call.operands) == 2:
        return Described(op)
    if op == "div" and call.inputs[1] in call.operands:
        return Described("pow", {"exponent": -1.0}, _constants(call))
    return Described(op, {"constant": True}, _constants(call))


def _reshape(call: Call) -> Described:
    if math.prod(call.source) != math.prod(call.result):
        raise call.fault(f"makes {call.result} of {call.source}, which has other elements")
    return Described(RESHAPES[call.kind])


def _normalization(call: Call) -> Described:
    call.activation(0)
    roles = {"weight": call.weight(1)}
    if call.given(2) is not None:
        roles["bias"] = call.weight(2)
    return Described(NORMALIZATIONS[call.kind], {}, roles)


def _prelu(call: Call) -> Described:
    call.activation(0)
    return Described("prelu", {}, {"weight": call.weight(1)})


def _clip(call: Call) -> Described:
    """relu, relu6 or hardtanh by its bounds; other bounds are attributes `low` and `high`, if finite."""
    call.activation(0)
    bounds: list[float | None] = []
    for index, key, none in ((1, "min", -math.inf), (2, "max", math.inf)):
        name = call.given(index)
        if name is not None:
            bounds.append(call.tensors.bound(name, f"{call.name} ({call.kind})"))
        else:
            bounds.append(finite(call.number(key, none)))
    low, high = bounds
    if low is not None and high is not None and low > high:
        raise call.fault(f"min {low} is above max {high}")
    named = {(0.0, 6.0): "relu6", (0.0, None): "relu", (-1.0, 1.0): "hardtanh", (None, None): "identity"}
    if (low, high) in named:
        return Described(named[low, high])
    found: dict[str, Attribute] = {
        key: bound for key, bound in (("low", low), ("high", high)) if bound is not None
    }
    return Described("relu6" if low is not None and low >= 0 else "hardtanh", found)


def _conv(call: Call) -> Described:
    call.activation(0)
    weight, source = call.weight(1), call.source
    spatial = len(weight) - 2
    if spatial not in (1, 2):
        raise Uncountable(f"{max(spatial, 0)} dimensions")
    groups = call.integer("group", 1)
    if len(source) != spatial + 2 or groups < 1 or source[1] != weight[1] * groups or weight[0] % groups:
        raise call.fault(f"a weight of shape {weight} in {groups} groups does not fit an input of {source}")
    dilation = call.integers("dilations", (1,) * spatial)
    found: dict[str, Attribute] = {
        "kernel": _rows_columns(weight[2:], 1),
        "stride": _rows_columns(call.integers("strides", (1,) * spatial), 1),
        "padding": _padding(call, weight[2:], dilation),
        "dilation": _rows_columns(dilation, 1),
        "groups": groups,
        "in_channels": source[1],
        "out_channels": weight[0],
        "transposed": False,
    }
    roles = {"weight": weight}
    if call.given(2) is not None:
        roles["bias"] = call.weight(2)
    return Described("conv", found, roles)


def _pool(call: Call) -> Described:
    call.activation(0)
    spatial = len(call.source) - 2
    if spatial not in (1, 2):
        raise Uncountable(f"{max(spatial, 0)} dimensions")
    if "kernel_shape" not in call.values:
        raise call.fault("kernel_shape is missing")
    kernel = call.integers("kernel_shape", (1,) * spatial)
    dilation = call.integers("dilations", (1,) * spatial)
    found: dict[str, Attribute] = {
        "kernel": _rows_columns(kernel, 1),
        "stride": _rows_columns(call.integers("strides", (1,) * spatial), 1),
        "padding": _padding(call, kernel, dilation),
    }
    return Described({"MaxPool": "max_pool", "AveragePool": "avg_pool"}[call.kind], found)


def _padding(call: Call, kernel: tuple[int, ...], dilation: tuple[int, ...]) -> tuple[int, ...]:
    """(top, left, bottom, right), written in `pads` or computed as `auto_pad` says (ONNX operator Conv)."""
    rule = call.values.get("auto_pad", b"NOTSET")
    spatial = len(kernel)
    if rule == b"NOTSET":
        pads = call.integers("pads", (0,) * (2 * spatial), least=0)
        before, after = pads[:spatial], pads[spatial:]
    elif rule == b"VALID":
        before = after = (0,) * spatial
    elif rule in (b"SAME_UPPER", b"SAME_LOWER"):
        strides = call.integers("strides", (1,) * spatial)
        total = tuple(
            max(0, (math.ceil(size / stride) - 1) * stride + (width - 1) * gap + 1 - size)
            for size, stride, width, gap in zip(call.source[2:], strides, kernel, dilation, strict=True)
        )
        less, more = tuple(n // 2 for n in total), tuple(n - n // 2 for n in total)
        before, after = (less, more) if rule == b"SAME_UPPER" else (more, less)
    else:
        raise call.fault(f"auto_pad must be NOTSET, VALID, SAME_UPPER or SAME_LOWER, not {rule!r}")
    return _rows_columns(before, 0) + _rows_columns(after, 0)


def _rows_columns(numbers: tuple[int, ...], missing: int) -> tuple[int, ...]:
    """A 1-d operator works on one row: `(k,)` is `(1, k)`."""
    return (missing, *numbers) if len(numbers) == 1 else numbers


def _gemm(call: Call) -> Described:
    """alpha and beta are folded into weight and bias, so they cost nothing."""
    if call.integer("transA", 0):
        raise Uncountable("transA")
    call.activation(0)
    if not call.number("alpha", 1.0):
        raise Uncountable("alpha=0")
    weight = call.weight(1)
    bias = call.weight(2) if call.given(2) is not None and call.number("beta", 1.0) else None
    if len(weight) != 2:
        raise call.fault(f"its weight must have 2 dimensions, not {weight}")
    return _linear(call, weight if call.integer("transB", 0) else weight[::-1], bias)


def _matmul(call: Call) -> Described:
    if len(call.operands) == 2:
        return Described("matmul")
    if call.given(0) in call.tensors.constants:
        raise Uncountable("its weight is on the left")
    weight = call.weight(1)
    if len(weight) < 2 or len(call.source) < 2 or math.prod(weight[:-2]) != 1:
        raise Uncountable(f"a weight of shape {weight} on an input of {call.source}")
    return _linear(call, (weight[-1], weight[-2]), None)


def _linear(call: Call, weight: tuple[int, ...], bias: tuple[int, ...] | None) -> Described:
    if call.source[-1] != weight[1]:
        raise call.fault(f"reads {call.source[-1]} features of {call.source}, its weight has {weight[1]}")
    found: dict[str, Attribute] = {"in_features": weight[1], "out_features": weight[0]}
    return Described("linear", found, {"weight": weight} | ({} if bias is None else {"bias": bias}))


CONVERTERS: Mapping[str, Callable[[Call], Described]] = {
    "Conv": _conv,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "MaxPool": _pool,
    "AveragePool": _pool,
    "Clip": _clip,
    "PRelu": _prelu,
    **dict.fromkeys(ARITHMETIC, _arithmetic),
    **dict.fromkeys(RESHAPES, _reshape),
    **dict.fromkeys(NORMALIZATIONS, _normalization),
}
KNOWN = frozenset({*SIMPLE_OPS, *CONVERTERS})
"""ONNX operators that may be countable."""
