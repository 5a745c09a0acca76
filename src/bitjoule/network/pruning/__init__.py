"""Channel pruning of a captured network: which channels are tied, which go, and the surgery."""

from bitjoule.network.pruning.channels import prune_channels
from bitjoule.network.pruning.cut import cut_channels, refusals
from bitjoule.network.pruning.scores import Score, survivors, tie_scores, weakest
from bitjoule.network.pruning.ties import ChannelGroup, Ties, channel_ties

__all__ = [
    "ChannelGroup",
    "Score",
    "Ties",
    "channel_ties",
    "cut_channels",
    "prune_channels",
    "refusals",
    "survivors",
    "tie_scores",
    "weakest",
]
