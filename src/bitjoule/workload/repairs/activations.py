"""Activations behind binary layers: `prelu`, `rprelu`, `dprelu`."""

from __future__ import annotations

from bitjoule.workload.repairs.edit import Edit
from bitjoule.workload.repairs.sites import behind_shortcut, channel_shape

__all__ = ["dprelu", "prelu", "rprelu"]

CLIPS = ("relu", "relu6", "hardtanh")


def prelu(edit: Edit, layers: tuple[str, ...]) -> None:
    """a_k x below 0, a_k = 0.25 at the start: K P Q multiplications."""
    for layer, tensor in _places(edit, layers, "prelu"):
        channels = edit.shape(tensor)[1]
        edit.follow(tensor, "prelu", f"{layer}.prelu", {}, {"weight": (channels,)})


def rprelu(edit: Edit, layers: tuple[str, ...]) -> None:
    """PReLU(x + g_k) + z_k (ReActNet, equation 5): K P Q multiplications, 2 K P Q adds."""
    for layer, tensor in _places(edit, layers, "rprelu"):
        _shifted(edit, layer, tensor, {"weight": (edit.shape(tensor)[1],)})


def dprelu(edit: Edit, layers: tuple[str, ...]) -> None:
    """Two slopes, 0.25 below and 1 above 0 at the start, between two shifts (PokeBNN, arXiv 2112.00133)."""
    for layer, tensor in _places(edit, layers, "dprelu"):
        channels = (edit.shape(tensor)[1],)
        _shifted(edit, layer, tensor, {"weight": channels, "positive": channels})


def _shifted(edit: Edit, layer: str, tensor: str, slopes: dict[str, tuple[int, ...]]) -> None:
    shape = channel_shape(edit.shape(tensor))
    before = edit.constant(f"{layer}.shift_before", shape, 0.0)
    moved = edit.follow(tensor, "add", f"{layer}.before", others=(before,))
    sloped = edit.follow(moved, "prelu", f"{layer}.prelu", {}, slopes)
    after = edit.constant(f"{layer}.shift_after", shape, 0.0)
    edit.follow(sloped, "add", f"{layer}.after", others=(after,))


def _places(edit: Edit, layers: tuple[str, ...], name: str) -> list[tuple[str, str]]:
    """Where the activation of each layer goes: behind its add; a clip that stands there goes away."""
    found = []
    for layer in layers:
        tensor = behind_shortcut(edit, layer)
        node = edit.only_reader(tensor)
        if node is not None and node.op in CLIPS:
            edit.remove(node.name)
        ahead = node
        while ahead is not None and ahead.op == "add" and len(edit.operands(ahead)) == 1:
            ahead = edit.only_reader(ahead.output)
        if ahead is not None and ahead.op == "prelu":
            edit.notes.append(f"{name} left {layer!r}: it has a PReLU behind it already")
        elif tensor not in edit.outputs:
            found.append((layer, tensor))
    return found
