"""Points of a study: candidates on one hardware, averaged over seeds; their front; two families compared.

Selection looks at the validation split only. Accuracies of the test split are shown for points that were
selected without them.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bitjoule.search.bootstrap import Interval, Replicates, bootstrap
from bitjoule.search.compare import (
    Family,
    Gain,
    NoOverlap,
    Saving,
    iso_accuracy,
    iso_accuracy_attained,
    iso_energy,
)
from bitjoule.search.pareto import front
from bitjoule.search.space import Candidate
from bitjoule.search.trial import Split, Trial

__all__ = [
    "Comparison",
    "Front",
    "StudyPoint",
    "compare_families",
    "comparison_text",
    "gain_of",
    "points_of",
    "select_front",
]


@dataclass(frozen=True)
class StudyPoint:
    """One candidate on one hardware. `accuracy` is the mean over seeds of the split that was asked for."""

    number: int
    candidate: Candidate
    family: str
    hardware: str
    energy_pj: float
    accuracy: float
    sd: float | None
    seeds: int
    trials: tuple[Trial, ...]

    @property
    def validation(self) -> tuple[float, ...]:
        """Accuracy of each seed on the validation split."""
        return tuple(trial.accuracy for trial in self.trials if trial.accuracy is not None)


@dataclass(frozen=True)
class Front:
    """Points nobody dominates on the validation split, energy ascending."""

    hardware: str
    split: Split
    points: tuple[StudyPoint, ...]

    def __len__(self) -> int:
        return len(self.points)

    def __iter__(self) -> Iterator[StudyPoint]:
        return iter(self.points)

    def at_accuracy(self, accuracy: float) -> StudyPoint:
        """The point of least energy that reaches `accuracy`, a fraction; `ValueError` when none does."""
        for point in sorted(self.points, key=lambda point: point.energy_pj):
            if point.accuracy >= accuracy:
                return point
        if not self.points:
            raise ValueError(f"the front on {self.hardware} has no points yet: run the study first")
        best = max(self.points, key=lambda point: point.accuracy)
        raise ValueError(
            f"no point on {self.hardware} reaches {100 * accuracy:.2f} %; the greatest is "
            f"{100 * best.accuracy:.2f} % ({best.candidate.label})"
        )


@dataclass(frozen=True)
class Comparison:
    """Iso-accuracy of family A over family B; `saving` is None with a `reason` when nothing is common."""

    a: str
    b: str
    hardware: str
    attained: bool
    saving: Saving | None
    interval: Interval | None
    reason: str | None

    @property
    def median(self) -> float:
        """Median saving; `ValueError` with the reason when there is none."""
        return self._saving().median

    @property
    def max(self) -> float:
        """Greatest saving; quote the median and `saving.max_at` beside it."""
        return self._saving().max

    def __str__(self) -> str:
        if self.saving is None:
            return f"{self.a} over {self.b}: {self.reason}"
        return comparison_text(self.a, self.b, self.saving, self.interval)

    def _saving(self) -> Saving:
        if self.saving is None:
            raise ValueError(f"{self.a} over {self.b}: {self.reason}")
        return self.saving


def comparison_text(a: str, b: str, saving: Saving, interval: Interval | None = None) -> str:
    """An iso-accuracy comparison in one sentence. "Up to" is the maximum; the median stands beside it, with
    the 95 % bootstrap interval of the median where there is one.

    >>> comparison_text("w4a4", "int8", Saving(0.84, 0.927, 1.83, 0.912, 1.1, 0.84, 1.52))
    'w4a4 over int8: up to 1.83x less energy (at 91.2 %), median 1.52x, overlap 84.0-92.7 %'
    """
    place = f"(at {100 * saving.max_at:.1f} %)"
    best = f"up to {saving.max:.2f}x less energy {place}"
    if saving.max < 1:
        best = f"never less energy, at best {saving.max:.2f}x {place}"
    median = f"median {saving.median:.2f}x"
    note = ""
    if interval is not None:
        low, _, high = interval.median
        median += f" [{low:.2f}, {high:.2f}]"
        note = f"; {interval.note}" if interval.note else ""
    overlap = f"overlap {100 * saving.lo:.1f}-{100 * saving.hi:.1f} %"
    return f"{a} over {b}: {best}, {median}, {overlap}{note}"


def points_of(trials: Sequence[Trial], hardware: str) -> list[StudyPoint]:
    """Finished candidates on `hardware` in the order of their first trial, by validation accuracy.

    A seed counts once: a second trial of a candidate with the same seed is the same measurement.
    """
    groups: dict[Candidate, dict[int, Trial]] = {}
    for trial in trials:
        if trial.hardware == hardware and trial.status == "done":
            groups.setdefault(trial.candidate, {}).setdefault(trial.seed, trial)
    points = []
    for candidate, by_seed in groups.items():
        group = tuple(by_seed.values())
        accuracies = [trial.accuracy for trial in group if trial.accuracy is not None]
        energy_pj = group[0].energy_pj
        if accuracies and energy_pj is not None:
            points.append(
                StudyPoint(
                    number=group[0].number,
                    candidate=candidate,
                    family=candidate.family,
                    hardware=hardware,
                    energy_pj=energy_pj,
                    accuracy=statistics.fmean(accuracies),
                    sd=statistics.stdev(accuracies) if len(accuracies) > 1 else None,
                    seeds=len(accuracies),
                    trials=group,
                )
            )
    return points


def select_front(points: Sequence[StudyPoint], hardware: str, split: Split = "validation") -> Front:
    """The front by validation accuracy; with split "test" the same points as measured on the test images."""
    kept = [points[index] for index in front([(point.energy_pj, point.accuracy) for point in points])]
    if split == "validation":
        return Front(hardware, split, tuple(kept))
    measured = []
    for point in kept:
        trial = point.trials[0]
        if trial.accuracy_test is not None:
            measured.append(
                StudyPoint(
                    number=point.number,
                    candidate=point.candidate,
                    family=point.family,
                    hardware=hardware,
                    energy_pj=point.energy_pj,
                    accuracy=trial.accuracy_test,
                    sd=trial.accuracy_sd,
                    seeds=trial.seeds,
                    trials=point.trials,
                )
            )
    return Front(hardware, split, tuple(measured))


def compare_families(
    points: Sequence[StudyPoint],
    a: str,
    b: str,
    hardware: str,
    *,
    attained: bool = False,
    n_boot: int = 0,
    n_images: int | None = None,
    seed: int = 0,
) -> Comparison:
    """Iso-accuracy of A over B among `points`; `n_boot` > 0 adds the bootstrap interval."""
    families = _family(points, a), _family(points, b)
    saving = (iso_accuracy_attained if attained else iso_accuracy)(*families)
    if isinstance(saving, NoOverlap):
        return Comparison(a, b, hardware, attained, None, None, saving.reason)
    interval = None
    if n_boot:
        interval = bootstrap(
            (a, _replicates(points, a)),
            (b, _replicates(points, b)),
            n_boot=n_boot,
            seed=seed,
            n_images=n_images,
            attained=attained,
        )
    return Comparison(a, b, hardware, attained, saving, interval, None)


def gain_of(points: Sequence[StudyPoint], a: str, b: str) -> Gain | NoOverlap:
    """Iso-energy gain of family A over family B among `points`."""
    return iso_energy(_family(points, a), _family(points, b))


def _family(points: Sequence[StudyPoint], name: str) -> Family:
    return Family(name, tuple((p.energy_pj, p.accuracy) for p in points if p.family == name))


def _replicates(points: Sequence[StudyPoint], name: str) -> list[Replicates]:
    return [Replicates(p.energy_pj, p.validation) for p in points if p.family == name]
