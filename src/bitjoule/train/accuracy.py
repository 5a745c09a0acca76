"""Top-1 accuracy and loss of a network on a split, in evaluation mode."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from bitjoule.network import Network
from bitjoule.zoo.data import Preprocessing, Split, batches

__all__ = ["Accuracy", "measure"]


@dataclass(frozen=True)
class Accuracy:
    """`correct` of `total` images, and the mean cross-entropy in nats (NaN when an output is not finite)."""

    correct: int
    total: int
    loss: float

    @property
    def fraction(self) -> float:
        """Correct share, 0 to 1."""
        return self.correct / self.total

    def to_json(self) -> dict[str, float | int]:
        """A JSON document."""
        return {"accuracy": self.fraction, "correct": self.correct, "total": self.total, "loss": self.loss}

    def __str__(self) -> str:
        return f"{100 * self.fraction:.2f} % ({self.correct} of {self.total})"


@torch.no_grad()
def measure(net: Network, split: Split, preprocessing: Preprocessing, *, batch: int = 500) -> Accuracy:
    """Accuracy of `net` on `split`; runs where the weights are and leaves the mode as it was. An image with a
    NaN among its outputs counts as wrong.

    Raises ValueError for an empty split.

    >>> from bitjoule import zoo
    >>> from bitjoule.network import capture
    >>> data = zoo.load_dataset("digits")
    >>> net = capture(zoo.tfc(inputs=64), input_shape=data.input_shape)
    >>> measure(net, data.test, data.preprocessing).total
    360
    """
    if len(split) == 0:
        raise ValueError("measure: the split has no images; give a dataset with validation and test images")
    device = next((p.device for p in net.parameters()), torch.device("cpu"))
    modes = [(module, module.training) for module in net.module.modules()]
    net.eval()
    try:
        correct = torch.zeros((), dtype=torch.int64, device=device)
        loss = torch.zeros((), dtype=torch.float64, device=device)
        for images, labels in batches(split, batch, preprocessing=preprocessing, device=device):
            logits: Tensor = net(images)
            told = ~logits.isnan().any(1)  # argmax would take a NaN for the largest
            correct += ((logits.argmax(1) == labels) & told).sum()
            loss += F.cross_entropy(logits.float(), labels, reduction="sum").double()
    finally:
        for module, mode in modes:
            module.training = mode
    return Accuracy(int(correct), len(split), float(loss) / len(split))
