"""Repairs of what the sign reads: `learned_shift` and `pre_bn`, and the clips that the sign replaces."""

from __future__ import annotations

from bitjoule.workload.repairs.edit import Edit
from bitjoule.workload.repairs.sites import channel_shape, entry, has_shift, norm_of

__all__ = ["learned_shift", "pre_bn"]

EPS = 1e-5


def learned_shift(edit: Edit, layers: tuple[str, ...]) -> None:
    """sign(x + b): one b per input channel, 0 at the start (RSign; Liu et al. 2020, arXiv 2003.03488).

    Costs C H W adds where the shifted tensor is stored for others too; nothing behind a batch norm or a
    requantization, whose threshold it moves (`workload/thresholds.py`).
    """
    for layer in layers:
        if has_shift(edit, layer):
            edit.notes.append(f"learned_shift left {layer!r}: it has a shift before its sign already")
            continue
        begin = entry(edit, layer)
        shape = channel_shape(edit.shape(edit.nodes[begin].inputs[0]))
        value = edit.constant(f"{layer}.shift", shape, 0.0)
        edit.precede(begin, "add", f"{layer}.shifted", {"before_sign": True}, others=(value,))


def pre_bn(edit: Edit, layers: tuple[str, ...]) -> None:
    """BN-sign-conv instead of sign-conv-BN (Martinez et al. 2020): the sign compares with one threshold per
    channel, no multiplication is left.
    """
    for layer in layers:
        behind = norm_of(edit, edit.nodes[layer].output)
        if behind is not None:
            edit.remove(behind.name)
        begin = entry(edit, layer)
        channels = edit.shape(edit.nodes[begin].inputs[0])[1]
        norm = {"weight": (channels,), "bias": (channels,)}
        attributes = {"features": channels, "eps": EPS, "before_sign": True}
        edit.precede(begin, "batch_norm", f"{layer}.pre_bn", attributes, norm)
