"""The aten operators that are exactly one Graph node each.

One table, `RULES`, keyed by the aten overload without namespace and in-place underscore (`relu_.default` and
`relu.default` are one). Operators that become several Graph nodes stand in `expansions.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.nn import functional as F

from bitjoule.network import attributes as say
from bitjoule.network.attributes import Describe

__all__ = ["ADAPTIVE_MAX_POOLS", "RULES", "Rule"]


@dataclass(frozen=True)
class Rule:
    """How one aten operator is described and called again.

    `passed`: schema arguments handed to `function` in order; `operands`: those that are activations;
    `weights`: Graph role and schema argument of the parameters.
    """

    describe: Describe
    function: Callable[..., Any]
    passed: tuple[str, ...]
    operands: tuple[str, ...] = ("self",)
    weights: Mapping[str, str] = field(default_factory=dict)


def _gelu(x: torch.Tensor, approximate: str) -> torch.Tensor:
    return F.gelu(x, approximate=approximate)


def _embedding(weight: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
    return F.embedding(indices, weight)


def _matrix_transpose(x: torch.Tensor) -> torch.Tensor:
    return x.transpose(-2, -1)


def _elementwise(op: str, function: Callable[..., Any]) -> Rule:
    return Rule(say.plain(op), function, ("self",))


def _conv_rule(describe: Describe, function: Callable[..., Any], *more: str) -> Rule:
    passed = ("input", "weight", "bias", "stride", "padding", *more)
    return Rule(describe, function, passed, ("input",), {"weight": "weight", "bias": "bias"})


_NORM = {"weight": "weight", "bias": "bias"}
_POOL = ("self", "kernel_size", "stride", "padding")
_MAX = (*_POOL, "dilation", "ceil_mode")
_AVERAGE = (*_POOL, "ceil_mode", "count_include_pad")
_slice_call: Callable[..., Any] = torch.ops.aten.slice.Tensor

RULES: Mapping[str, Rule] = {
    "conv1d.default": _conv_rule(say.convolution(1), torch.conv1d, "dilation", "groups"),
    "conv1d.padding": _conv_rule(say.convolution(1), torch.conv1d, "dilation", "groups"),
    "conv2d.default": _conv_rule(say.convolution(2), torch.conv2d, "dilation", "groups"),
    "conv2d.padding": _conv_rule(say.convolution(2), torch.conv2d, "dilation", "groups"),
    "conv_transpose1d.default": _conv_rule(
        say.convolution(1, transposed=True), torch.conv_transpose1d, "output_padding", "groups", "dilation"
    ),
    "conv_transpose2d.input": _conv_rule(
        say.convolution(2, transposed=True), torch.conv_transpose2d, "output_padding", "groups", "dilation"
    ),
    "linear.default": Rule(say.linear, F.linear, ("input", "weight", "bias"), ("input",), _NORM),
    "batch_norm.default": Rule(
        say.batch_norm,
        F.batch_norm,
        ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps"),
        ("input",),
        _NORM,
    ),
    "layer_norm.default": Rule(
        say.layer_norm,
        F.layer_norm,
        ("input", "normalized_shape", "weight", "bias", "eps"),
        ("input",),
        _NORM,
    ),
    "group_norm.default": Rule(
        say.plain("group_norm", groups="num_groups", eps="eps"),
        F.group_norm,
        ("input", "num_groups", "weight", "bias", "eps"),
        ("input",),
        _NORM,
    ),
    "embedding.default": Rule(
        say.plain("embedding"), _embedding, ("weight", "indices"), ("indices",), {"weight": "weight"}
    ),
    "prelu.default": Rule(
        say.plain("prelu"), torch.prelu, ("self", "weight"), ("self",), {"weight": "weight"}
    ),
    "relu.default": _elementwise("relu", torch.relu),
    "relu6.default": _elementwise("relu6", F.relu6),
    "hardtanh.default": Rule(say.clip("min_val", "max_val"), F.hardtanh, ("self", "min_val", "max_val")),
    "clamp.default": Rule(say.clip("min", "max"), torch.clamp, ("self", "min", "max")),
    "clamp_min.default": Rule(say.clip("min", "max"), torch.clamp_min, ("self", "min")),
    "leaky_relu.default": Rule(
        say.plain("leaky_relu", negative_slope="negative_slope"), F.leaky_relu, ("self", "negative_slope")
    ),
    "gelu.default": Rule(say.plain("gelu", approximate="approximate"), _gelu, ("self", "approximate")),
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
    "softmax.int": Rule(say.softmax, torch.softmax, ("self", "dim")),
    "max_pool1d.default": Rule(say.pool("max_pool", 1), torch.max_pool1d, _MAX),
    "max_pool2d.default": Rule(say.pool("max_pool", 2), torch.max_pool2d, _MAX),
    "avg_pool1d.default": Rule(say.pool("avg_pool", 1), F.avg_pool1d, _AVERAGE),
    "avg_pool2d.default": Rule(say.pool("avg_pool", 2), F.avg_pool2d, _AVERAGE),
    "adaptive_avg_pool1d.default": Rule(
        say.adaptive_pool("avg_pool", 1), torch.adaptive_avg_pool1d, ("self", "output_size")
    ),
    "adaptive_avg_pool2d.default": Rule(
        say.adaptive_pool("avg_pool", 2), F.adaptive_avg_pool2d, ("self", "output_size")
    ),
    "mean.dim": Rule(say.mean, torch.mean, ("self", "dim", "keepdim")),
    "pad.default": Rule(say.pad, F.pad, ("self", "pad", "mode", "value")),
    "constant_pad_nd.default": Rule(say.pad, torch.constant_pad_nd, ("self", "pad", "value")),
    "flatten.using_ints": Rule(say.reshape, torch.flatten, ("self", "start_dim", "end_dim")),
    "view.default": Rule(say.reshape, torch.reshape, ("self", "size")),
    "_unsafe_view.default": Rule(say.reshape, torch.reshape, ("self", "size")),
    "reshape.default": Rule(say.reshape, torch.reshape, ("self", "shape")),
    "unflatten.int": Rule(say.reshape, torch.unflatten, ("self", "dim", "sizes")),
    "unsqueeze.default": Rule(say.reshape, torch.unsqueeze, ("self", "dim")),
    "squeeze.dim": Rule(say.reshape, torch.squeeze, ("self", "dim")),
    "squeeze.dims": Rule(say.reshape, torch.squeeze, ("self", "dim")),
    "transpose.int": Rule(say.transpose, torch.transpose, ("self", "dim0", "dim1")),
    "permute.default": Rule(say.transpose, torch.permute, ("self", "dims")),
    "t.default": Rule(say.transpose, torch.t, ("self",)),
    "numpy_T.default": Rule(say.transpose, torch.t, ("self",)),
    "mT.default": Rule(say.transpose, _matrix_transpose, ("self",)),
    "select.int": Rule(say.select, torch.select, ("self", "dim", "index")),
    "slice.Tensor": Rule(say.slice_, _slice_call, ("self", "dim", "start", "end", "step")),
}
"""Every aten operator that is exactly one Graph node."""

ADAPTIVE_MAX_POOLS: Mapping[str, Rule] = {
    "adaptive_max_pool1d.default": Rule(
        say.adaptive_pool("max_pool", 1), F.adaptive_max_pool1d, ("self", "output_size")
    ),
    "adaptive_max_pool2d.default": Rule(
        say.adaptive_pool("max_pool", 2), F.adaptive_max_pool2d, ("self", "output_size")
    ),
}
"""Operators of two results, of which the Graph has the first: the maxima, not where they are."""
