"""What a run of a study would do, without doing it: what is stored, what is left, how long it may take."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from bitjoule.search.accuracy_key import AccuracyKeys
from bitjoule.search.key import key
from bitjoule.search.store import AccuracyRow, Store
from bitjoule.search.study_file import StudyFile
from bitjoule.search.trial import CostFunction

__all__ = ["DryRun", "MappingPlan", "mappings_left", "planned"]


@dataclass(frozen=True)
class MappingPlan:
    """Costs on memory hierarchies: `left` are not stored and need the mapper; `seconds` each took so far."""

    left: int = 0
    seconds: float | None = None


@dataclass(frozen=True)
class DryRun:
    """What a run would do. Estimates are rough and None before anything was timed.

    `to_map`: candidates to map on memory hierarchies, each on each; `map_s`: how long that may take at most
    (what the mapper remembers takes no time).
    """

    name: str
    candidates: int
    hardware: int
    stored: int
    to_train: int
    parents: int
    workers: int
    timed_epochs: int
    estimate_s: float | None
    to_map: int = 0
    map_s: float | None = None

    def __str__(self) -> str:
        text = (
            f"{self.name}: {self.candidates} candidates x {self.hardware} hardware, "
            f"{self.stored} stored, {self.to_train} to train"
        )
        if self.parents:
            text += f" and {self.parents} float32 parent{'s' * (self.parents != 1)}"
        if self.estimate_s is None:
            text += " (nothing timed yet)" * bool(self.to_train)
        else:
            workers = f"{self.workers} worker{'s' * (self.workers != 1)}"
            epochs = f"{self.timed_epochs} timed epoch{'s' * (self.timed_epochs != 1)}"
            text += f" (about {_spoken(self.estimate_s)} on {workers}, from {epochs})"
        if self.to_map:
            timed = "not timed yet" if self.map_s is None else f"at most {_spoken(self.map_s)}"
            text += f"; {self.to_map} to map ({timed})"
        return text


def _spoken(seconds: float) -> str:
    minutes = max(1, round(seconds / 60))
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"


def mappings_left(file: StudyFile, costs: CostFunction, store: Store | None) -> MappingPlan:
    """How many candidates are still to be mapped, on every memory hierarchy of the study."""
    left, seconds = 0, []
    for candidate in file.candidates():
        for source in file.hardware_sources():
            payload = costs.payload(candidate, source)
            if payload.get("model") != "hierarchy":
                continue
            stored = None if store is None else store.cost_summary(key("cost", payload))
            taken = None if stored is None else stored.breakdown.get("mapping_s")
            left += stored is None
            if isinstance(taken, int | float):
                seconds.append(float(taken))
    return MappingPlan(left, statistics.fmean(seconds) if seconds else None)


def planned(
    file: StudyFile,
    keys: AccuracyKeys,
    rows: Sequence[AccuracyRow],
    workers: int,
    mappings: MappingPlan | None = None,
) -> DryRun:
    """The plan of a study file, given the accuracies that are stored and the mappings that are not."""
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
    mappings = mappings or MappingPlan()
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
        to_map=mappings.left,
        map_s=None if mappings.seconds is None else mappings.left * mappings.seconds,
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
