"""What a training returns, and how it ends when it does not."""

from __future__ import annotations

from dataclasses import dataclass

from bitjoule.network import Network
from bitjoule.train.accuracy import Accuracy

__all__ = ["Diverged", "Epoch", "Stopped", "TrainResult"]


@dataclass(frozen=True)
class Epoch:
    """What one pass brought: mean training loss, validation accuracy and loss, last rate, seconds."""

    epoch: int
    epochs: int
    loss: float
    accuracy: float
    validation_loss: float
    rate: float
    seconds: float

    def __str__(self) -> str:
        return (
            f"epoch {self.epoch}/{self.epochs}: loss {self.loss:.4f}, "
            f"validation {100 * self.accuracy:.2f} %, {self.seconds:.1f} s"
        )


@dataclass(frozen=True)
class TrainResult:
    """A trained Network in evaluation mode and how it came to be.

    `status` is `diverged` only in the result that a `Diverged` error carries; `reason` then says why and the
    network is the best one before. `best_epoch` counts from 1; 0 when no epoch was finished.
    """

    network: Network
    status: str
    reason: str
    history: tuple[Epoch, ...]
    best_epoch: int
    validation: Accuracy | None
    threads: int

    def metrics(self) -> dict[str, object]:
        """What a report shows, as JSON."""
        return {
            "epochs": len(self.history),
            "best_epoch": self.best_epoch,
            "final_loss": self.history[-1].loss if self.history else None,
            "seconds": sum(epoch.seconds for epoch in self.history),
            "threads": self.threads,
        }


class Diverged(ArithmeticError):
    """The training went to infinity or NaN; `result` is what was reached before, `metrics` its numbers."""

    kind = "diverged"

    def __init__(self, reason: str, result: TrainResult) -> None:
        super().__init__(reason)
        self.result = result
        self.metrics = result.metrics()


class Stopped(Exception):
    """The training was asked to stop; its checkpoint is complete and the same call continues it."""
