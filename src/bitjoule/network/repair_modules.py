"""The torch side of operators that binary repairs add: one module or function per Graph operator.

New weights are drawn from a generator seeded by the operator's name, so a repaired network is the same in
every process; torch's global generator is left alone.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bitjoule.network.slopes import DPReLU, PReLU
from bitjoule.workload.graph import Node

__all__ = ["Learned", "OuterScale", "function_of", "module_of", "residual_of_signs"]


class Learned(nn.Module):
    """A learned tensor; calling it gives it in its shape. It is kept as a vector, so no weight decay pulls on
    it.

    >>> Learned((1, 2), 0.5)().tolist()
    [[0.5, 0.5]]
    """

    def __init__(self, shape: tuple[int, ...], start: float) -> None:
        super().__init__()
        self.shape = shape
        self.value = nn.Parameter(torch.full((math.prod(shape),), start))

    def forward(self) -> Tensor:
        return self.value.view(self.shape)


class OuterScale(nn.Module):
    """a_k b_p c_q of shape (1, K, P, Q), or a_k of shape (1, K) (XNOR-Net++, Bulat 2019)."""

    def __init__(self, axes: tuple[tuple[str, int], ...], start: float) -> None:
        super().__init__()
        self.axes = tuple(name for name, _ in axes)
        for name, size in axes:
            self.register_parameter(name, nn.Parameter(torch.full((size,), start)))

    def forward(self) -> Tensor:
        first, *others = (self.get_parameter(name) for name in self.axes)
        product: Tensor = first
        for vector in others:
            product = product.unsqueeze(-1) * vector
        return product.unsqueeze(0)


def module_of(node: Node, dims: int, training: bool) -> nn.Module | None:
    """The module that holds the parameters of `node`, None for an operator without any. `dims`: dimensions
    of its result.
    """
    module = _module(node, dims)
    return None if module is None else module.train(training)


def _module(node: Node, dims: int) -> nn.Module | None:
    sizes = node.parameters
    if node.op == "constant":
        start = float(_number(node, "init"))
        if "value" in sizes:
            return Learned(tuple(sizes["value"]), start)
        return OuterScale(tuple((name, shape[0]) for name, shape in sizes.items()), start)
    if node.op == "batch_norm":
        channels, eps = sizes["weight"][0], float(_number(node, "eps"))
        return nn.BatchNorm2d(channels, eps=eps) if dims == 4 else nn.BatchNorm1d(channels, eps=eps)
    if node.op == "prelu":
        channels = sizes["weight"][0]
        return DPReLU(channels) if "positive" in sizes else PReLU(channels)
    if node.op == "linear":
        outer, inner = sizes["weight"]
        return _drawn(nn.Linear(inner, outer, bias=False, device="meta"), node.name)
    if node.op == "conv":
        top, left, bottom, right = node.ints("padding", 4)
        if (top, left) != (bottom, right):
            raise ValueError(f"{node.name}: a repaired convolution has the same padding on both sides")
        kernel, stride, dilation = (_pair(node, key) for key in ("kernel", "stride", "dilation"))
        groups = node.ints("groups", 1, 1)[0]
        outer, inner = sizes["weight"][0], sizes["weight"][1] * groups
        conv = nn.Conv2d(
            inner, outer, kernel, stride, (top, left), dilation, groups, bias=False, device="meta"
        )
        return _drawn(conv, node.name)
    return None


def _drawn(module: nn.Conv2d | nn.Linear, name: str) -> nn.Module:
    """He's initialization from a generator seeded by `name`; made on `meta`, so no global draw happens."""
    module = module.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    fan_in = math.prod(module.weight.shape[1:])
    with torch.no_grad():
        module.weight.copy_(torch.randn(module.weight.shape, generator=generator) * math.sqrt(2 / fan_in))
    return module


@torch.no_grad()
def residual_of_signs(weight: Tensor, base: int) -> Tensor:
    """What `base` binary approximations leave of `weight`: W - sum a_j sign(R_j), R_j what j of them left,
    a_j its mean magnitude per output channel (Guo et al. 2017, network sketching).

    >>> residual_of_signs(torch.tensor([[1.0, -3.0]]), 1).tolist()
    [[-1.0, -1.0]]
    """
    left = weight.detach().clone()
    dims = list(range(1, weight.dim()))
    for _ in range(base):
        magnitude = left.abs().mean(dims, keepdim=True)
        left -= magnitude * torch.where(left >= 0, 1.0, -1.0)
    return left


def function_of(node: Node) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """A function and its arguments behind the operands, for an operator without parameters."""
    if node.op == "add":
        return torch.add, ()
    if node.op == "mul":
        return torch.mul, ()
    if node.op == "relu":
        return torch.relu, ()
    if node.op == "sigmoid":
        return torch.sigmoid, ()
    if node.op == "global_avg_pool":
        return torch.mean, ((2, 3),)
    if node.op == "mean":
        return (mean_magnitude if node.attributes.get("absolute") else torch.mean), (
            node.ints("dims", 1),
            True,
        )
    if node.op == "reshape":
        return torch.unflatten, (1, tuple(node.ints("shape", 4)[1:]))
    if node.op == "pad":
        pads = node.attributes["pads"]
        return F.pad, (list(pads) if isinstance(pads, tuple) else pads,)
    if node.op == "avg_pool":
        kernel, stride, padding = node.ints("kernel", 2), node.ints("stride", 2), node.ints("padding", 4)
        ceil, count = bool(node.attributes["ceil_mode"]), bool(node.attributes["count_include_pad"])
        if any(padding):
            return padded_mean, (kernel, stride, padding)
        return F.avg_pool2d, (kernel, stride, (0, 0), ceil, count)
    raise ValueError(f"{node.name}: no torch function computes a {node.op} of a repair")


def mean_magnitude(x: Tensor, dims: tuple[int, ...], keepdim: bool) -> Tensor:
    """Mean of |x| over `dims`."""
    return x.abs().mean(dims, keepdim)


def padded_mean(
    x: Tensor, kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, ...]
) -> Tensor:
    """Box filter over (N, C, H, W) with zeros round it; `padding` is (top, left, bottom, right)."""
    top, left, bottom, right = padding
    return F.avg_pool2d(F.pad(x, (left, right, top, bottom)), kernel, stride)


def _pair(node: Node, key: str) -> tuple[int, int]:
    first, second = node.ints(key, 2, 1)
    return first, second


def _number(node: Node, key: str) -> float:
    value = node.attributes[key]
    assert isinstance(value, int | float), f"{node.name}.{key} is {value!r}"
    return value
