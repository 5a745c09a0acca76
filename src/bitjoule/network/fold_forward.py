"""Batch norms that no layer before them can take in: fold into the layer behind, or become a layer.

A batch norm in evaluation is y = f x + t per channel, f = gamma / sigma, t = beta - mu f. Where one
convolution without padding or one linear layer alone reads it, W'_:i = W_:i f_i and b'_k = b_k + sum_i t_i
sum_rs W_kirs. Otherwise it becomes a 1x1 depthwise convolution with bias: a per-channel multiply-add that is
quantized, counted and lowered as any other layer (ptq.md section 1).
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from bitjoule.network.consecutive import (
    EditableLayer,
    as_double,
    column_sums,
    editable_layers,
    marked,
    refuse_quantized,
    scaled_columns,
    written,
)
from bitjoule.network.fold import fold_batch_norm
from bitjoule.network.network import Network
from bitjoule.network.statistics import record, statistics_of
from bitjoule.workload.graph import Graph, Node

__all__ = ["fold_all", "fold_forward"]

Norm = nn.BatchNorm1d | nn.BatchNorm2d


def fold_all(net: Network) -> Network:
    """`fold_batch_norm`, then `fold_forward` for what it left: afterwards batch norms are layers or noted."""
    return fold_forward(fold_batch_norm(net))


def fold_forward(net: Network) -> Network:
    """A new Network without the batch norms that stood on no foldable layer.

    Edge statistics stay on the result of a batch norm that became a layer. `notes` name the batch norms that
    stay: functional calls, modules called twice, no running statistics, features of matrices and sequences.

    Raises:
        NetworkError: quantizers were inserted already.
    """
    refuse_quantized(net, "fold batch norm")
    clone = net.clone()
    graph = clone.graph
    notes = [note for note in net.notes if not note.startswith("batch norm ")]
    for name in [node.name for node in graph.nodes if node.op == "batch_norm"]:
        layers, _ = editable_layers(clone)
        node = graph.node(name)
        found = _norm(clone, node)
        if isinstance(found, str):
            notes.append(f"batch norm {name!r} stays: {found}")
            continue
        reader = _reader(graph, node, layers)
        if reader is not None:
            _into_reader(layers[reader], found)
            graph = _removed(clone, graph, node, reader)
        elif len(graph.tensors[node.output].shape) < 3:
            notes.append(f"batch norm {name!r} stays: it normalises features, which no convolution can do")
        else:
            graph = _as_layer(clone, graph, node, found)
    clone.module.graph.lint()
    clone.module.recompile()
    return Network(graph, clone.module, notes=tuple(notes))


def _norm(net: Network, node: Node) -> Norm | str:
    """The module of a batch norm, or why it has to stay."""
    call = marked(net)[node.name]
    if call.op != "call_module":
        return "it is a functional call"
    module = net.module.get_submodule(str(call.target))
    if not isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
        return f"it is a {type(module).__name__}"
    if module.running_mean is None:
        return "it keeps no running statistics"
    same = [n for n in net.module.graph.nodes if n.op == "call_module" and n.target == call.target]
    return "it is called more than once" if len(same) > 1 else module


def _affine(norm: Norm) -> tuple[Tensor, Tensor]:
    """f and t per channel, in float64."""
    assert norm.running_mean is not None and norm.running_var is not None
    mean, variance = norm.running_mean.double(), norm.running_var.double()
    gamma = torch.ones_like(mean) if norm.weight is None else norm.weight.detach().double()
    beta = torch.zeros_like(mean) if norm.bias is None else norm.bias.detach().double()
    factor = gamma / (variance + norm.eps).sqrt()
    return factor, beta - mean * factor


def _reader(graph: Graph, node: Node, layers: dict[str, EditableLayer]) -> str | None:
    """The layer that a batch norm may fold into: its only reader, which does not pad."""
    uses = graph.consumers(node.output)
    if len(uses) != 1 or node.output in graph.outputs or uses[0][0].name not in layers:
        return None
    reader = uses[0][0]
    layer = layers[reader.name]
    if isinstance(layer, nn.Linear):
        return reader.name if len(graph.tensors[node.output].shape) == 2 else None
    return None if any(reader.ints("padding", 4, 0)) else reader.name


def _into_reader(layer: EditableLayer, norm: Norm) -> None:
    factor, shift = _affine(norm)
    weight, bias = as_double(layer)
    layer.bias = written(
        bias + column_sums(layer, weight, shift), layer.bias if layer.bias is not None else layer.weight
    )
    layer.weight = written(scaled_columns(layer, weight, factor), layer.weight)


def _removed(net: Network, graph: Graph, node: Node, reader: str) -> Graph:
    call = marked(net)[node.name]
    call.replace_all_uses_with(call.all_input_nodes[0])
    net.module.graph.erase_node(call)
    net.module.delete_submodule(str(call.target))
    nodes = []
    for each in graph.nodes:
        if each.name == node.name:
            continue
        if each.name == reader:
            size = graph.tensors[each.output].shape[-1 if each.op == "linear" else 1]
            parameters = {**each.parameters, "bias": (size,)}
            shared = {role: name for role, name in each.shared.items() if role != "bias"}
            each = replace(each, inputs=node.inputs, parameters=parameters, shared=shared)
        nodes.append(each)
    tensors = {name: tensor for name, tensor in graph.tensors.items() if name != node.output}
    return replace(graph, nodes=tuple(nodes), tensors=tensors)


def _as_layer(net: Network, graph: Graph, node: Node, norm: Norm) -> Graph:
    factor, shift = _affine(norm)
    channels, images = norm.num_features, len(graph.tensors[node.output].shape) == 4
    kind = nn.Conv2d if images else nn.Conv1d
    layer = kind(channels, channels, 1, groups=channels).to(norm.running_mean)
    like = norm.weight if norm.weight is not None else layer.weight
    layer.weight = written(factor.view(-1, *[1] * (layer.weight.dim() - 1)).to(like.dtype), layer.weight)
    layer.bias = written(shift.to(like.dtype), layer.weight)
    call = marked(net)[node.name]
    owner, _, child = str(call.target).rpartition(".")
    net.module.get_submodule(owner)._modules[child] = layer.train(net.module.training)
    record(call, statistics_of(norm))
    made = replace(
        node,
        op="conv",
        attributes={
            "kernel": (1, 1),
            "stride": (1, 1),
            "padding": (0, 0, 0, 0),
            "dilation": (1, 1),
            "groups": channels,
            "in_channels": channels,
            "out_channels": channels,
            "transposed": False,
        },
        parameters={"weight": tuple(layer.weight.shape), "bias": (channels,)},
        shared={},
    )
    return replace(graph, nodes=tuple(made if each.name == node.name else each for each in graph.nodes))
