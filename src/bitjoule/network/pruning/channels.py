"""Channel pruning: a smaller Network from a trained one, to be fine-tuned by an ordinary training."""

from __future__ import annotations

import math

from bitjoule.network.network import Network, NetworkError
from bitjoule.network.pruning.cut import cut_channels, refusals
from bitjoule.network.pruning.scores import Score, check_score, weakest
from bitjoule.network.pruning.ties import channel_ties

__all__ = ["prune_channels"]


def prune_channels(net: Network, ratio: float, *, score: Score = "bn_gamma") -> Network:
    """A new Network without the weakest share `ratio` of the channels of every group.

    Channels joined by adds and depthwise convolutions go together; survivors of a group are rounded to a
    multiple of 8, at least 8. `notes` of the result say what was cut and what could not be. The energy of
    the result is that of its own Graph: `bj.energy(pruned, scheme, hardware)`.

    Raises:
        NetworkError: quantizers were inserted already, a ratio outside 0..1, an unknown score, or a network
            none of whose channels can be cut.

    >>> from torch import nn
    >>> from bitjoule.network import capture
    >>> model = nn.Sequential(nn.Conv2d(3, 32, 3), nn.BatchNorm2d(32), nn.ReLU(), nn.Conv2d(32, 4, 3))
    >>> pruned = prune_channels(capture(model, input_shape=(1, 3, 8, 8)), 0.5)
    >>> pruned.graph.node("3").parameters["weight"], pruned.notes
    ((4, 16, 3, 3), ('channels cut: 0 32 -> 16',))
    """
    if isinstance(ratio, bool) or not isinstance(ratio, int | float) or not math.isfinite(ratio):
        raise NetworkError(f"prune_channels: ratio must be a number such as 0.3, not {ratio!r}")
    if not 0 <= ratio < 1:
        raise NetworkError(f"prune_channels: ratio must be at least 0 and below 1, not {ratio}")
    check_score(score)
    if net.quantized:
        raise NetworkError(
            f"{net.name}: quantizers of scheme {str(net.scheme)!r} are inserted already; prune before that"
        )
    ties = channel_ties(net.graph, refusals(net))
    if not ties.groups:
        reasons = "; ".join(f"{tensor}: {reason}" for tensor, reason in ties.fixed.items())
        raise NetworkError(f"{net.name} has no channels that can be cut ({reasons})")
    cut, notes = weakest(net, ties, ratio, score)
    pruned = cut_channels(net, ties, cut)
    changed = [
        f"{node.name} {node.parameters['weight'][0]} -> {after.parameters['weight'][0]}"
        for node, after in zip(net.graph.nodes, pruned.graph.nodes, strict=True)
        if node.op in ("conv", "linear") and node.parameters["weight"][0] != after.parameters["weight"][0]
    ]
    made = {layer for group in ties.groups for layer in group.layers}
    whole = [
        f"{node.name} ({reason})"
        for node in net.graph.nodes
        if node.op in ("conv", "linear")
        and node.name not in made
        and (reason := ties.fixed.get(node.output, "it is tied to such a tensor")) != "it is a network output"
    ]
    summary = f"channels cut: {', '.join(changed)}" if changed else f"no channels cut at ratio {ratio:g}"
    kept = (f"channels that cannot be cut: {', '.join(whole)}",) if whole else ()
    pruned.notes = (*net.notes, summary, *notes, *kept)
    return pruned
