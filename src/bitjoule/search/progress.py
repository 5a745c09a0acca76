"""What a running study tells whoever watches it, and how long it will still take."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Literal

from bitjoule.search.trial import Trial

__all__ = ["Estimate", "Progress", "ProgressEvent"]

WINDOW = 20
"""Evaluations whose throughput the estimate is made of."""


@dataclass(frozen=True)
class ProgressEvent:
    """A step of a run. Counts are of accuracies: `memo` were stored before, `done` includes them.

    `trial` stands with kind "trial" (the one of the first hardware); `text` is a line for people.
    """

    kind: Literal["start", "cost", "trial", "retry", "test", "stop", "end"]
    done: int
    total: int
    memo: int
    running: int
    failed: int
    text: str
    trial: Trial | None = None
    eta_s: float | None = None


class Estimate:
    """Remaining time from the throughput of the last evaluations, each weighted by MACs x epochs."""

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._last: deque[tuple[float, float]] = deque(maxlen=WINDOW)

    def add(self, weight: float, wall_s: float) -> None:
        """An evaluation of that weight took so long."""
        self._last.append((weight, wall_s))

    def eta_s(self, remaining_weight: float) -> float | None:
        """Seconds for the rest on all slots; None before the first evaluation.

        >>> estimate = Estimate(slots=2)
        >>> estimate.add(10.0, 4.0)
        >>> estimate.eta_s(50.0)
        10.0
        """
        weight = sum(weight for weight, _ in self._last)
        seconds = sum(wall_s for _, wall_s in self._last)
        return None if weight <= 0 else remaining_weight * seconds / weight / self._slots


class Progress:
    """Counts of one run."""

    def __init__(self, slots: int) -> None:
        self.done = self.total = self.memo = self.running = self.failed = 0
        self.remaining_weight = 0.0
        self.estimate = Estimate(slots)

    def event(
        self,
        kind: Literal["start", "cost", "trial", "retry", "test", "stop", "end"],
        text: str,
        trial: Trial | None = None,
    ) -> ProgressEvent:
        """The counts as they stand, with something that happened."""
        return ProgressEvent(
            kind=kind,
            done=self.done,
            total=self.total,
            memo=self.memo,
            running=self.running,
            failed=self.failed,
            text=text,
            trial=trial,
            eta_s=self.estimate.eta_s(self.remaining_weight),
        )
