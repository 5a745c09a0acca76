"""What quantizers do between the steps of a training: schedules, weights held in place, terms of the loss."""

from __future__ import annotations

import torch
from torch import Tensor

from bitjoule.network import Network
from bitjoule.quant import FakeQuantizer
from bitjoule.train.qat import quantizers

__all__ = ["BetweenSteps"]


class BetweenSteps:
    """The quantizers of a network that follow its training (`follows_training`), each with its weight.

    >>> from bitjoule import zoo
    >>> from bitjoule.network import capture
    >>> BetweenSteps(capture(zoo.tfc(inputs=64), input_shape=(1, 1, 8, 8))).followers
    []
    """

    def __init__(self, net: Network) -> None:
        named = dict(net.named_parameters())
        self.followers: list[tuple[FakeQuantizer, Tensor | None]] = [
            (q, named.get(q.parameter) if q.parameter else None)
            for q in quantizers(net).values()
            if q.follows_training
        ]

    def begin_epoch(self, epoch: int, epochs: int) -> None:
        """Before epoch `epoch` (from 0) of `epochs`."""
        for quantizer, weight in self.followers:
            quantizer.begin_epoch(epoch, epochs, weight)

    def penalty(self, progress: float) -> Tensor | None:
        """The sum of what quantizers add to the loss, None for nothing; `progress` from 0 to 1."""
        terms = [quantizer.penalty(weight, progress) for quantizer, weight in self.followers]
        found = [term for term in terms if term is not None]
        return torch.stack(found).sum() if found else None

    @torch.no_grad()
    def after_step(self, optimizer: torch.optim.Optimizer, progress: float) -> None:
        """After the optimizer's step."""
        for quantizer, weight in self.followers:
            quantizer.after_step(weight, optimizer, progress)
