"""The last step: every claim of width is counted on the finished network, and biases go to 32 bits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, fx

from bitjoule.network import Network
from bitjoule.network.graph_writer import MARK
from bitjoule.quant import FakeQuantizer
from bitjoule.train.ptq.config import PtqError
from bitjoule.train.ptq.place import is_frozen
from bitjoule.train.ptq.trace import quantizer_of, run_node, weight_readers
from bitjoule.workload.graph import MAC_OPS, NO_OPS, TRANSPARENT

__all__ = ["round_biases", "verify_widths"]

_IMAGES = 64
_FIRST = 4096  # values whose distinct ones are looked for in the others
_FEW = 64
_PASSIVE = TRANSPARENT | NO_OPS | {"relu", "pad"}
"""What keeps values on the grid of the quantizer before it."""


@torch.no_grad()
def verify_widths(net: Network, images: Tensor) -> int:
    """Count distinct values of every weight channel (or group with a scale of its own) and of every quantized
    activation on up to 64 images.

    Returns the number of tensors counted.

    Raises:
        PtqError: a channel, a group or an activation has more than 2^bits values, or a layer reads a weight
            or an activation that no quantizer made although the scheme gives it a Format.
    """
    assignment = net.assignment
    if assignment is None:
        raise PtqError(f"ptq: {net.name} has no Formats to verify; apply a scheme first")
    counted = 0
    readers = weight_readers(net)
    for quantizer in dict.fromkeys(readers.values()):
        weight = _called(net, quantizer)
        if quantizer.tensor_format.format.kind in ("vector", "block"):
            continue
        channels = weight.movedim(quantizer.axis, 0).flatten(1)
        scaling = quantizer.tensor_format.scaling
        if scaling.granularity == "tensor":
            channels = channels.reshape(1, -1)
        if scaling.granularity == "group":
            most = max(most_distinct(part) for part in torch.split(channels, scaling.group_size, 1))
            _count(quantizer, most, "a group of the weight")
        else:
            _count(quantizer, max(distinct(channel) for channel in channels), "a channel of the weight")
        counted += 1
    for name, count in _activation_levels(net, images[:_IMAGES]).items():
        _count(cast(FakeQuantizer, net.module.get_submodule(name)), count, "the activation")
        counted += 1
    quantized = {q.name.removesuffix(".weight") for q in readers.values()}
    by_parameter = {q.parameter for q in readers.values()}
    for node in net.graph.nodes:
        expected = node.op in MAC_OPS and node.name in assignment.weights and not node.shared
        if expected and node.name not in quantized and f"{node.module}.weight" not in by_parameter:
            raise PtqError(f"ptq: the weight of {node.name} is still float; this is a fault of bitjoule")
    missing = {p.name for p in assignment.points} - {
        q.name for q in (quantizer_of(net, n) for n in net.module.graph.nodes) if q is not None
    }
    if missing:
        raise PtqError(f"ptq: activation {min(missing)} has no quantizer; this is a fault of bitjoule")
    return counted


def _count(quantizer: FakeQuantizer, found: int, what: str) -> None:
    bits = quantizer.tensor_format.format.bits
    if found > 2**bits:
        raise PtqError(
            f"ptq: {what} {quantizer.name} holds {found} values, more than the {2**bits} of "
            f"{quantizer.tensor_format}; this is a fault of bitjoule"
        )


def distinct(x: Tensor) -> int:
    """Number of distinct values of `x`; quick where they are few, as in a quantized tensor.

    >>> distinct(torch.tensor([1.0, 2.0, 1.0]))
    2
    """
    flat = x.detach().flatten()
    known = torch.unique(flat[:_FIRST])
    if len(known) * _FEW > len(flat):
        return len(torch.unique(flat))
    place = torch.bucketize(flat, known).clamp_max(len(known) - 1)
    return len(known) + len(torch.unique(flat[known[place] != flat]))


def most_distinct(rows: Tensor) -> int:
    """The most distinct values in a row, all rows at once.

    >>> most_distinct(torch.tensor([[1.0, 1.0, 2.0], [1.0, 2.0, 3.0]]))
    3
    """
    ordered = rows.detach().sort(1).values
    return 1 + int((ordered[:, 1:] != ordered[:, :-1]).sum(1).max()) if rows.shape[1] else 0


def _called(net: Network, quantizer: FakeQuantizer) -> Tensor:
    """The quantized weight."""

    def value(node: fx.Node) -> Any:
        if node.op == "get_attr":
            owner, _, name = str(node.target).rpartition(".")
            return getattr(net.module.get_submodule(owner), name)
        return run_node(net.module, node, fx.map_arg(node.args, value), fx.map_arg(node.kwargs, value))

    for node in net.module.graph.nodes:
        if quantizer_of(net, node) is quantizer:
            return cast(Tensor, value(node))
    raise PtqError(f"ptq: nothing reads the weight {quantizer.name}")


def _activation_levels(net: Network, images: Tensor) -> dict[str, int]:
    """Distinct output values of every activation quantizer, by its path."""
    found: dict[str, int] = {}
    handles = []
    for path, module in net.module.named_modules():
        if isinstance(module, FakeQuantizer) and module.role == "activation":

            def count(_m: object, _a: object, out: Tensor, path: str = path) -> None:
                found[path] = max(found.get(path, 0), distinct(out))

            handles.append(module.register_forward_hook(count))
    try:
        net(images)
    finally:
        for handle in handles:
            handle.remove()
    return found


@torch.no_grad()
def round_biases(net: Network) -> tuple[str, ...]:
    """Round every bias to a multiple of input scale times weight scale, as 32-bit accumulators hold it.

    Layers that read values of no single quantizer of fixed scale keep theirs: their names are returned.
    """
    described = {node.name: node.op for node in net.graph.nodes}
    kept: list[str] = []
    for node, quantizer in weight_readers(net).items():
        bias = node.args[2] if len(node.args) > 2 else None
        if not isinstance(bias, fx.Node) or bias.op != "get_attr":
            continue
        source = _quantizer_before(net, cast(fx.Node, node.args[0]), described)
        if (
            source is None
            or not is_frozen(source)
            or not is_frozen(quantizer)
            or quantizer.scale_now().dim() > 1
        ):
            kept.append(str(node.meta[MARK]))
            continue
        owner, _, name = str(bias.target).rpartition(".")
        parameter = cast(Tensor, getattr(net.module.get_submodule(owner), name))
        step = quantizer.scale_now().double() * source.scale_now().double()
        top = float(2**31 - 1)
        parameter.copy_((parameter.double() / step).round_().clamp_(-top - 1, top) * step)
    return tuple(kept)


def _quantizer_before(net: Network, node: fx.Node, described: Mapping[str, str]) -> FakeQuantizer | None:
    while True:
        quantizer = quantizer_of(net, node)
        if quantizer is not None:
            return quantizer
        sources = node.all_input_nodes
        if len(sources) != 1 or described.get(node.meta.get(MARK, "")) not in _PASSIVE:
            return None
        node = sources[0]
