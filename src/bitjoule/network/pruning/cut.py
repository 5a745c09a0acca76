"""Cut channels out of a captured network: parameters, statistics, pads, and the Graph beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from bitjoule.network.graph_writer import MARK
from bitjoule.network.network import Network
from bitjoule.network.pruning.ties import Ties, channel_pads
from bitjoule.workload.graph import Attribute, Graph, Node

__all__ = ["cut_channels", "refusals"]

CUT = (nn.Conv1d, nn.Conv2d, nn.Linear, nn.BatchNorm1d, nn.BatchNorm2d, nn.PReLU)
"""Modules whose parameters can be cut."""


def refusals(net: Network) -> dict[str, str]:
    """Operator -> why its channels cannot be cut, for what only the module knows."""
    found = {}
    calls = _calls(net)
    for node in net.graph.nodes:
        call = calls[node.name]
        module = net.module.get_submodule(str(call.target)) if call.op == "call_module" else None
        if node.parameters and not isinstance(module, CUT):
            found[node.name] = "reads its parameters in a functional call"
        elif node.op == "flatten" and not (call.target is torch.flatten or isinstance(module, nn.Flatten)):
            found[node.name] = "reshapes to fixed numbers"
        elif (
            node.op == "pad"
            and any(channel_pads(node, len(net.graph.tensors[node.output].shape)))
            and (call.target is not F.pad or not isinstance(call.args[1], list | tuple))
        ):
            found[node.name] = "pads channels in a module"
    return found


def cut_channels(net: Network, ties: Ties, cut: frozenset[int]) -> Network:
    """A new Network without the ties `cut`; the weights of what stays are those of `net`.

    Channels that were exactly zero wherever they are read leave the output as it was.
    """
    keep = {name: [tie not in cut for tie in slots] for name, slots in ties.slots.items()}
    clone = net.clone()
    calls = _calls(clone)
    nodes = tuple(_cut_node(clone, calls[node.name], node, keep) for node in net.graph.nodes)
    tensors = {
        name: replace(tensor, shape=(tensor.shape[0], sum(keep[name]), *tensor.shape[2:]))
        if name in keep and len(tensor.shape) > 1
        else tensor
        for name, tensor in net.graph.tensors.items()
    }
    clone.module.graph.lint()
    clone.module.recompile()
    graph = Graph(net.graph.name, net.graph.inputs, net.graph.outputs, nodes, tensors, net.graph.repairs)
    return Network(graph, clone.module, notes=net.notes)


def _calls(net: Network) -> dict[str, fx.Node]:
    return {node.meta[MARK]: node for node in net.module.graph.nodes if MARK in node.meta}


def _cut_node(net: Network, call: fx.Node, node: Node, keep: Mapping[str, list[bool]]) -> Node:
    """The Graph node after the cut; its module or arguments are cut in place."""
    made = keep[node.output]
    changes: dict[str, Attribute] = {}
    if node.op == "pad":
        return _cut_pad(net, call, node, keep)
    if not node.parameters or all(all(keep[name]) for name in (node.output, *node.inputs)):
        return node
    module = net.module.get_submodule(str(call.target))
    depthwise = isinstance(module, nn.Conv1d | nn.Conv2d) and module.groups > 1
    reads = made if depthwise or not node.inputs else keep[node.inputs[0]]
    if isinstance(module, nn.Conv1d | nn.Conv2d):
        _take(module, "weight", 0, made)
        _take(module, "bias", 0, made)
        if not depthwise:
            _take(module, "weight", 1, reads)
        module.in_channels, module.out_channels = sum(reads), sum(made)
        changes = {"in_channels": sum(reads), "out_channels": sum(made)}
        if depthwise:
            module.groups = changes["groups"] = sum(made)
    elif isinstance(module, nn.Linear):
        _take(module, "weight", 0, made)
        _take(module, "weight", 1, reads)
        _take(module, "bias", 0, made)
        module.in_features, module.out_features = sum(reads), sum(made)
        changes = {"in_features": sum(reads), "out_features": sum(made)}
    elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
        for name in ("weight", "bias", "running_mean", "running_var"):
            _take(module, name, 0, made)
        module.num_features = changes["features"] = sum(made)
    elif isinstance(module, nn.PReLU) and module.num_parameters > 1:
        _take(module, "weight", 0, made)
        module.num_parameters = sum(made)
    shapes = {
        role: tuple(getattr(module, role).shape) if isinstance(getattr(module, role, None), Tensor) else shape
        for role, shape in node.parameters.items()
    }
    return replace(node, attributes={**node.attributes, **changes}, parameters=shapes)


def _cut_pad(net: Network, call: fx.Node, node: Node, keep: Mapping[str, list[bool]]) -> Node:
    """Fewer zero channels before and behind."""
    dims = len(net.graph.tensors[node.output].shape)
    front, back = channel_pads(node, dims)
    if not front and not back:
        return node
    made = keep[node.output]
    place = 2 * (dims - 2)
    pads = list(node.ints("pads", place + 2))
    pads[place : place + 2] = [sum(made[:front]), sum(made[len(made) - back :]) if back else 0]
    call.update_arg(1, pads)
    return replace(node, attributes={**node.attributes, "pads": tuple(pads)})


@torch.no_grad()
def _take(module: nn.Module, name: str, dim: int, keep: list[bool]) -> None:
    """Replace a parameter or buffer by the slices that stay."""
    tensor = getattr(module, name, None)
    if not isinstance(tensor, Tensor) or all(keep):
        return
    places = torch.tensor([i for i, stays in enumerate(keep) if stays], device=tensor.device)
    taken = tensor.detach().index_select(dim, places)
    if isinstance(tensor, nn.Parameter):
        setattr(module, name, nn.Parameter(taken, requires_grad=tensor.requires_grad))
    else:
        setattr(module, name, taken)
