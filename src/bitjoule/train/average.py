"""The running average of the trained weights, and the batch statistics that go with it.

After training, a network with averaged weights needs statistics of its own: batch norm is re-estimated as the
plain average over batches of training images.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from bitjoule.network import Network
from bitjoule.train.parameters import batch_norms
from bitjoule.train.qat import quantizers
from bitjoule.train.schedule import average_decay
from bitjoule.zoo.data import Preprocessing, Split, batches

__all__ = ["WeightAverage", "reestimate_batch_norm"]

BATCHES = 50
"""Batches whose statistics are averaged (Nagel et al. 2022, published code)."""


class WeightAverage:
    """An exponential moving average of every trained parameter."""

    def __init__(self, net: Network, decay: float) -> None:
        self.decay = decay
        self.live = [p for p in net.parameters() if p.requires_grad]
        self.values = [p.detach().clone() for p in self.live]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take the weights of a step in."""
        torch._foreach_lerp_(
            self.values, [p.detach() for p in self.live], 1 - average_decay(self.decay, step)
        )

    @contextmanager
    def in_place(self, net: Network) -> Iterator[None]:
        """Run with the averaged weights; afterwards weights and buffers are as before."""
        buffers = {name: value.clone() for name, value in net.module.named_buffers()}
        weights = [p.detach().clone() for p in self.live]
        with torch.no_grad():
            for parameter, value in zip(self.live, self.values, strict=True):
                parameter.copy_(value)
        try:
            yield
        finally:
            with torch.no_grad():
                for parameter, value in zip(self.live, weights, strict=True):
                    parameter.copy_(value)
                for name, value in net.module.named_buffers():
                    value.copy_(buffers[name])

    def state(self) -> list[Tensor]:
        """The averages, in the order of the parameters."""
        return self.values

    @torch.no_grad()
    def load(self, values: list[Tensor]) -> None:
        """Put back what `state` gave."""
        for own, value in zip(self.values, values, strict=True):
            own.copy_(value)


@torch.no_grad()
def reestimate_batch_norm(net: Network, split: Split, preprocessing: Preprocessing, batch: int) -> None:
    """Replace running statistics by the average over the first batches of `split`, in place.

    Quantizers of weights measure the weights as they are now; everything else runs in evaluation mode.
    """
    norms = batch_norms(net)
    measured = [q for q in quantizers(net).values() if q.role == "weight"]
    if not norms and not measured:
        return
    device = next(net.parameters()).device
    modes = [(module, module.training) for module in net.module.modules()]
    rates = [norm.momentum for norm in norms]
    net.eval()
    for module in (*norms, *measured):
        module.train()
    try:
        whole = split if len(split) < batch else type(split)(*_whole_batches(split, batch))
        for index, (images, _) in enumerate(
            batches(whole, batch, preprocessing=preprocessing, device=device)
        ):
            for norm in norms:
                norm.momentum = 1 / (index + 1)  # type: ignore[assignment]
            net(images)
            if index + 1 == BATCHES:
                break
    finally:
        for norm, rate in zip(norms, rates, strict=True):
            norm.momentum = rate
        for module, mode in modes:
            module.training = mode


def _whole_batches(split: Split, batch: int) -> tuple[Tensor, Tensor]:
    """Images and labels without the last, smaller batch, whose statistics would count as much as a full
    one.
    """
    count = min(len(split) // batch, BATCHES) * batch
    return split.images[:count], split.labels[:count]
