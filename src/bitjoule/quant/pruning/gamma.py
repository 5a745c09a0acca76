"""L1 on the scales of batch norm, so that whole channels fade and can be cut (network slimming, Liu et al.
2017, arXiv 1708.06519): loss + lambda sum |gamma|, lambda = 1e-4.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from bitjoule.network import Network, NetworkError
from bitjoule.quant.config import QuantizerError

__all__ = ["FOLDER", "STRENGTH", "GammaPenalty", "fade_channels", "without_fading"]

FOLDER = "fading"
"""The module under which the penalties stand."""

STRENGTH = 1e-4


class GammaPenalty(nn.Module):
    """lambda sum |gamma| of one batch norm; `parameter` is the path of its gamma.

    lambda is a buffer, so a checkpoint knows it.
    """

    strength: Tensor
    follows_training = True

    def __init__(self, parameter: str, strength: float) -> None:
        super().__init__()
        self.parameter: str | None = parameter
        self.register_buffer("strength", torch.tensor(float(strength)))

    def begin_epoch(self, epoch: int, epochs: int, weight: Tensor | None) -> None:
        """Nothing to prepare."""

    def after_step(self, weight: Tensor | None, optimizer: torch.optim.Optimizer, progress: float) -> None:
        """Nothing to hold."""

    def penalty(self, weight: Tensor | None, progress: float) -> Tensor | None:
        """The term of the loss."""
        return None if weight is None else self.strength * weight.abs().sum()


def fade_channels(net: Network, strength: float = STRENGTH) -> Network:
    """A copy of `net` whose training draws the scales of batch norm to 0; then `prune_channels`.

    Raises:
        NetworkError: the network has no batch norm with a scale.
        QuantizerError: a strength that is not finite and > 0.

    >>> from bitjoule.network import capture
    >>> net = capture(nn.Sequential(nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8)), input_shape=(1, 3, 4, 4))
    >>> [p.parameter for p in fade_channels(net).module.fading.children()]
    ['1.weight']
    """
    if isinstance(strength, bool) or not isinstance(strength, int | float):
        raise QuantizerError(f"fade_channels: strength must be a number, not {strength!r}")
    if not (math.isfinite(strength) and strength > 0):
        raise QuantizerError(f"fade_channels: strength must be finite and > 0, not {strength}")
    clone = without_fading(net)
    norms = [
        path
        for path, module in clone.module.named_modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.weight is not None
    ]
    if not norms:
        raise NetworkError(
            f"{net.name} has no batch norm with a scale to draw to 0; prune by score='l1' without it"
        )
    device = next(clone.parameters()).device
    folder = nn.Module()
    for index, path in enumerate(norms):
        folder.add_module(str(index), GammaPenalty(f"{path}.weight", strength).to(device))
    clone.module.add_module(FOLDER, folder.train(clone.training))
    return clone


def without_fading(net: Network) -> Network:
    """A copy of `net` without penalties on its batch norms.

    Raises:
        NetworkError: the model has a module named `fading` of its own.
    """
    clone = net.clone()
    folder = clone.module._modules.get(FOLDER)
    if folder is None:
        return clone
    if any(not isinstance(module, GammaPenalty) for module in folder.children()) or not list(
        folder.children()
    ):
        raise NetworkError(
            f"{net.name} has a module of its own named {FOLDER!r}, where penalties on channels go: rename it"
        )
    del clone.module._modules[FOLDER]
    return clone
