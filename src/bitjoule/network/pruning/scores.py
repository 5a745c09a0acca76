"""How much a channel matters, and how many stay.

`bn_gamma`: sum of |gamma| over the batch norms that scale a tie (Liu et al. 2017, arXiv 1708.06519). `l1`:
sum of the L1 norms of the filters that make it (Li et al. 2017, arXiv 1608.08710). Ties compete within
their group; survivors are the nearest multiple of 8 to (1 - ratio) times the channels, at least 8
(training.md section 5).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from bitjoule.network.network import Network, NetworkError
from bitjoule.network.pruning.ties import Ties

__all__ = ["DIVISOR", "Score", "check_score", "survivors", "tie_scores", "weakest"]

Score = Literal["bn_gamma", "l1"]

DIVISOR = 8


def check_score(score: str) -> None:
    """NetworkError for a name that is no score."""
    if score not in get_args(Score):
        raise NetworkError(f"prune_channels: score must be {' or '.join(get_args(Score))}, not {score!r}")


def survivors(channels: int, ratio: float) -> int:
    """How many of `channels` stay when the share `ratio` is to go; 8 or fewer all stay.

    >>> [survivors(channels, 0.3) for channels in (64, 32, 16, 8, 4)]
    [48, 24, 8, 8, 4]
    """
    wanted = channels * (1 - ratio)
    return min(channels, max(DIVISOR, int(wanted + DIVISOR / 2) // DIVISOR * DIVISOR))


@torch.no_grad()
def tie_scores(net: Network, ties: Ties, score: Score) -> Mapping[int, float]:
    """Tie -> score; a tie that nothing of the kind scores is missing."""
    found: dict[int, float] = {}
    for node in net.graph.nodes:
        kind = "batch_norm" if score == "bn_gamma" else node.op
        if node.op != kind or node.op not in ("batch_norm", "conv", "linear") or node.shared:
            continue
        weight = _weight(net, node.module)
        if weight is None or (score == "l1" and node.op == "batch_norm"):
            continue
        norms = weight.abs() if weight.dim() == 1 else weight.abs().flatten(1).sum(1)
        slots = ties.slots[node.output]
        if len(slots) == len(norms):
            for tie, value in zip(slots, norms.tolist(), strict=True):
                found[tie] = found.get(tie, 0.0) + value
    return found


def weakest(net: Network, ties: Ties, ratio: float, score: Score) -> tuple[frozenset[int], tuple[str, ...]]:
    """The ties to cut, and notes: groups without batch norm are scored by the norms of their filters."""
    scores = tie_scores(net, ties, score)
    norms: Mapping[int, float] = {}
    cut: set[int] = set()
    notes = []
    for group in ties.groups:
        known = scores
        if any(tie not in scores for tie in group.ties):
            norms = norms or tie_scores(net, ties, "l1")
            known = norms
            notes.append(f"scored by l1, having no batch norm: {', '.join(group.layers)}")
        going = len(group.ties) - survivors(len(group.ties), ratio)
        order = sorted(group.ties, key=lambda tie: (known[tie], -tie))
        cut.update(order[:going])
    return frozenset(cut), tuple(notes)


def _weight(net: Network, path: str) -> Tensor | None:
    try:
        module = net.module.get_submodule(path)
    except AttributeError:
        return None
    weight = getattr(module, "weight", None)
    return weight if isinstance(module, nn.Module) and isinstance(weight, Tensor) else None
