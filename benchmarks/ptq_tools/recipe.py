"""What a tool's module offers: recipes that quantize one float network for one task."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

__all__ = ["BATCH", "Forward", "Recipe", "Refused", "Task", "calibrate"]

BATCH = 64
"""Calibration images per batch, as our presets take them."""

Forward = Callable[[Tensor], Tensor]
"""Images (N, C, H, W) to logits (N, classes)."""


class Refused(Exception):
    """The tool cannot do what the scheme asks; the text says why."""


@dataclass(frozen=True)
class Task:
    """One quantization: widths in bits, calibration images (N, C, H, W) without labels, seed."""

    weight_bits: int
    activation_bits: int
    images: Tensor
    seed: int

    @property
    def sample(self) -> Tensor:
        """One image, to trace the network with."""
        return self.images[:1]

    def batches(self) -> tuple[Tensor, ...]:
        """The calibration images in their order."""
        return self.images.split(BATCH)


@dataclass(frozen=True)
class Recipe:
    """A named way to use a tool; `note` says what of the protocol it does otherwise."""

    name: str
    run: Callable[[nn.Module, Task], Forward]
    note: str = ""


def calibrate(forward: Forward, task: Task) -> None:
    """Show every calibration image once."""
    for batch in task.batches():
        forward(batch)
