"""Quantization without any image: ranges and bias correction from batch-norm statistics (DFQ).

Nagel et al. 2019, arXiv 1906.04721: a channel behind batch norm has mean beta and deviation abs(gamma), so it
lies within beta -+ k abs(gamma), and its mean behind a ReLU is known in closed form (`ptq.md` 5.1, level 1).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, fx

from bitjoule.network import Network
from bitjoule.network.statistics import EdgeStatistics, edge_statistics
from bitjoule.quant.calibration import params_of_range, statistics_range
from bitjoule.quant.rounding import bias_shift
from bitjoule.train.ptq.config import PtqConfig, PtqError
from bitjoule.train.ptq.place import is_frozen
from bitjoule.train.ptq.ranges import put, range_weight
from bitjoule.train.ptq.report import TensorRow, weight_row
from bitjoule.train.ptq.trace import mask_at, quantizer_of, weight_readers
from bitjoule.workload.graph import Node

__all__ = ["mean_shift", "means_of", "no_mean", "quantize_without_data", "ranges_of"]

_K = 6.0
_INPUT_REACH = 3.0
_KEEPS_RANGE = frozenset(
    {
        "max_pool",
        "avg_pool",
        "global_avg_pool",
        "mean",
        "flatten",
        "reshape",
        "transpose",
        "slice",
        "identity",
    }
    | {"dropout", "pad"}
)
_CLIPS = {"relu": (0.0, math.inf), "relu6": (0.0, 6.0)}
_BOUNDED = {"sigmoid": (0.0, 1.0), "hardsigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0)}

Ends = tuple[Tensor, Tensor]


def ranges_of(net: Network, k: float = _K) -> dict[str, Ends]:
    """[low, high] of tensors, one number or one per channel, where statistics say it.

    The network input is taken as normalised, within 3 deviations.
    """
    known = edge_statistics(net)
    found: dict[str, Ends] = {}
    reach = torch.tensor(_INPUT_REACH)
    for tensor in net.graph.inputs:
        found[tensor] = (-reach, reach)
    for node in net.graph.nodes:
        ends = _ends(net, node, known, found, k)
        if ends is not None:
            found[node.output] = ends
    return found


def _ends(
    net: Network, node: Node, known: dict[str, EdgeStatistics], found: dict[str, Ends], k: float
) -> Ends | None:
    if node.op in _BOUNDED:
        least, most = _BOUNDED[node.op]
        return torch.tensor(least), torch.tensor(most)
    if node.op in _CLIPS or node.op == "hardtanh":
        source = node.inputs[0]
        least, most = _CLIPS.get(node.op) or _limits(node)
        if "limit" in node.attributes:  # one per channel, which equalization may have raised
            most = math.inf
        if source in known:
            return statistics_range(known[source].mean, known[source].std, k, least, most)
        if source in found:
            return found[source][0].clamp(least, most), found[source][1].clamp(least, most)
        return None
    if net.graph.is_residual_add(node) or node.op not in _KEEPS_RANGE | {"concat"}:
        if node.output in known:
            return statistics_range(known[node.output].mean, known[node.output].std, k)
        parts = [found[tensor] for tensor in node.inputs if tensor in found]
        if node.op == "add" and len(parts) == len(node.inputs) > 1:
            lows, highs = zip(*((a.min(), b.max()) for a, b in parts), strict=True)
            return torch.stack(lows).sum(), torch.stack(highs).sum()
        return None
    parts = [found[tensor] for tensor in node.inputs if tensor in found]
    if len(parts) != len(node.inputs):
        return None
    low = torch.stack([a.min() for a, _ in parts]).min()
    high = torch.stack([b.max() for _, b in parts]).max()
    return (low.clamp(max=0), high.clamp(min=0)) if node.op == "pad" else (low, high)


def _limits(node: Node) -> tuple[float, float]:
    """Both ends of a clip; in `hardtanh` they are attributes."""
    low, high = node.attributes["min_value"], node.attributes["max_value"]
    assert isinstance(low, float) and isinstance(high, float)
    return low, high


def means_of(net: Network) -> dict[str, Tensor]:
    """Mean per channel of tensors, where statistics say it; pools keep the mean, normalised inputs have 0."""
    found = {tensor: stats.mean.double() for tensor, stats in edge_statistics(net).items()}
    for tensor in net.graph.inputs:
        found[tensor] = torch.zeros(net.graph.tensors[tensor].shape[1], dtype=torch.float64)
    for node in net.graph.nodes:
        if node.output in found or not node.inputs or node.inputs[0] not in found:
            continue
        shape = net.graph.tensors[node.output].shape
        same = len(shape) > 1 and shape[1] == len(found[node.inputs[0]])
        if node.op in {"avg_pool", "global_avg_pool", "mean", "flatten", "identity", "dropout"} and same:
            found[node.output] = found[node.inputs[0]]
    return found


@torch.no_grad()
def quantize_without_data(
    plain: Network, placed: Network, config: PtqConfig
) -> tuple[dict[str, TensorRow], list[str]]:
    """Give every quantizer of `placed` its scale, round weights to nearest, correct biases; rows and notes.

    `plain` is the folded float network that `placed` was made from.

    Raises:
        PtqError: a tensor that is quantized has no statistics; the layer is named.
    """
    ranges, means = ranges_of(plain), means_of(plain)
    assert placed.assignment is not None
    rows: dict[str, TensorRow] = {}
    notes: list[str] = []
    quantizers = {q.name: q for q in (quantizer_of(placed, n) for n in placed.module.graph.nodes) if q}
    for point in placed.assignment.points:
        if point.tensor not in ranges:
            raise PtqError(_unknown(plain, point.tensor))
        quantizer = quantizers[point.name]
        low, high = (end.double() for end in ranges[point.tensor])
        if is_frozen(quantizer):
            put(quantizer, params_of_range(low.min(), high.max(), quantizer.tensor_format, point.name))
        scale = float(quantizer.scale_now().max())
        zero = int(quantizer.zero_point_now().max())
        rows[point.name] = TensorRow(
            point.name, "activation", str(point.format), scale, scale, zero, 0.0, math.nan, f"bn({_K:g})"
        )
    state = placed.module.state_dict()
    for node, quantizer in weight_readers(placed).items():
        if quantizer.name in rows or quantizer.parameter is None:
            continue
        parameter = state[quantizer.parameter]
        original = parameter.clone()
        mask = mask_at(placed, cast(fx.Node, node.args[1]).all_input_nodes[0])
        survivors = original if mask is None else mask.survivors(original)
        method, found = range_weight(quantizer, survivors, config)
        notes += found
        parameter.copy_(quantizer(original if mask is None else mask(original)))
        rows[quantizer.name] = weight_row(quantizer, original, parameter, method)
        layer = placed.graph.node(quantizer.name.removesuffix(".weight"))
        if config.bias_correction != "none":
            notes += _correct(node, layer, state, original, parameter, means)
    return rows, notes


def _correct(
    call: fx.Node,
    layer: Node,
    state: dict[str, Tensor],
    original: Tensor,
    rounded: Tensor,
    means: dict[str, Tensor],
) -> list[str]:
    bias = call.args[2] if len(call.args) > 2 else None
    shift = mean_shift(layer, original, rounded, means)
    if shift is None:
        return [no_mean(layer)]
    if isinstance(bias, fx.Node) and bias.op == "get_attr":
        parameter = state[str(bias.target)]
        parameter += shift.to(parameter.dtype)
    return []


def mean_shift(layer: Node, original: Tensor, rounded: Tensor, means: Mapping[str, Tensor]) -> Tensor | None:
    """What rounding of its weights takes from the mean of a layer's channels; None without the input's mean.

    `means`: of tensors, per channel, as `means_of` finds them.
    """
    mean = means.get(layer.inputs[0])
    groups = layer.ints("groups", 1, 1)[0]
    if layer.attributes.get("transposed") or mean is None or len(mean) != original.shape[1] * groups:
        return None
    return bias_shift(original, rounded, mean, groups)


def no_mean(layer: Node) -> str:
    """The note on a layer whose bias is not corrected."""
    return f"{layer.name}: no bias correction, the mean of its input is not known"


def _unknown(net: Network, tensor: str) -> str:
    """Why a tensor that is quantized has no range: a layer without statistics, or an operator after one."""
    known, node = edge_statistics(net), net.graph.producer(tensor)
    while node is not None and node.op not in ("conv", "linear", "matmul") and node.inputs:
        before = net.graph.producer(node.inputs[0])
        if node.inputs[0] in known:
            return f"data-free: no range is known behind {node.op} {node.name!r}; give calibration images"
        if before is None:
            break
        node = before
    name = tensor if node is None else node.name
    return f"data-free needs BatchNorm statistics: layer {name!r} has none; give calibration images"
