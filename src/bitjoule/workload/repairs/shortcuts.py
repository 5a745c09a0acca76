"""Shortcuts of binary networks: `double_residual` and `hp_downsample` (Bi-Real, Liu et al. 2018)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from bitjoule.workload.graph import Node
from bitjoule.workload.repairs.edit import Edit
from bitjoule.workload.repairs.sites import behind_norm, is_residual_add, source, traced

__all__ = ["double_residual", "hp_downsample"]

EPS = 1e-5


@dataclass(frozen=True)
class Block:
    """A residual add of a chain of binary layers and a shortcut round them.

    `shortcut`: operand of the add; `way`: tensors from it back to what the first layer of the chain reads.
    """

    add: str
    chain: tuple[str, ...]
    shortcut: int
    way: tuple[str, ...]


def double_residual(edit: Edit, layers: tuple[str, ...]) -> None:
    """A shortcut round every binary layer, added at high precision: K P Q adds each.

    In a residual block of several layers the block's shortcut goes round the layer that changes the shape,
    and every other layer gets what it reads. Without a block, a shortcut that changes shape is an average
    pool and zero channels; where channels get fewer, or rows do not divide, the layer stays without one.
    """
    done: set[str] = set()
    for name in [node.name for node in edit.nodes.values() if is_residual_add(edit, node)]:
        block = block_of(edit, edit.nodes[name], layers)
        if block is not None:
            _inside(edit, block)
            done.update(block.chain)
    for layer in layers:
        if layer not in done:
            _plain(edit, layer)


def hp_downsample(edit: Edit, layers: tuple[str, ...]) -> None:
    """Shortcuts that change shape become average pool, 1x1 convolution at 8 bits, batch norm.

    C K P Q multiply-accumulates at 8 bits and stride^2 C P Q adds. A strided 1x1 convolution keeps its
    weights and loses its stride to the pool; slices and zero channels are replaced.
    """
    blocks = 0
    main = tuple(layer for layer in layers if not _is_binary_shortcut(edit, layer, layers))
    for name in [node.name for node in edit.nodes.values() if is_residual_add(edit, node)]:
        block = block_of(edit, edit.nodes[name], main)
        if block is None or edit.shape(block.way[0]) == edit.shape(block.way[-1]):
            continue
        blocks += 1
        start, end = block.way[-1], block.way[0]
        found = [edit.nodes[tensor] for tensor in block.way if tensor in edit.nodes]
        conv = next((node for node in found if node.op == "conv" and start != node.output), None)
        if conv is not None:
            stride = conv.ints("stride", 2, 1)
            if stride != (1, 1):
                pooled = _pool(edit, f"{conv.name}.pool", conv.inputs[0], stride, edit.shape(conv.output)[2:])
                edit.read(conv.name, 0, pooled)
            unmended = {"mended": False} if conv.attributes.get("mended") else {}
            edit.change(conv.name, {"stride": (1, 1), "bits": 8, **unmended})
            continue
        (inner, *rows), (outer, *fewer) = edit.shape(start)[1:], edit.shape(end)[1:]
        tensor = start
        stride = _stride(tuple(rows), tuple(fewer))
        if stride != (1, 1):
            tensor = _pool(edit, f"{name}.pool", start, stride, tuple(fewer))
        settings = {"kernel": (1, 1), "stride": (1, 1), "dilation": (1, 1), "padding": (0, 0, 0, 0)}
        channels = {"groups": 1, "in_channels": inner, "out_channels": outer, "transposed": False}
        shape, weight = (1, outer, *fewer), {"weight": (outer, inner, 1, 1)}
        tensor = edit.make(
            f"{name}.downsample", "conv", (tensor,), shape, {**settings, **channels}, weight, bits=8
        )
        norm = {"weight": (outer,), "bias": (outer,)}
        tensor = edit.make(
            f"{name}.norm", "batch_norm", (tensor,), shape, {"features": outer, "eps": EPS}, norm
        )
        edit.read(name, block.shortcut, tensor)
        edit.drop_unread()
    if not blocks:
        edit.notes.append("hp_downsample found no shortcut that changes shape")


def _is_binary_shortcut(edit: Edit, layer: str, layers: tuple[str, ...]) -> bool:
    """Whether a binary layer is the 1x1 convolution of a shortcut (`downsample=same`): what it reads has
    other readers, and its result is added to that of another binary layer.
    """
    node, result = edit.nodes[layer], behind_norm(edit, layer)
    add = edit.only_reader(result)
    if node.op != "conv" or set(node.ints("kernel", 2, 1)) != {1} or not is_residual_add(edit, add):
        return False
    ends = {behind_norm(edit, other) for other in layers if other != layer}
    others = [tensor for tensor in (() if add is None else add.inputs) if tensor != result]
    return edit.only_reader(source(edit, layer)) is None and any(tensor in ends for tensor in others)


def block_of(edit: Edit, add: Node, layers: tuple[str, ...]) -> Block | None:
    """The block that `add` ends, None where its operands are not a chain of binary layers and a shortcut."""
    ends = {behind_norm(edit, layer): layer for layer in layers}
    if len(add.inputs) != 2:
        return None
    for place in (0, 1):
        if add.inputs[place] not in ends:
            continue
        way = traced(edit, add.inputs[1 - place], frozenset(layers))
        chain = [ends[add.inputs[place]]]
        while (read := source(edit, chain[0])) not in way and read in ends and ends[read] not in chain:
            chain.insert(0, ends[read])
        if read in way:
            return Block(add.name, tuple(chain), 1 - place, tuple(way[: way.index(read) + 1]))
    return None


def _inside(edit: Edit, block: Block) -> None:
    edit.change(block.add, {"bits": edit.high_bits})
    shortcut = block.way[0]
    moved = False
    for layer in block.chain[:-1]:
        result, read = behind_norm(edit, layer), source(edit, layer)
        if edit.shape(result) == edit.shape(read):
            other = read
        elif not moved and edit.shape(result) == edit.shape(shortcut):
            other, moved = shortcut, True
        else:
            edit.notes.append(f"double_residual left {layer!r} without a shortcut: it changes shape")
            continue
        edit.follow(result, "add", f"{layer}.residual", others=(other,))
    last = source(edit, block.chain[-1])
    if edit.shape(last) == edit.shape(block.add):
        edit.read(block.add, block.shortcut, last)


def _plain(edit: Edit, layer: str) -> None:
    result, read = behind_norm(edit, layer), source(edit, layer)
    (inner, *rows), (outer, *fewer) = edit.shape(read)[1:], edit.shape(result)[1:]
    if result in edit.outputs:
        edit.notes.append(
            f"double_residual left {layer!r} without a shortcut: it is an output of the network"
        )
        return
    stride = (1, 1)
    if rows != fewer:
        stride = _stride(tuple(rows), tuple(fewer))
    pooled = tuple(math.ceil(size / step) for size, step in zip(rows, stride, strict=bool(rows)))
    if outer < inner or pooled != tuple(fewer):
        edit.notes.append(
            f"double_residual left {layer!r} without a shortcut: no pool and zero channels lead from "
            f"{'x'.join(map(str, (inner, *rows)))} to {'x'.join(map(str, (outer, *fewer)))}"
        )
        return
    if stride != (1, 1):
        read = _pool(edit, f"{layer}.pool", read, stride, tuple(fewer))
    if outer > inner:
        before = (outer - inner) // 2
        pads = (*(0 for _ in range(2 * len(fewer))), before, outer - inner - before)
        shape = (1, outer, *fewer)
        read = edit.make(f"{layer}.zeros", "pad", (read,), shape, {"pads": pads, "value": 0.0})
    edit.follow(result, "add", f"{layer}.residual", others=(read,))


def _stride(rows: tuple[int, ...], fewer: tuple[int, ...]) -> tuple[int, int]:
    """Rows and columns of a window that leads from one size to the other."""
    first, second = (math.ceil(large / small) for large, small in zip(rows, fewer, strict=True))
    return first, second


def _pool(edit: Edit, name: str, tensor: str, window: tuple[int, ...], size: tuple[int, ...]) -> str:
    attributes = {"kernel": window, "stride": window, "padding": (0, 0, 0, 0)}
    more = {"ceil_mode": True, "count_include_pad": False}
    shape = (1, edit.shape(tensor)[1], *size)
    return edit.make(name, "avg_pool", (tensor,), shape, {**attributes, **more})
