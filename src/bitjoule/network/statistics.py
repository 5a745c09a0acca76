"""What batch norms say of the tensors of a Network: mean and standard deviation of every channel.

A batch norm's result has mean beta and standard deviation |gamma| per channel over its training data (Nagel
2019, arXiv 1906.04721, section 4.2). Folding and surgery keep these numbers on the edge, in the `meta` of the
fx node that makes the tensor; calibration without data and bias absorption read them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from bitjoule.network.graph_writer import MARK
from bitjoule.network.network import Network
from bitjoule.workload.graph import Node

__all__ = ["EdgeStatistics", "clipped_moments", "edge_statistics", "record", "recorded", "statistics_of"]

STATISTICS = f"{MARK}_statistics"


@dataclass(frozen=True)
class EdgeStatistics:
    """Mean and standard deviation per channel, each of shape (channels,)."""

    mean: Tensor
    std: Tensor


def statistics_of(norm: nn.BatchNorm1d | nn.BatchNorm2d) -> EdgeStatistics:
    """(beta, |gamma|) of a batch norm.

    >>> statistics_of(nn.BatchNorm1d(2)).std
    tensor([1., 1.])
    """
    ones = torch.ones(norm.num_features)
    gamma = ones if norm.weight is None else norm.weight.detach()
    beta = torch.zeros_like(ones) if norm.bias is None else norm.bias.detach()
    return EdgeStatistics(beta.clone(), gamma.abs())


def record(node: fx.Node, statistics: EdgeStatistics) -> None:
    """Keep statistics on the tensor that `node` makes."""
    node.meta[STATISTICS] = statistics


def recorded(node: fx.Node) -> EdgeStatistics | None:
    """Statistics kept on the tensor that `node` makes."""
    found = node.meta.get(STATISTICS)
    return found if isinstance(found, EdgeStatistics) else None


def edge_statistics(net: Network) -> dict[str, EdgeStatistics]:
    """Statistics by tensor, where they are known.

    Known are results of batch norms, folded (kept on the layer) or not; behind them, taking channels as
    normal: ReLU and ReLU6 (moments of the clipped normal), identity and dropout, slices, channels of zeros
    that a pad adds, and adds of known operands (means add, variances add: operands taken as uncorrelated).
    """
    made = {node.meta[MARK]: node for node in net.module.graph.nodes if MARK in node.meta}
    found: dict[str, EdgeStatistics] = {}
    for node in net.graph.nodes:
        call = made[node.name]
        kept = recorded(call)
        operands = [found[tensor] for tensor in node.inputs if tensor in found]
        whole = len(operands) == len(node.inputs) > 0
        if kept is not None:
            found[node.output] = kept
        elif node.op == "batch_norm" and call.op == "call_module":
            module = net.module.get_submodule(str(call.target))
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and module.running_mean is not None:
                found[node.output] = statistics_of(module)
        elif whole and node.op in ("relu", "relu6") and "limit" not in node.attributes:
            upper = math.inf if node.op == "relu" else 6.0
            found[node.output] = clipped_moments(operands[0], upper)
        elif whole and node.op in ("identity", "dropout"):
            found[node.output] = operands[0]
        elif whole and node.op == "slice" and not node.attributes.get("select"):
            found[node.output] = _sliced(operands[0], node)
        elif whole and node.op == "pad":
            padded = _padded(operands[0], node, len(net.graph.tensors[node.output].shape))
            if padded is not None:
                found[node.output] = padded
        elif whole and net.graph.is_residual_add(node):
            mean = torch.stack([each.mean for each in operands]).sum(0)
            std = torch.stack([each.std.square() for each in operands]).sum(0).sqrt()
            found[node.output] = EdgeStatistics(mean, std)
    return found


def _sliced(statistics: EdgeStatistics, node: Node) -> EdgeStatistics:
    """A slice of pixels has the statistics of all; a slice of channels those of its own."""
    if node.attributes["dim"] != 1:
        return statistics
    kept = slice(*(int(str(node.attributes[key])) for key in ("start", "end", "step")))
    return EdgeStatistics(statistics.mean[kept], statistics.std[kept])


def _padded(statistics: EdgeStatistics, node: Node, rank: int) -> EdgeStatistics | None:
    """Channels of zeros added; None where pixels are, or where channels are cut off."""
    pads = node.attributes["pads"]
    before = 2 * (rank - 2)  # `pads` begins with the last dimension
    if not isinstance(pads, tuple) or len(pads) != before + 2 or node.attributes.get("value") != 0.0:
        return None
    if any(pads[:before]) or min(pads) < 0:
        return None
    mean, std = (torch.nn.functional.pad(v, pads[before:]) for v in (statistics.mean, statistics.std))
    return EdgeStatistics(mean, std)


def clipped_moments(statistics: EdgeStatistics, upper: float = math.inf) -> EdgeStatistics:
    """Mean and standard deviation of clip(x, 0, upper) for normal x; exact where std is 0.

    >>> half = clipped_moments(EdgeStatistics(torch.zeros(1), torch.ones(1)))
    >>> round(half.mean.item(), 6), round(half.std.item(), 6)
    (0.398942, 0.583797)
    """
    mean, std = statistics.mean.double(), statistics.std.double()
    safe = std.clamp(min=1e-300)
    low = -mean / safe
    below, at_low = torch.special.ndtr(low), _density(low)
    low_tail = low * at_low
    above, at_high, high_tail = torch.zeros_like(mean), torch.zeros_like(mean), torch.zeros_like(mean)
    if math.isfinite(upper):
        high = (upper - mean) / safe
        above, at_high = torch.special.ndtr(-high), _density(high)
        high_tail = high * at_high
    inside = 1 - below - above
    limit = upper if math.isfinite(upper) else 0.0
    first = mean * inside + std * (at_low - at_high) + limit * above
    second = (
        (mean.square() + std.square()) * inside
        + 2 * mean * std * (at_low - at_high)
        + std.square() * (low_tail - high_tail)
        + limit**2 * above
    )
    fixed = mean.clamp(0, upper)
    constant = std == 0
    first = torch.where(constant, fixed, first)
    variance = torch.where(constant, torch.zeros_like(first), second - first.square())
    kind = statistics.mean.dtype
    return EdgeStatistics(first.to(kind), variance.clamp(min=0).sqrt().to(kind))


def _density(x: Tensor) -> Tensor:
    """Of the standard normal; 0 far out, without overflow."""
    return torch.exp(-0.5 * x.clamp(-1e3, 1e3).square()) / math.sqrt(2 * math.pi)
