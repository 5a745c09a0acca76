"""The running average of the trained weights, and the batch statistics that go with the weights evaluated.

The running statistics of batch norm trail the weights: at momentum 0.1 they are those of the last ten steps,
which few-bit weights have left by flipping levels, and the averaged weights never had any. So batch norm is
re-estimated as the plain average over batches of training images (Nagel et al. 2022, arXiv 2203.11086).
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

__all__ = ["WeightAverage", "kept_buffers", "reestimate_batch_norm"]

BATCHES = 50
"""Batches whose statistics are averaged (Nagel et al. 2022, published code)."""
IMAGES = 2000
"""Images that are enough: fewer batches are taken where 50 would hold more [assumed]."""
ORDER_SEED = 0
"""Seed of the order in which a split is sampled, and of its augmentation: estimates see the same images."""

COUNT = "num_batches_tracked"
"""Buffer of a batch norm that counts training steps; an estimate is none."""


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
        weights = [p.detach().clone() for p in self.live]
        with kept_buffers(net):
            try:
                self._put(self.values)
                yield
            finally:
                self._put(weights)

    @torch.no_grad()
    def _put(self, values: list[Tensor]) -> None:
        for parameter, value in zip(self.live, values, strict=True):
            parameter.copy_(value)

    def state(self) -> list[Tensor]:
        """The averages, in the order of the parameters."""
        return self.values

    @torch.no_grad()
    def load(self, values: list[Tensor]) -> None:
        """Put back what `state` gave."""
        for own, value in zip(self.values, values, strict=True):
            own.copy_(value)


@contextmanager
def kept_buffers(net: Network) -> Iterator[None]:
    """Put every buffer back as it was, so that what is measured inside does not steer the training."""
    before = {name: value.clone() for name, value in net.module.named_buffers()}
    try:
        yield
    finally:
        with torch.no_grad():
            for name, value in net.module.named_buffers():
                value.copy_(before[name])


@torch.no_grad()
def reestimate_batch_norm(
    net: Network, split: Split, preprocessing: Preprocessing, batch: int, augment: str = "none"
) -> None:
    """Replace running statistics by the average over batches sampled from `split`, in place.

    The sample has at most 50 batches or 2,000 images, in an order of its own that does not depend on how the
    split is sorted. `augment` is that of the training: the weights fit the statistics they were trained with,
    and borders of cropped images move these (CIFAR-10, ResNet-8: seven points of accuracy). Quantizers of
    weights measure the weights as they are now, quantizers that have no range yet start from the first batch;
    everything else runs in evaluation mode.
    """
    norms = batch_norms(net)
    measured = [q for q in quantizers(net).values() if q.role == "weight" or not bool(q.initialized)]
    if not norms and not measured:
        return
    device = next(net.parameters()).device
    modes = [(module, module.training) for module in net.module.modules()]
    rates = [norm.momentum for norm in norms]
    counts = [(b, b.clone()) for name, b in net.module.named_buffers() if name.endswith(COUNT)]
    net.eval()
    for module in (*norms, *measured):
        module.train()
    try:
        sample = _sample(split, batch)
        generator = None if augment == "none" else torch.Generator().manual_seed(ORDER_SEED)
        drawn = batches(
            sample,
            batch,
            preprocessing=preprocessing,
            generator=generator,
            augment=augment,
            device=device,
        )
        for index, (images, _) in enumerate(drawn):
            for norm in norms:
                norm.momentum = 1 / (index + 1)  # type: ignore[assignment]
            net(images)
            if not norms:
                break  # weights are measured by one batch as well as by fifty
    finally:
        for norm, rate in zip(norms, rates, strict=True):
            norm.momentum = rate
        for count, before in counts:
            count.copy_(before)
        for module, mode in modes:
            module.training = mode


def _sample(split: Split, batch: int) -> Split:
    """Whole batches drawn from all over the split, or all of it when it is smaller than one.

    A last, smaller batch is left out: its statistics would count as much as those of a full one.
    """
    whole = min(len(split) // batch, BATCHES, max(1, IMAGES // batch)) * batch or len(split)
    order = torch.randperm(len(split), generator=torch.Generator().manual_seed(ORDER_SEED))[:whole]
    chosen = order.to(split.images.device)
    return Split(split.images[chosen], split.labels[chosen])
