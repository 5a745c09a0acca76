"""What quantizers do between the steps of a training: schedules, weights held in place, terms of the loss."""

from __future__ import annotations

import torch
from torch import Tensor

from bitjoule.network import Network
from bitjoule.quant import FakeQuantizer
from bitjoule.quant.pruning import GammaPenalty, NMMask, mask_of, masked, term_penalty
from bitjoule.train.qat import quantizers

__all__ = ["BetweenSteps"]


class BetweenSteps:
    """What follows the training of a network (`follows_training`), each with its weight: quantizers, N:M
    masks, penalties on channels. `counted`: quantizers whose signed digits cost, with weights and masks.

    >>> from bitjoule import zoo
    >>> from bitjoule.network import capture
    >>> BetweenSteps(capture(zoo.tfc(inputs=64), input_shape=(1, 1, 8, 8))).followers
    []
    """

    def __init__(self, net: Network) -> None:
        named = dict(net.named_parameters())
        self.followers: list[tuple[FakeQuantizer | NMMask | GammaPenalty, Tensor | None]] = [
            (q, named.get(q.parameter) if q.parameter else None)
            for q in net.module.modules()
            if isinstance(q, FakeQuantizer | NMMask | GammaPenalty) and q.follows_training
        ]
        self.counted: list[tuple[FakeQuantizer, Tensor, NMMask | None]] = [
            (q, named[q.parameter], mask_of(net, path))
            for path, q in quantizers(net).items()
            if q.config.csd_penalty and q.parameter in named
        ]

    def begin_epoch(self, epoch: int, epochs: int) -> None:
        """Before epoch `epoch` (from 0) of `epochs`."""
        for quantizer, weight in self.followers:
            quantizer.begin_epoch(epoch, epochs, weight)

    def penalty(self, progress: float) -> Tensor | None:
        """The sum of what quantizers add to the loss, None for nothing; `progress` from 0 to 1."""
        terms = [quantizer.penalty(weight, progress) for quantizer, weight in self.followers]
        found = [term for term in terms if term is not None]
        found += [
            quantizer.config.csd_penalty * term_penalty(quantizer, masked(mask, weight))
            for quantizer, weight, mask in self.counted
        ]
        return torch.stack(found).sum() if found else None

    @torch.no_grad()
    def after_step(self, optimizer: torch.optim.Optimizer, progress: float) -> None:
        """After the optimizer's step."""
        for quantizer, weight in self.followers:
            quantizer.after_step(weight, optimizer, progress)
