"""Layers that follow each other so that a channel may be scaled in the one and scaled back in the other.

A pair (l1, l2): l2 alone reads what l1 makes, through operators that keep channels apart and are
scale-equivariant: ReLU, PReLU, pools, zero padding, flattening, nothing. Depthwise layers stand in two
pairs, so a triple (pointwise, depthwise, pointwise) is two pairs that share a layer. Operands of adds,
outputs of the network and tensors with several readers end a search: they are never scaled (ptq.md
section 2).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from bitjoule.network.graph_writer import MARK
from bitjoule.network.network import Network, NetworkError
from bitjoule.workload.graph import Graph, Node

__all__ = [
    "EditableLayer",
    "Pair",
    "as_double",
    "column_sums",
    "columns",
    "editable_layers",
    "marked",
    "pairs",
    "refuse_quantized",
    "rows",
    "scaled_columns",
    "scaled_rows",
    "written",
]

EQUIVARIANT = frozenset(
    {"relu", "prelu", "leaky_relu", "max_pool", "avg_pool", "global_avg_pool", "pad", "identity", "dropout"}
    | {"flatten"}
)
"""f(x s) = f(x) s for s > 0, channel by channel. `pad` pads with 0, `flatten` joins pixels of one channel."""

EditableLayer = nn.Conv1d | nn.Conv2d | nn.Linear
KINDS = (nn.Conv1d, nn.Conv2d, nn.Linear)


@dataclass(frozen=True)
class Pair:
    """`first` and `second` are nodes, `between` the operators from one to the other, in order.

    `repeat`: columns of `second` per channel of `first` (more than 1 behind a flatten).
    """

    first: str
    second: str
    between: tuple[str, ...]
    repeat: int = 1


def marked(net: Network) -> dict[str, fx.Node]:
    """The fx node of every Graph node."""
    return {node.meta[MARK]: node for node in net.module.graph.nodes if MARK in node.meta}


def refuse_quantized(net: Network, what: str) -> None:
    """Raise NetworkError for a Network with quantizers; `what` names the step."""
    if net.quantized:
        raise NetworkError(f"{net.name} has quantizers already: {what} before inserting them")


def editable_layers(net: Network) -> tuple[dict[str, EditableLayer], dict[str, str]]:
    """Layers by node whose weight is their own and read once; the others with the reason."""
    layers: dict[str, EditableLayer] = {}
    left: dict[str, str] = {}
    calls: dict[int, int] = {}
    for node in net.module.graph.nodes:
        if node.op in ("call_module", "get_attr"):
            path = str(node.target) if node.op == "call_module" else str(node.target).rpartition(".")[0]
            identity = id(net.module.get_submodule(path))
            calls[identity] = calls.get(identity, 0) + 1
    owners: dict[int, int] = {}
    for module in net.module.modules():
        weight = module._parameters.get("weight")
        if weight is not None:
            owners[id(weight)] = owners.get(id(weight), 0) + 1
    found = marked(net)
    for node in net.graph.mac_nodes():
        call = found[node.name]
        if node.op == "matmul" or call.op != "call_module":
            left[node.name] = "it is a functional call"
            continue
        module = net.module.get_submodule(str(call.target))
        if not isinstance(module, KINDS):
            left[node.name] = f"it is a {type(module).__name__}"
        elif isinstance(module, nn.Conv1d | nn.Conv2d) and module.padding_mode != "zeros":
            left[node.name] = f"it pads by {module.padding_mode}"
        elif calls[id(module)] > 1:
            left[node.name] = "its module is called or read more than once"
        elif owners.get(id(module.weight), 0) > 1:
            left[node.name] = "its weight is shared with another module"
        else:
            layers[node.name] = module
    return layers, left


def pairs(
    graph: Graph, layers: Mapping[str, EditableLayer], also: frozenset[str] = frozenset()
) -> tuple[tuple[Pair, ...], dict[str, str]]:
    """All pairs in running order, and why layers that another layer follows are in none as first.

    `also`: further operators that may stand between.
    """
    found: list[Pair] = []
    stopped: dict[str, str] = {}
    for node in graph.mac_nodes():
        if node.name not in layers:
            continue
        way: list[str] = []
        channels = graph.tensors[node.output].shape[_channel_dim(graph, node)]
        tensor = node.output
        reason = ""
        while not reason:
            uses = graph.consumers(tensor)
            if tensor in graph.outputs:
                reason = "it is an output of the network"
            elif len(uses) != 1:
                reason = f"{len(uses)} operators read {tensor!r}"
            elif uses[0][0].name in layers:
                second = uses[0][0]
                width = graph.tensors[second.inputs[0]].shape[_channel_dim(graph, second, of_input=True)]
                if not _same_channels(graph, node, second, way) or width % channels:
                    reason = f"channels of {node.name!r} are none of {second.name!r}"
                    break
                found.append(Pair(node.name, second.name, tuple(way), width // channels))
                break
            elif not _passes(graph, uses[0][0], also):
                reason = f"{uses[0][0].op} {uses[0][0].name!r} follows"
            else:
                way.append(uses[0][0].name)
                tensor = uses[0][0].output
        if reason:
            stopped[node.name] = reason
    return tuple(found), stopped


def rows(weight: Tensor) -> Tensor:
    """Greatest absolute weight per output channel, shape (K,)."""
    return weight.abs().flatten(1).amax(1)


def columns(layer: EditableLayer, weight: Tensor, repeat: int = 1) -> Tensor:
    """Greatest absolute weight per input channel, shape (C,); `repeat` columns belong to one channel."""
    grouped = _by_input(layer, weight).abs().amax((1, 3))
    return grouped.flatten().view(-1, repeat).amax(1)


def column_sums(layer: EditableLayer, weight: Tensor, values: Tensor, repeat: int = 1) -> Tensor:
    """sum over i, r, s of weight[k, i, r, s] values[i], shape (K,)."""
    grouped = _by_input(layer, weight).sum(3)  # (groups, K / groups, C / groups)
    spread = values.repeat_interleave(repeat).view(grouped.shape[0], 1, -1)
    return (grouped * spread).sum(2).flatten()


def scaled_rows(weight: Tensor, factors: Tensor) -> Tensor:
    """Row i times factors[i]."""
    return weight * factors.view(-1, *[1] * (weight.dim() - 1))


def scaled_columns(layer: EditableLayer, weight: Tensor, factors: Tensor, repeat: int = 1) -> Tensor:
    """What reads channel i times factors[i]."""
    grouped = _by_input(layer, weight)
    spread = factors.repeat_interleave(repeat).view(grouped.shape[0], 1, -1, 1)
    return (grouped * spread).reshape(weight.shape)


def _by_input(layer: EditableLayer, weight: Tensor) -> Tensor:
    """(groups, K / groups, C / groups, R S): input channel j of group g is [g, :, j]."""
    groups = 1 if isinstance(layer, nn.Linear) else layer.groups
    return weight.reshape(groups, weight.shape[0] // groups, weight.shape[1], -1)


def _channel_dim(graph: Graph, node: Node, *, of_input: bool = False) -> int:
    """Channels stand in dimension 1 of images, last in what linear layers read and make."""
    tensor = node.inputs[0] if of_input else node.output
    return len(graph.tensors[tensor].shape) - 1 if node.op == "linear" else 1


def _passes(graph: Graph, node: Node, also: frozenset[str]) -> bool:
    if node.op in also:
        return True
    if node.op not in EQUIVARIANT or len(graph.operands(node)) != 1:
        return False
    source = graph.tensors[node.inputs[0]].shape
    if node.op == "pad":
        pads = node.attributes.get("pads")
        images = isinstance(pads, tuple) and len(pads) <= 2 * (len(source) - 2)
        return images and node.attributes.get("value") == 0
    if node.op == "flatten":
        return node.attributes.get("start_dim") == 1
    if node.op == "leaky_relu":
        return True
    return len(source) in (2, 3, 4)


def _same_channels(graph: Graph, first: Node, second: Node, way: list[str]) -> bool:
    """Whether the channels that one makes are what the other reads as channels."""
    made, read = (len(graph.tensors[tensor].shape) for tensor in (first.output, second.inputs[0]))
    ops = {graph.node(name).op for name in way}
    if first.op == "linear" and made > 2:  # features stand last: only what works on single values
        return second.op == "linear" and ops <= {"relu", "leaky_relu", "identity", "dropout", "relu6"}
    return second.op == "conv" or read == 2


def written(parameter: Tensor, like: Tensor | None) -> nn.Parameter:
    """A parameter in the type of `like`, trainable as it is."""
    made = parameter if like is None else parameter.to(like.dtype)
    return nn.Parameter(made, requires_grad=True if like is None else like.requires_grad)


def as_double(layer: EditableLayer) -> tuple[Tensor, Tensor]:
    """Weight and bias in float64; no bias is zeros."""
    weight = layer.weight.detach().double()
    bias = (
        torch.zeros(weight.shape[0], dtype=torch.float64)
        if layer.bias is None
        else layer.bias.detach().double()
    )
    return weight, bias
