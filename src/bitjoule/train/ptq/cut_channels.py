"""Channel pruning with images: what a filter is worth by its inputs, and means that biases take over.

Of every filter sum_j abs(w_j) sqrt(A_jj), A the second moments of the columns that the layer reads (`ptq.md`
section 5.4); batch norm is folded before, so that its scale counts. What a removed channel was on average
goes into the biases of the layers that read it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bitjoule.network import Network
from bitjoule.network.graph_writer import MARK
from bitjoule.network.pruning import Ties, channel_ties, cut_channels, prune_channels, refusals, weakest
from bitjoule.network.statistics import EdgeStatistics, record, recorded
from bitjoule.train.ptq.place import with_biases
from bitjoule.workload.graph import Node

__all__ = ["cut_by_data"]

_LAYERS = (nn.Conv1d, nn.Conv2d, nn.Linear)


@dataclass
class _Columns:
    """Sums over images and places of the columns (C * R * S,) that a layer reads, and of their squares."""

    total: Tensor
    squares: Tensor
    count: int = 0


def cut_by_data(net: Network, ratio: float, images: Tensor, batch: int) -> Network:
    """A new Network without the share `ratio` of channels that matter least on `images` (N, ...).

    `net` has its batch norms folded; `batch` images run at once. Groups, rounding and errors are those of
    `network.pruning.prune_channels`.

    >>> from bitjoule.network import capture
    >>> model = nn.Sequential(nn.Conv2d(3, 32, 3), nn.ReLU(), nn.Conv2d(32, 4, 3)).eval()
    >>> cut = cut_by_data(capture(model, input_shape=(1, 3, 8, 8)), 0.5, torch.rand(8, 3, 8, 8), 8)
    >>> cut.graph.node("2").parameters["weight"]
    (4, 16, 3, 3)
    """
    columns = _columns(net, images, batch)
    weighted = net.clone()
    for node, module in _layers(weighted):
        seen = columns[node.name]
        with torch.no_grad():
            root = (seen.squares / seen.count).sqrt().to(module.weight.dtype)
            groups = getattr(module, "groups", 1)
            parts = module.weight.reshape(groups, len(module.weight) // groups, -1)
            parts.mul_(root.view(groups, 1, -1))
    notes = prune_channels(weighted, ratio, score="l1").notes
    ties = channel_ties(net.graph, refusals(net))
    cut, _ = weakest(weighted, ties, ratio, "l1")
    pruned = with_biases(cut_channels(net, ties, cut))
    _take_over(net, pruned, ties, cut, columns)
    _cut_statistics(pruned, ties, cut)
    pruned.notes = notes
    return pruned.eval()


@torch.no_grad()
def _take_over(
    net: Network, pruned: Network, ties: Ties, cut: frozenset[int], columns: dict[str, _Columns]
) -> None:
    """Add the mean of what removed inputs contributed to the biases of `pruned`."""
    left = {node.name: module for node, module in _layers(pruned)}
    for node, module in _layers(net):
        gone = _gone(ties, node.inputs[0], cut)
        if getattr(module, "groups", 1) != 1 or not any(gone):
            continue
        seen, bias = columns[node.name], left[node.name].bias
        mean = (seen.total / seen.count).view(len(gone), -1) * torch.tensor(gone).view(-1, 1)
        shift = module.weight.double().flatten(1) @ mean.flatten()
        kept = [not away for away in _gone(ties, node.output, cut)] or [True] * len(shift)
        assert bias is not None
        bias += shift[torch.tensor(kept)].to(bias.dtype)


def _cut_statistics(pruned: Network, ties: Ties, cut: frozenset[int]) -> None:
    """What batch norms said of a result, of the channels that stay."""
    outputs = {node.name: node.output for node in pruned.graph.nodes}
    for call in pruned.module.graph.nodes:
        known = recorded(call)
        if known is None or MARK not in call.meta:
            continue
        kept = torch.tensor([not away for away in _gone(ties, outputs[call.meta[MARK]], cut)])
        if len(kept):
            record(call, EdgeStatistics(known.mean[kept], known.std[kept]))


def _gone(ties: Ties, tensor: str, cut: frozenset[int]) -> list[bool]:
    return [tie in cut for tie in ties.slots.get(tensor, ())]


def _layers(net: Network) -> list[tuple[Node, Any]]:
    """Convolutions and linear layers that are modules, once each."""
    described = {node.name: node for node in net.graph.nodes}
    found: dict[str, tuple[Node, Any]] = {}
    for call in net.module.graph.nodes:
        if call.op == "call_module" and MARK in call.meta:
            module = net.module.get_submodule(str(call.target))
            if isinstance(module, _LAYERS):
                found.setdefault(str(call.target), (described[call.meta[MARK]], module))
    return list(found.values())


@torch.no_grad()
def _columns(net: Network, images: Tensor, batch: int) -> dict[str, _Columns]:
    """Moments of what every layer reads, float64, over all images; batches are summed before they unfold."""
    found: dict[str, _Columns] = {}
    handles = []
    for node, module in _layers(net):

        def see(_module: object, args: tuple[Tensor], node: Node = node) -> None:
            x = args[0].double()
            total, count = _unfolded(x, node)
            squares, _ = _unfolded(x.square(), node)
            if node.name not in found:
                found[node.name] = _Columns(torch.zeros_like(total), torch.zeros_like(total))
            seen = found[node.name]
            seen.total += total
            seen.squares += squares
            seen.count += count

        handles.append(module.register_forward_pre_hook(see))
    try:
        for part in torch.split(images, batch):
            net(part)
    finally:
        for handle in handles:
            handle.remove()
    return found


def _unfolded(x: Tensor, node: Node) -> tuple[Tensor, int]:
    """The sum over images and places of the columns of `x`, and how many there are."""
    if node.op != "conv":
        flat = x.reshape(-1, x.shape[-1])
        return flat.sum(0), len(flat)
    x = x[:, :, None] if x.dim() == 3 else x
    kernel, stride, dilation = (tuple(node.ints(key, 2, 1)) for key in ("kernel", "stride", "dilation"))
    top, left, bottom, right = node.ints("padding", 4)
    whole = F.pad(x.sum(0, keepdim=True), (left, right, top, bottom))
    columns = F.unfold(whole, kernel, dilation=dilation, stride=stride)[0]
    return columns.sum(1), columns.shape[1] * len(x)
