"""Fold batch norm into the convolution or linear layer before it (evaluation statistics).

sigma = sqrt(var + eps); w' = w gamma / sigma; b' = (b - mu) gamma / sigma + beta (training.md section 1.5).
The edge keeps what the batch norm knew of its result: mean beta, deviation |gamma| (`statistics.py`).
What stays is taken care of by `fold_forward.py`.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, fx, nn

from bitjoule.network.graph_writer import MARK
from bitjoule.network.network import Network, NetworkError
from bitjoule.network.statistics import record, statistics_of
from bitjoule.workload.graph import Graph, Node

__all__ = ["fold_batch_norm", "folded"]

FOLDABLE = (nn.Conv1d, nn.Conv2d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.Linear)


def folded(
    weight: Tensor,
    bias: Tensor | None,
    norm: nn.BatchNorm1d | nn.BatchNorm2d,
    *,
    channels_dim: int = 0,
    groups: int = 1,
) -> tuple[Tensor, Tensor]:
    """Weight and bias of a layer with `norm` folded in; computed in float64, in the type of `weight`.

    `channels_dim`: where the output channels of the weight stand (1 for transposed convolutions).

    >>> norm = nn.BatchNorm1d(1).eval()
    >>> _ = norm.running_var.fill_(0.09), nn.init.constant_(norm.weight, 0.8)
    >>> [round(value, 6) for value in folded(torch.tensor([[1.5, -2.0]]), None, norm)[0][0].tolist()]
    [3.999778, -5.333037]
    """
    if norm.running_mean is None or norm.running_var is None:
        raise NetworkError("batch norm without running statistics cannot be folded")
    gamma = torch.ones_like(norm.running_var) if norm.weight is None else norm.weight.detach()
    beta = torch.zeros_like(norm.running_mean) if norm.bias is None else norm.bias.detach()
    mean, variance = norm.running_mean.double(), norm.running_var.double()
    factor = gamma.double() / (variance + norm.eps).sqrt()
    start = torch.zeros_like(mean) if bias is None else bias.detach().double()
    shape = [1] * weight.dim()
    shape[channels_dim] = -1
    if channels_dim == 0:
        scaled = weight.detach().double() * factor.view(shape)
    else:  # (in, out / groups, ...): input channels of group g feed the output channels of group g
        per_group = factor.view(groups, 1, -1, *[1] * (weight.dim() - 2))
        grouped = weight.detach().double().reshape(groups, -1, *weight.shape[1:])
        scaled = (grouped * per_group).flatten(0, 1)
    shift = (start - mean) * factor + beta.double()
    return scaled.to(weight.dtype), shift.to(weight.dtype)


def fold_batch_norm(net: Network) -> Network:
    """A new Network in which every batch norm directly behind a layer is part of that layer.

    The layer gets a bias; the batch norm is gone, from the graph and from the state dict. A batch norm that
    cannot be folded (no layer before it, the layer's result is read elsewhere, the layer is called twice, no
    running statistics) stays, and `notes` says why. Fold for inference and calibration; QAT keeps batch norm.

    Raises:
        NetworkError: quantizers were inserted already; fold first.
    """
    if net.quantized:
        raise NetworkError(f"{net.name} has quantizers already: fold batch norm before inserting them")
    clone = net.clone()
    removed: dict[str, str] = {}
    notes: list[str] = []
    calls = _calls(clone)
    marked = {node.meta[MARK]: node for node in clone.module.graph.nodes if MARK in node.meta}
    for node in net.graph.nodes:
        if node.op == "batch_norm":
            reason = _obstacle(clone, node, calls, marked)
            if reason:
                notes.append(f"batch norm {node.name!r} was not folded: {reason}")
            else:
                _fold_one(clone, marked[node.inputs[0]], marked[node.name])
                removed[node.output] = node.inputs[0]
    clone.module.graph.lint()
    clone.module.recompile()
    graph = _without(net.graph, removed)
    return Network(graph, clone.module, notes=(*net.notes, *notes))


def _calls(net: Network) -> dict[int, int]:
    """How often the graph calls or reads each module."""
    counts: dict[int, int] = {}
    for node in net.module.graph.nodes:
        path = str(node.target)
        if node.op == "get_attr":
            path = path.rpartition(".")[0]
        if node.op in ("call_module", "get_attr"):
            module = id(net.module.get_submodule(path))
            counts[module] = counts.get(module, 0) + 1
    return counts


def _obstacle(net: Network, norm: Node, calls: dict[int, int], marked: dict[str, fx.Node]) -> str:
    """Why this batch norm must stay, or ""."""
    graph = net.graph
    layer = graph.producer(norm.inputs[0])
    if layer is None or layer.op not in ("conv", "linear"):
        before = f"{layer.op} {layer.name!r}" if layer else f"the network input {norm.inputs[0]!r}"
        return f"it follows {before}, not a convolution or linear layer"
    if len(graph.consumers(layer.output)) > 1 or layer.output in graph.outputs:
        return f"the result of {layer.name!r} is read elsewhere too"
    for name in (layer.name, norm.name):
        call = marked[name]
        if call.op != "call_module":
            return f"{name!r} is a functional call on parameters of other modules"
        if calls[id(net.module.get_submodule(str(call.target)))] > 1:
            return f"{name!r} is called or read more than once"
    module, statistics = (
        net.module.get_submodule(str(marked[name].target)) for name in (layer.name, norm.name)
    )
    if not isinstance(module, FOLDABLE) or not isinstance(statistics, nn.BatchNorm1d | nn.BatchNorm2d):
        return f"{layer.name!r} is a {type(module).__name__}"
    if sum(parameter is module.weight for parameter in _all_weights(net)) > 1:
        return f"the weight of {layer.name!r} is shared with another module"
    if statistics.running_mean is None:
        return "it keeps no running statistics"
    if isinstance(module, nn.Linear) and len(graph.tensors[layer.output].shape) != 2:
        return f"it does not normalise the features of {layer.name!r}"
    return ""


def _all_weights(net: Network) -> list[object]:
    return [module._parameters["weight"] for module in net.module.modules() if "weight" in module._parameters]


def _fold_one(net: Network, layer: fx.Node, norm: fx.Node) -> None:
    module = net.module.get_submodule(str(layer.target))
    statistics = net.module.get_submodule(str(norm.target))
    assert isinstance(module, FOLDABLE) and isinstance(statistics, nn.BatchNorm1d | nn.BatchNorm2d)
    transposed = isinstance(module, nn.ConvTranspose1d | nn.ConvTranspose2d)
    weight, bias = folded(
        module.weight,
        module.bias,
        statistics,
        channels_dim=int(transposed),
        groups=1 if isinstance(module, nn.Linear) else module.groups,
    )
    trainable = module.weight.requires_grad
    module.weight = nn.Parameter(weight, requires_grad=trainable)
    module.bias = nn.Parameter(bias, requires_grad=trainable)
    record(layer, statistics_of(statistics))
    norm.replace_all_uses_with(layer)
    path = str(norm.target)
    net.module.graph.erase_node(norm)
    owner, _, child = path.rpartition(".")
    del net.module.get_submodule(owner)._modules[child]


def _without(graph: Graph, removed: dict[str, str]) -> Graph:
    """The Graph without the folded batch norms; their readers read the layer."""
    nodes = []
    for node in graph.nodes:
        if node.output in removed:
            continue
        inputs = tuple(removed.get(tensor, tensor) for tensor in node.inputs)
        parameters, shared = dict(node.parameters), dict(node.shared)
        if node.output in removed.values():
            parameters.setdefault("bias", (graph.tensors[node.output].shape[1],))
            shared.pop("bias", None)  # the folded bias is the layer's own
        nodes.append(replace(node, inputs=inputs, parameters=parameters, shared=shared))
    return Graph(
        name=graph.name,
        inputs=graph.inputs,
        outputs=tuple(removed.get(tensor, tensor) for tensor in graph.outputs),
        nodes=tuple(nodes),
        tensors={name: tensor for name, tensor in graph.tensors.items() if name not in removed},
    )
