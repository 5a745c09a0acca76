"""Bias absorption: move what a channel always has above zero from one bias into the next (Nagel 2019, 4.1.3).

c_i = max(0, beta_i - 3 |gamma_i|): a channel whose pre-activation is above c_i but for 0.13 % of a normal.
b1_i -= c_i, b2_k += sum_i c_i sum_rs W2_kirs. Exact where the pre-activation exceeds c_i.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from bitjoule.network.consecutive import (
    EditableLayer,
    Pair,
    as_double,
    column_sums,
    editable_layers,
    marked,
    pairs,
    refuse_quantized,
    written,
)
from bitjoule.network.graph_writer import MARK
from bitjoule.network.network import Network, NetworkError
from bitjoule.network.statistics import EdgeStatistics, record, recorded
from bitjoule.workload.graph import Graph, Node
from bitjoule.workload.graph import Tensor as GraphTensor

__all__ = ["DEVIATIONS", "ChannelPad", "absorb_bias", "absorbed"]

PADS = "channel_pads"
"""The module under which pads with a value per channel stand."""

DEVIATIONS = 3.0


def absorbed(statistics: EdgeStatistics) -> Tensor:
    """c per channel, >= 0.

    >>> beta, gamma = torch.tensor([4.0, 1.0, -1.0, 7.0]), torch.tensor([1.0, 0.5, 0.2, -2.0])
    >>> absorbed(EdgeStatistics(beta, gamma.abs()))
    tensor([1., 0., 0., 1.])
    """
    return (statistics.mean - DEVIATIONS * statistics.std).clamp(min=0)


class ChannelPad(nn.Module):
    """Pads images with one value per channel: what zeros became when their channel was shifted.

    `pads` as in torch.nn.functional.pad; `value` has shape (channels,).
    """

    value: Tensor

    def __init__(self, pads: tuple[int, ...], value: Tensor) -> None:
        super().__init__()
        self.pads = pads
        self.register_buffer("value", value)

    def forward(self, x: Tensor) -> Tensor:
        value = self.value.to(x.dtype).view(1, -1, *[1] * (x.dim() - 2))
        return F.pad(x - value, self.pads) + value


def absorb_bias(net: Network, mode: Literal["unpadded", "padded"] = "unpadded") -> Network:
    """A new Network in which pairs (layer, ReLU, layer) with edge statistics have absorbed their bias.

    "unpadded": only where the second layer does not pad, since its border pixels would change. "padded":
    also Conv2d layers that pad; a pad of its own in front pads with -c, what zeros are behind the shift.
    Quantizers stand before it, so an unsigned Format does not hold that border: lowering must treat it as a
    constant. ReLU6 ends a pair.

    Raises:
        NetworkError: quantizers were inserted, or the mode is none of the two.
    """
    refuse_quantized(net, "absorb biases")
    if mode not in ("unpadded", "padded"):
        raise NetworkError(f"absorb_bias must be unpadded or padded, not {mode!r}")
    clone = net.clone()
    layers, _ = editable_layers(clone)
    calls = marked(clone)
    chosen, _ = pairs(clone.graph, layers)
    notes: list[str] = []
    count = 0
    graph = clone.graph
    for pair in chosen:
        known = recorded(calls[pair.first])
        if known is None or not _shifts(clone, pair):
            continue
        moved = absorbed(known).double()
        if not bool((moved > 0).any()):
            continue
        second = layers[pair.second]
        if _pads(second):
            if mode == "unpadded" or not _can_pad(second):
                notes.append(f"bias of {pair.first!r} was not absorbed: {pair.second!r} pads")
                continue
            graph = _pad_with(clone, graph, pair.second, second, -moved)
        first = layers[pair.first]
        weight, bias = as_double(first)
        first.bias = written(bias - moved.to(bias), first.bias if first.bias is not None else first.weight)
        weight, bias = as_double(second)
        added = column_sums(second, weight, moved, pair.repeat)
        second.bias = written(bias + added, second.bias if second.bias is not None else second.weight)
        record(
            calls[pair.first], EdgeStatistics((known.mean.double() - moved).to(known.mean.dtype), known.std)
        )
        count += int((moved > 0).sum())
    notes.append(f"absorbed the bias of {count} channels")
    clone.module.graph.lint()
    clone.module.recompile()
    return Network(_with_biases(graph, layers), clone.module, notes=(*net.notes, *notes))


def _shifts(net: Network, pair: Pair) -> bool:
    """Whether x - c behind the activation stays x - c up to the second layer."""
    nodes = [net.graph.node(name) for name in pair.between]
    if not nodes or nodes[0].op != "relu":
        return False
    for node in nodes:
        if node.op == "avg_pool" and any(node.ints("padding", 4, 0)):
            return False
        if node.op not in (
            "relu",
            "max_pool",
            "avg_pool",
            "global_avg_pool",
            "identity",
            "dropout",
            "flatten",
        ):
            return False
    return True


def _pads(layer: EditableLayer) -> bool:
    if isinstance(layer, nn.Linear) or layer.padding == "valid":
        return False
    return isinstance(layer.padding, str) or any(layer.padding)


def _can_pad(layer: EditableLayer) -> bool:
    return type(layer) is nn.Conv2d and not isinstance(layer.padding, str)


def _pad_with(net: Network, graph: Graph, name: str, layer: EditableLayer, border: Tensor) -> Graph:
    """Put a pad of its own before a convolution; returns the Graph with it."""
    assert isinstance(layer, nn.Conv2d) and not isinstance(layer.padding, str)
    rows, columns = (int(size) for size in layer.padding)
    pads = (columns, columns, rows, rows)
    layer.padding = (0, 0)
    call = marked(net)[name]
    if not hasattr(net.module, PADS):
        net.module.add_module(PADS, nn.Module().train(net.module.training))
    key = f"{name}.border"
    path = key.replace(".", "_").replace("@", "_")
    net.module.get_submodule(PADS).add_module(path, ChannelPad(pads, border.to(layer.weight)))
    source = call.all_input_nodes[0]
    with net.module.graph.inserting_before(call):
        made = net.module.graph.call_module(f"{PADS}.{path}", (source,))
    made.meta[MARK] = key
    call.replace_input_with(source, made)
    node = graph.node(name)
    batch, channels, height, width = graph.tensors[node.inputs[0]].shape
    padded = GraphTensor(key, (batch, channels, height + 2 * rows, width + 2 * columns))
    pad = Node(key, "pad", node.inputs, key, {"pads": pads, "value": "per_channel"}, module=f"{PADS}.{path}")
    moved = replace(node, inputs=(key,), attributes={**node.attributes, "padding": (0, 0, 0, 0)})
    nodes: list[Node] = []
    for each in graph.nodes:
        nodes += [pad, moved] if each.name == name else [each]
    return replace(graph, nodes=tuple(nodes), tensors={**graph.tensors, key: padded})


def _with_biases(graph: Graph, layers: dict[str, EditableLayer]) -> Graph:
    nodes = []
    for node in graph.nodes:
        layer = layers.get(node.name)
        if layer is not None and layer.bias is not None and "bias" not in node.parameters:
            node = replace(node, parameters={**node.parameters, "bias": (layer.bias.numel(),)})
        nodes.append(node)
    return replace(graph, nodes=tuple(nodes))
