"""ReLU6 where equalization needs a scale-equivariant activation (ptq.md section 1).

"keep": clip(0, 6), which a UINT Format with threshold <= 6 does by itself. "relu": a ReLU in its place, not
exact where values exceed 6. "per_channel": clip(0, limit) with a limit per channel, which equalization
divides with its channel: exact.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, fx, nn

from bitjoule.network.consecutive import marked, refuse_quantized
from bitjoule.network.graph_writer import MARK
from bitjoule.network.network import Network, NetworkError
from bitjoule.workload.graph import Graph, Node

__all__ = ["CLIPS", "ChannelClip", "Relu6Mode", "channel_clip", "convert_relu6"]

Relu6Mode = Literal["keep", "relu", "per_channel"]

CLIPS = "channel_clips"
"""The module under which clips with a limit per channel stand."""


class ChannelClip(nn.Module):
    """clip(x, 0, limit) with one limit per channel of dimension 1 (the last one of a matrix).

    >>> clip = ChannelClip(torch.tensor([6.0, 3.0]))
    >>> clip(torch.tensor([[7.0, 7.0]]))
    tensor([[6., 3.]])
    """

    limit: Tensor

    def __init__(self, limit: Tensor) -> None:
        super().__init__()
        self.register_buffer("limit", limit)

    def forward(self, x: Tensor) -> Tensor:
        limit = self.limit.view(1, -1, *[1] * (x.dim() - 2))
        return torch.minimum(x.clamp(min=0), limit.to(x.dtype))


def convert_relu6(net: Network, mode: Relu6Mode, names: Iterable[str] | None = None) -> Network:
    """A new Network whose ReLU6 (all, or those of `names`) became ReLUs or clips with a limit per channel.

    In the Graph a ReLU is `relu`; a ChannelClip stays `relu6` with the attribute `limit` "per_channel".
    Edge statistics stand before the activation and stay.

    Raises:
        NetworkError: quantizers were inserted, a name is no ReLU6, or the mode is none of the three.
    """
    refuse_quantized(net, "replace ReLU6")
    if mode not in ("keep", "relu", "per_channel"):
        raise NetworkError(f"relu6 must be keep, relu or per_channel, not {mode!r}")
    found = [node.name for node in net.graph.nodes if node.op == "relu6"]
    chosen = found if names is None else list(dict.fromkeys(names))
    for name in chosen:
        if name not in found:
            raise NetworkError(f"{net.name}: {name!r} is no ReLU6; ReLU6: {', '.join(found) or 'none'}")
    if mode == "keep" or not chosen:
        return net.clone()
    clone = net.clone()
    calls = marked(clone)
    nodes: list[Node] = []
    for node in net.graph.nodes:
        if node.name not in chosen or "limit" in node.attributes:
            nodes.append(node)
            continue
        call = calls[node.name]
        graph = clone.module.graph
        source = call.all_input_nodes[0]
        with graph.inserting_before(call):
            if mode == "relu":
                made = graph.call_function(torch.relu, (source,))
                nodes.append(replace(node, op="relu", attributes={}))
            else:
                channels = net.graph.tensors[node.output].shape[1]
                made = graph.call_module(_add_clip(clone, node.name, channels), (source,))
                nodes.append(replace(node, attributes={"limit": "per_channel"}))
        made.meta.update(call.meta)
        made.meta[MARK] = node.name
        call.replace_all_uses_with(made)
        graph.erase_node(call)
    clone.module.graph.lint()
    clone.module.recompile()
    return Network(_with_nodes(net.graph, nodes), clone.module, notes=net.notes)


def channel_clip(net: Network, call: fx.Node) -> ChannelClip | None:
    """The clip with limits per channel that this fx node calls."""
    if call.op != "call_module":
        return None
    module = net.module.get_submodule(str(call.target))
    return module if isinstance(module, ChannelClip) else None


def _add_clip(net: Network, name: str, channels: int) -> str:
    if not hasattr(net.module, CLIPS):
        net.module.add_module(CLIPS, nn.Module().train(net.module.training))
    folder = net.module.get_submodule(CLIPS)
    key, count = name.replace(".", "_").replace("@", "_"), 0
    while hasattr(folder, key):
        count += 1
        key = f"{name.replace('.', '_').replace('@', '_')}_{count}"
    parameter = next(net.module.parameters(), torch.zeros(()))
    limit = torch.full((channels,), 6.0, dtype=parameter.dtype, device=parameter.device)
    folder.add_module(key, ChannelClip(limit).train(net.module.training))
    return f"{CLIPS}.{key}"


def _with_nodes(graph: Graph, nodes: list[Node]) -> Graph:
    return replace(graph, nodes=tuple(nodes))
