"""Outlier channel splitting: a channel with the greatest weights becomes two channels with halves of them.

Zhao 2019 (OCS, arXiv 1901.09504; cornell-zhang/dnn-quant-ocs). A duplicated input channel of l2 has the
weights (w - s/2) / 2 and (w + s/2) / 2, s the weight step, so that their roundings add to the rounding of w;
the layer before makes the channel twice. The function stays, the range of the weights falls, and the Workload
grows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from bitjoule.network.consecutive import (
    EditableLayer,
    Pair,
    as_double,
    columns,
    editable_layers,
    marked,
    pairs,
    refuse_quantized,
    written,
)
from bitjoule.network.network import Network, NetworkError
from bitjoule.network.statistics import EdgeStatistics, record, recorded
from bitjoule.workload.graph import Graph, Node
from bitjoule.workload.graph import Tensor as GraphTensor

__all__ = ["halves", "outliers", "split_outliers"]

BETWEEN = frozenset({"relu", "leaky_relu", "max_pool", "avg_pool", "global_avg_pool", "pad", "identity"})
BETWEEN_TOO = frozenset({"dropout", "flatten"})
"""Operators without parameters per channel, which need no change but their shape."""


def halves(weight: Tensor, step: float) -> tuple[Tensor, Tensor]:
    """The two parts of weights: they add to `weight`, their roundings to its rounding.

    >>> low, high = halves(torch.tensor([3.0, -2.2, 0.4], dtype=torch.float64), 0.5)
    >>> low.tolist(), high.tolist()
    ([1.375, -1.225, 0.07500000000000001], [1.625, -0.9750000000000001, 0.325])
    """
    return (weight - 0.5 * step) / 2, (weight + 0.5 * step) / 2


def outliers(ranges: Tensor, count: int) -> list[int]:
    """Input channels to split, one after another: each time that of the greatest range, whose parts halve.

    >>> outliers(torch.tensor([1.0, 8.0, 3.0]), 3)
    [1, 1, 3]
    """
    current = ranges.clone().double()
    found = []
    for _ in range(count):
        channel = int(current.argmax())
        found.append(channel)
        half = current[channel] / 2
        current[channel] = half
        current = torch.cat([current, half.view(1)])
    return found


def split_outliers(
    net: Network, ratio: float, *, bits: int = 8, steps: Mapping[str, float] | None = None
) -> Network:
    """A new Network of the same function with ceil(ratio * C) more channels between the layers of each pair.

    Both layers must be dense (groups 1), with nothing per channel between. `steps`: the weight step of second
    layers by name; others take that of a symmetric grid of `bits` per tensor after the split. A channel that
    is split again is numbered behind the others.

    Raises:
        NetworkError: quantizers were inserted already; a ratio outside [0, 1]; bits outside 2 to 16.
    """
    refuse_quantized(net, "split channels")
    if not 0 <= ratio <= 1:
        raise NetworkError(f"split ratio must be 0 to 1, not {ratio}")
    if not 2 <= bits <= 16:
        raise NetworkError(f"bits must be 2 to 16, not {bits}")
    clone = net.clone()
    if ratio == 0:
        return clone
    layers, _ = editable_layers(clone)
    calls = marked(clone)
    chosen, _ = pairs(clone.graph, layers)
    graph = clone.graph
    for name in steps or {}:
        if name not in {pair.second for pair in chosen}:
            raise NetworkError(f"{net.name}: {name!r} is no second layer of a pair")
    notes: list[str] = []
    for pair in chosen:
        first, second = layers[pair.first], layers[pair.second]
        reason = _obstacle(graph, pair, first, second)
        if reason:
            notes.append(f"channels between {pair.first!r} and {pair.second!r} were not split: {reason}")
            continue
        weight, _ = as_double(second)
        ranges = columns(second, weight)
        picked = outliers(ranges, math.ceil(ratio * ranges.numel()))
        step = (steps or {}).get(pair.second)
        if step is None:
            step = _after(weight, picked) / (2 ** (bits - 1) - 1)
        for channel in picked:
            low, high = halves(weight[:, channel], step)
            weight = torch.cat([weight, high.unsqueeze(1)], 1)
            weight[:, channel] = low
        order = _sources(ranges.numel(), picked)
        before, before_bias = as_double(first)
        first.weight = written(before[order], first.weight)
        if first.bias is not None:
            first.bias = written(before_bias[order], first.bias)
        second.weight = written(weight, second.weight)
        _resize(first, second, len(order))
        known = recorded(calls[pair.first])
        if known is not None:
            record(calls[pair.first], EdgeStatistics(known.mean[order], known.std[order]))
        graph = _grown(graph, pair, len(order))
        notes.append(f"split {len(picked)} channels between {pair.first!r} and {pair.second!r}")
    return Network(graph, clone.module, notes=(*net.notes, *notes))


def _obstacle(graph: Graph, pair: Pair, first: EditableLayer, second: EditableLayer) -> str:
    for layer, name in ((first, pair.first), (second, pair.second)):
        if not isinstance(layer, nn.Linear) and layer.groups > 1:
            return f"{name!r} has groups"
    if pair.repeat > 1:
        return "a flatten stands between"
    for name in pair.between:
        if graph.node(name).op not in BETWEEN | BETWEEN_TOO:
            return f"{name!r} has parameters per channel"
    return ""


def _after(weight: Tensor, picked: list[int]) -> float:
    """Greatest absolute weight once the picked channels are halved."""
    halved = weight.clone()
    for channel in picked:
        halved[:, channel] /= 2
        halved = torch.cat([halved, halved[:, channel : channel + 1]], 1)
    return float(halved.abs().max())


def _sources(channels: int, picked: list[int]) -> list[int]:
    """Which original channel every channel is a copy of."""
    order = list(range(channels))
    for channel in picked:
        order.append(order[channel])
    return order


def _resize(first: EditableLayer, second: EditableLayer, channels: int) -> None:
    if isinstance(first, nn.Linear):
        first.out_features = channels
    else:
        first.out_channels = channels
    if isinstance(second, nn.Linear):
        second.in_features = channels
    else:
        second.in_channels = channels


def _grown(graph: Graph, pair: Pair, channels: int) -> Graph:
    """The Graph with more channels from the first layer to the second."""
    tensors = dict(graph.tensors)
    nodes: list[Node] = []
    grown = {graph.node(name).output for name in (pair.first, *pair.between)}
    for node in graph.nodes:
        if node.name == pair.first:
            weight = node.parameters["weight"]
            bias = {"bias": (channels,)} if "bias" in node.parameters else {}
            key = "out_features" if node.op == "linear" else "out_channels"
            node = replace(
                node,
                attributes={**node.attributes, key: channels},
                parameters={**node.parameters, "weight": (channels, *weight[1:]), **bias},
            )
        elif node.name == pair.second:
            weight = node.parameters["weight"]
            key = "in_features" if node.op == "linear" else "in_channels"
            node = replace(
                node,
                attributes={**node.attributes, key: channels},
                parameters={**node.parameters, "weight": (weight[0], channels, *weight[2:])},
            )
        nodes.append(node)
    dim_of_features = graph.node(pair.first).op == "linear"
    for name in grown:
        shape = list(tensors[name].shape)
        shape[len(shape) - 1 if dim_of_features else 1] = channels
        tensors[name] = GraphTensor(name, tuple(shape))
    return replace(graph, nodes=tuple(nodes), tensors=tensors)
