"""Repairs of the range of a binary result: `scale_input`, `scale_xnorpp`, `se8`, `bn_out`."""

from __future__ import annotations

from collections.abc import Mapping

from bitjoule.workload.graph import Attribute, Node
from bitjoule.workload.repairs.edit import Edit
from bitjoule.workload.repairs.sites import behind_scale, entry, norm_of, source

__all__ = ["bn_out", "scale_input", "scale_xnorpp", "se8"]

EPS = 1e-5
SQUEEZE = 8
MAGNITUDE: Mapping[str, Attribute] = {"dims": (1,), "keepdim": True, "absolute": True}
BOX: Mapping[str, Attribute] = {"ceil_mode": False, "count_include_pad": True}
GATE: Mapping[str, Attribute] = {"behind_conv": True, "gate": True}


def scale_input(edit: Edit, layers: tuple[str, ...]) -> None:
    """Times K = box(mean_c |x|) of the input (Rastegari et al. 2016, section 3.2).

    C H W adds for the mean, R S P Q for the box, K P Q multiplications; a linear layer has no box.
    """
    for layer in layers:
        node, x = edit.nodes[layer], source(edit, layer)
        spatial = edit.shape(x)[2:]
        if set(node.ints("dilation", 2, 1)) != {1}:
            edit.notes.append(f"scale_input left {layer!r}: a box of a dilated kernel is not defined")
            continue
        scale = edit.make(f"{layer}.magnitude", "mean", (x,), (1, 1, *spatial), MAGNITUDE)
        if node.op == "conv":
            window = {name: node.ints(name, 2, 1) for name in ("kernel", "stride")}
            window["padding"] = _padding(edit, node)
            shape = (1, 1, *edit.shape(node.output)[2:])
            scale = edit.make(f"{layer}.box", "avg_pool", (scale,), shape, {**window, **BOX})
        edit.follow(node.output, "mul", f"{layer}.scaled", GATE, others=(scale,))


def _padding(edit: Edit, conv: Node) -> tuple[int, ...]:
    """Zeros round the input of a convolution: its own and those of a padding before it."""
    padding = conv.ints("padding", 4)
    before = edit.nodes[entry(edit, conv.name)]
    if before is conv:
        return padding
    left, right, top, bottom = before.ints("pads", 4)
    return tuple(a + b for a, b in zip(padding, (top, left, bottom, right), strict=True))


def scale_xnorpp(edit: Edit, layers: tuple[str, ...]) -> None:
    """Times a_k b_p c_q, all learned, 1 at the start (Bulat 2019, arXiv 1909.13863): K P Q multiplications,
    K + P + Q parameters.
    """
    for layer in layers:
        shape = edit.shape(edit.nodes[layer].output)
        axes = dict(zip(("channel", "row", "column"), ((size,) for size in shape[1:]), strict=False))
        scale = edit.constant(f"{layer}.outer_scale", shape, 1.0, axes)
        edit.follow(
            edit.nodes[layer].output, "mul", f"{layer}.scaled", {"behind_conv": True}, others=(scale,)
        )


def se8(edit: Edit, layers: tuple[str, ...]) -> None:
    """Squeeze and excite at 8 bits (Martinez et al. 2020, arXiv 2003.11535): mean of the input, FC C -> C/8,
    ReLU, FC -> K, sigmoid, times the result; no biases. The second FC starts near a gate of 1/2 for all.

    C H W adds, C^2/8 + C K/8 multiply-accumulates at 8 bits, K P Q multiplications.
    """
    for layer in layers:
        node, x = edit.nodes[layer], source(edit, layer)
        if node.op != "conv":
            edit.notes.append(f"se8 left {layer!r}: a linear layer has no map to squeeze")
            continue
        (inner, outer), kept = (
            (edit.shape(x)[1], edit.shape(node.output)[1]),
            max(1, edit.shape(x)[1] // SQUEEZE),
        )
        mean = edit.make(f"{layer}.se_mean", "global_avg_pool", (x,), (1, inner), {"keepdim": False})
        down = _linear(edit, f"{layer}.se_down", mean, inner, kept)
        clip = edit.make(f"{layer}.se_relu", "relu", (down,), (1, kept), bits=8)
        up = _linear(edit, f"{layer}.se_up", clip, kept, outer)
        gate = edit.make(f"{layer}.se_sigmoid", "sigmoid", (up,), (1, outer), bits=8)
        shape = (1, outer, 1, 1)
        gate = edit.make(f"{layer}.se_gate", "reshape", (gate,), shape, {"shape": shape}, bits=8)
        made = edit.follow(behind_scale(edit, layer), "mul", f"{layer}.excited", GATE, others=(gate,))
        edit.change(made, {"bits": 8})


def bn_out(edit: Edit, layers: tuple[str, ...]) -> None:
    """Batch norm on a result that has none and meets a high-precision add: K P Q (mult + add) (Bi-Real)."""
    for layer in layers:
        tensor = behind_scale(edit, layer)
        if norm_of(edit, tensor) is not None:
            continue
        channels = edit.shape(tensor)[1]
        norm = {"weight": (channels,), "bias": (channels,)}
        edit.follow(tensor, "batch_norm", f"{layer}.bn_out", {"features": channels, "eps": EPS}, norm)


def _linear(edit: Edit, name: str, tensor: str, inner: int, outer: int) -> str:
    attributes = {"in_features": inner, "out_features": outer}
    return edit.make(name, "linear", (tensor,), (1, outer), attributes, {"weight": (outer, inner)}, bits=8)
