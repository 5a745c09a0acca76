"""What a run of a study would do, without doing it: what is stored, what is left, how long it may take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bitjoule.search.accuracy_key import AccuracyKeys
from bitjoule.search.store import AccuracyRow
from bitjoule.search.study_file import StudyFile

__all__ = ["DryRun", "planned"]


@dataclass(frozen=True)
class DryRun:
    """What a run would do. `estimate_s` is rough and None before anything was timed."""

    name: str
    candidates: int
    hardware: int
    stored: int
    to_train: int
    parents: int
    workers: int
    timed_epochs: int
    estimate_s: float | None

    def __str__(self) -> str:
        text = (
            f"{self.name}: {self.candidates} candidates x {self.hardware} hardware, "
            f"{self.stored} stored, {self.to_train} to train"
        )
        if self.parents:
            text += f" and {self.parents} float32 parent{'s' * (self.parents != 1)}"
        if self.estimate_s is None:
            return text if not self.to_train else f"{text} (nothing timed yet)"
        minutes = max(1, round(self.estimate_s / 60))
        spoken = f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
        workers = f"{self.workers} worker{'s' * (self.workers != 1)}"
        epochs = f"{self.timed_epochs} timed epoch{'s' * (self.timed_epochs != 1)}"
        return f"{text} (about {spoken} on {workers}, from {epochs})"


def planned(file: StudyFile, keys: AccuracyKeys, rows: Sequence[AccuracyRow], workers: int) -> DryRun:
    """The plan of a study file, given the accuracies that are stored."""
    space = file.candidates()
    seeds = file.seeds(file.accuracy.seeds_search)
    wanted = {keys.key(candidate, seed, "validation") for candidate in space for seed in seeds}
    parents = {
        keys.key(candidate.with_scheme(keys.float32), seed, "validation")
        for candidate in space
        for seed in seeds
        if keys.has_parents and not candidate.scheme.is_float32
    }
    done = {row.key for row in rows if row.done}
    missing, missing_parents = wanted - done, parents - wanted - done
    left = len(missing) * file.accuracy.budget.epochs
    if file.accuracy.parent is not None:
        left += len(missing_parents) * file.accuracy.parent.epochs
    seconds, epochs = _timed(rows)
    return DryRun(
        name=file.name,
        candidates=space.size,
        hardware=len(file.hardware),
        stored=len(wanted) - len(missing),
        to_train=len(missing),
        parents=len(missing_parents),
        workers=workers,
        timed_epochs=round(epochs),
        estimate_s=left * seconds / epochs / workers if epochs and left else None,
    )


def _timed(rows: Sequence[AccuracyRow]) -> tuple[float, float]:
    """Seconds and epochs of the trainings that are stored."""
    seconds = epochs = 0.0
    for row in rows:
        budget = row.payload["budget"]
        if row.done and row.payload["split"] == "validation" and isinstance(budget, dict):
            seconds += row.wall_s or 0.0
            epochs += float(budget["epochs"])
    return seconds, epochs
