"""The repairs study as it runs: one stored study that grows by the arms that greedy selection asks for.

Every round writes the study file with the schemes known so far and runs it; what is trained is found by its
content key, so a killed run goes on where it was, and running again trains nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from bitjoule.search.claims import Fact, Size
from bitjoule.search.repair_plan import (
    Arm,
    RepairPlan,
    compatible,
    isolation_arms,
    repaired_name,
    study_text,
)
from bitjoule.search.repair_results import (
    PP,
    ArmResult,
    Measured,
    Ranking,
    arm_result,
    measured,
    rank_categories,
    worth,
)
from bitjoule.search.study import Study
from bitjoule.search.study_directory import write_atomically

__all__ = ["GreedyStep", "RepairFindings", "RepairRun", "facts_of", "most_trainings"]

CONFIG = "repairs.yaml"
STUDY = "repairs.study"


class _Open(Protocol):
    def __call__(self, path: Path, config: Path, *, fresh: bool = False) -> Study: ...


@dataclass(frozen=True)
class GreedyStep:
    """A repair that was added: to which, and what it brought."""

    chosen: tuple[str, ...]
    row: ArmResult


@dataclass(frozen=True)
class RepairFindings:
    """Everything the study says; accuracies of the float parent under `float_percent`.

    `front`: schemes that no other trained scheme dominates, energy ascending.
    """

    hardware: str
    rows: tuple[ArmResult, ...]
    greedy: tuple[GreedyStep, ...]
    ranking: Ranking
    found: Mapping[str, Measured]
    front: tuple[str, ...]
    float_percent: float | None

    def to_json(self) -> dict[str, object]:
        """A JSON document of all of it."""
        return {
            "hardware": self.hardware,
            "float_percent": self.float_percent,
            "arms": [row.to_json() for row in self.rows],
            "greedy": [{"chosen": list(step.chosen), **step.row.to_json()} for step in self.greedy],
            "ranking": self.ranking.to_json(),
            "front": list(self.front),
            "trained": [
                {**asdict(entry), "accuracies": {str(seed): a for seed, a in entry.accuracies.items()}}
                for entry in self.found.values()
            ],
        }


@dataclass(frozen=True)
class RepairRun:
    """A repairs study in a folder. `open_study` is `Study.open` of the front door, which can train."""

    plan: RepairPlan
    size: Size
    data: str | None
    folder: Path
    open_study: _Open
    workers: int = 2

    def opened(
        self, schemes: Sequence[str] | None = None, *, last: bool = False, fresh: bool = False
    ) -> Study:
        """The stored study with these schemes (default: those of the isolation arms)."""
        chosen = schemes or _schemes(isolation_arms(self.plan))
        seeds_front = self.plan.size(self.size).seeds if last else 0
        text = study_text(
            self.plan, self.size, self.data, chosen, workers=self.workers, seeds_front=seeds_front
        )
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / CONFIG
        write_atomically(config, text.encode())
        return self.open_study(self.folder / STUDY, config, fresh=fresh)

    def run(
        self, run_study: Callable[[Study], object], *, fresh: bool = False
    ) -> tuple[Study, RepairFindings]:
        """Train what is missing and say what came out; `run_study` runs one study, with its progress.

        Raises:
            what `Study.run` raises: Interrupted, StudyError, DiskFullError.
        """
        arms = isolation_arms(self.plan)
        schemes = _schemes(arms)
        run_study(self.opened(schemes, fresh=fresh))
        steps: list[GreedyStep] = []
        greedy = self.plan.size(self.size).greedy
        for _ in range(greedy.steps):
            chosen = steps[-1].chosen if steps else ()
            found = self._measured(schemes)
            tried = self._candidates(found, chosen, greedy.candidates)
            wanted = [repaired_name(self.plan.baseline, (*chosen, name)) for name in tried]
            schemes = list(dict.fromkeys([*schemes, *wanted]))
            run_study(self.opened(schemes))
            step = self._best_step(self._measured(schemes), chosen, tried)
            if step is None:
                break
            steps.append(step)
        study = self.opened(schemes, last=True)
        run_study(study)
        return study, self._findings(study, arms, steps)

    def _measured(self, schemes: Sequence[str]) -> dict[str, Measured]:
        return measured(self.opened(schemes).trials(), self.plan.hardware)

    def _row(self, found: Mapping[str, Measured], chosen: Sequence[str], name: str) -> ArmResult:
        base = repaired_name(self.plan.baseline, chosen)
        arm = Arm("greedy", repaired_name(self.plan.baseline, (*chosen, name)), name)
        return arm_result(arm, found, base, self.plan.category_of(name))

    def _candidates(self, found: Mapping[str, Measured], chosen: Sequence[str], most: int) -> list[str]:
        """Repairs that helped alone and go with the chosen ones, the most worth first."""
        alone = [(name, self._row(found, (), name)) for name in self.plan.repairs]
        helpful = [
            (worth(row.gain.mean, row.added_pj), name)
            for name, row in alone
            if row.gain is not None and row.added_pj is not None and row.gain.mean > 0 and name not in chosen
        ]
        ordered = [name for _, name in sorted(helpful, key=lambda entry: entry[0], reverse=True)]
        return [name for name in ordered if compatible(chosen, name)][:most]

    def _best_step(
        self, found: Mapping[str, Measured], chosen: tuple[str, ...], tried: Sequence[str]
    ) -> GreedyStep | None:
        rows = [(name, self._row(found, chosen, name)) for name in tried]
        gains = [
            (worth(row.gain.mean, row.added_pj), name, row)
            for name, row in rows
            if row.gain is not None and row.added_pj is not None and row.gain.mean > 0
        ]
        if not gains:
            return None
        _, name, row = max(gains, key=lambda entry: entry[0])
        return GreedyStep((*chosen, name), row)

    def _findings(self, study: Study, arms: Sequence[Arm], steps: Sequence[GreedyStep]) -> RepairFindings:
        found = measured(study.trials(), self.plan.hardware)
        baseline, together = arms[0].scheme, next(arm.scheme for arm in arms if arm.kind == "together")
        rows = [
            arm_result(
                arm,
                found,
                together if arm.kind == "without" else baseline,
                self.plan.category_of(arm.subject) if arm.subject else "",
                of_left_out=arm.kind == "without",
            )
            for arm in arms
        ]
        parent = measured_parent(study)
        return RepairFindings(
            hardware=self.plan.hardware,
            rows=tuple(rows),
            greedy=tuple(steps),
            ranking=rank_categories(rows, found, self.plan),
            found=found,
            front=tuple(point.candidate.scheme.name for point in study.front(self.plan.hardware)),
            float_percent=parent,
        )


def measured_parent(study: Study) -> float | None:
    """Mean accuracy of the float parents in percent, None before they are trained."""
    accuracies = {
        trial.seed: trial.accuracy
        for trial in study.trials()
        if trial.family == "float32" and trial.accuracy is not None
    }
    return PP * sum(accuracies.values()) / len(accuracies) if accuracies else None


def most_trainings(plan: RepairPlan, size: Size) -> int:
    """How many trainings a whole run takes at most, parents apart."""
    chosen = plan.size(size)
    greedy = chosen.greedy.steps * chosen.greedy.candidates
    return chosen.seeds * (len(_schemes(isolation_arms(plan))) + greedy)


def facts_of(findings: RepairFindings, plan: RepairPlan) -> dict[str, Fact]:
    """The quantities that claims speak of; what is not known is left out."""
    facts: dict[str, Fact] = {}
    gains = {category: gain for category, _, gain in findings.ranking.categories}
    others = [gain for category, gain in gains.items() if category not in plan.beneficial]
    if others and set(plan.beneficial) <= set(gains):
        facts["beneficial.least_gain_pp"] = min(gains[name] for name in plan.beneficial)
        facts["others.most_gain_pp"] = max(others)
    facts["cumulative.pj_per_pp"] = [
        max(0.0, step.row.added_pj) / step.row.gain.mean
        for step in findings.greedy
        if step.row.gain is not None and step.row.added_pj is not None
    ]
    baseline = findings.rows[0].scheme
    binary = {row.scheme for row in findings.rows if row.kind not in ("baseline", "reference")}
    binary |= {step.row.scheme for step in findings.greedy}
    points = {
        scheme: (entry.energy_pj, entry.mean)
        for scheme, entry in findings.found.items()
        if entry.energy_pj is not None and entry.mean is not None
    }
    facts["binary"] = [points[scheme] for scheme in sorted(binary & set(points))]
    facts |= _gap(findings, points, binary, baseline)
    for scheme, name in (("w2a2", "int2"), ("w4a4", "int4"), ("int8", "int8")):
        if scheme in points:
            facts[f"{name}.energy_pj"] = points[scheme][0]
            facts[name] = [points[scheme]]
    if "int8" in points and "w4a4" in points:
        facts["int4.drop_pp"] = PP * (points["int8"][1] - points["w4a4"][1])
    return facts


def _gap(
    findings: RepairFindings, points: Mapping[str, tuple[float, float]], binary: set[str], baseline: str
) -> dict[str, Fact]:
    best = max((PP * points[scheme][1] for scheme in binary & set(points)), default=None)
    if best is None:
        return {}
    facts: dict[str, Fact] = {"best.accuracy_percent": best}
    if findings.float_percent is not None and baseline in points:
        gap = findings.float_percent - PP * points[baseline][1]
        if gap > 0:
            facts["gap.base_pp"] = gap
            facts["gap.share_left"] = (findings.float_percent - best) / gap
    return facts


def _schemes(arms: Sequence[Arm]) -> list[str]:
    return list(dict.fromkeys(arm.scheme for arm in arms))
