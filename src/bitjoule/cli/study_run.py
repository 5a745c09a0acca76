"""What `bitjoule study run` does beside talking: the estimate before, the stored study, the files after."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

from bitjoule.cli.output import CommandFailed

if TYPE_CHECKING:
    from bitjoule.front_door import Study as OpenStudy
    from bitjoule.search.claims import Checked, Fact
    from bitjoule.search.core_energies import PricedNetwork
    from bitjoule.search.repair_plan import RepairPlan
    from bitjoule.search.repair_study import RepairFindings, RepairRun
    from bitjoule.search.study import Study
    from bitjoule.search.study_file import StudyFile

__all__ = ["RunEstimate", "check_budget", "priced_without_training", "run_stored", "write_results"]

PATIENCE = 1.5
"""A run that is estimated to take longer than the size by this factor is refused."""

TIMED_EPOCHS, TIMED_BATCHES = 3, 4
"""How much of the baseline is trained for an estimate."""

DEARER = 1.3
"""What an average arm takes in the time of the baseline: repairs add operators [measured on ResNet-8]."""


@dataclass(frozen=True)
class RunEstimate:
    """What is left of a run at most, and how long that takes when nothing else runs on the machine."""

    name: str
    stored: int
    to_train: int
    parents: int
    workers: int
    seconds_per_image: float
    seconds: float
    limit_s: float | None

    def __str__(self) -> str:
        from bitjoule.report.units import time_text

        each = f"{1e3 * self.seconds_per_image:.2f} ms an image, from {TIMED_EPOCHS} timed epochs"
        return (
            f"{self.name}: {self.stored} stored, at most {self.to_train} to train and {self.parents} float "
            f"parent{'s' * (self.parents != 1)}, about {time_text(self.seconds)} "
            f"on {self.workers} idle workers ({each})"
        )


def check_budget(run: RepairRun, *, fresh: bool = False, force: bool = False) -> RunEstimate:
    """Time a few steps of the baseline and say how long the run takes.

    Raises:
        CommandFailed: longer than the size by PATIENCE, and not `force`.
    """
    from bitjoule.search.repair_study import most_trainings

    study = run.opened(fresh=fresh)
    plan = study.dry_run(run.workers)
    size = run.plan.size(run.size)
    greedy = size.greedy.steps * size.greedy.candidates * size.seeds
    left = plan.to_train + (greedy if plan.to_train else 0)
    cut = study.file.accuracy
    images = _images(study, cut.budget.train_images)
    per_image = _seconds_per_image(run, study.file) if left else 0.0
    epochs = left * cut.budget.epochs * DEARER
    epochs += plan.parents * cut.parent.epochs if cut.parent else 0.0
    estimate = RunEstimate(
        name=study.file.name,
        stored=most_trainings(run.plan, run.size) - left,
        to_train=left,
        parents=plan.parents,
        workers=run.workers,
        seconds_per_image=per_image,
        seconds=epochs * images * per_image / run.workers,
        limit_s=size.limit_s,
    )
    if not force and size.limit_s is not None and estimate.seconds > PATIENCE * size.limit_s:
        raise CommandFailed(
            f"{estimate}; size {run.size} should take {size.limit_s / 60:.0f} min: choose other --data, more "
            "--workers, or run it all the same with --force"
        )
    return estimate


def run_stored(study: Study, workers: int, *, retry_failed: bool, quiet: bool) -> None:
    """Run or resume one stored study with its progress; an interrupt says how to go on."""
    from bitjoule.report.progress import StudyProgress
    from bitjoule.search.jobs import Interrupted

    try:
        with StudyProgress(study.trials, quiet=quiet) as watch:
            study.run(workers=workers, progress=watch, retry_failed=retry_failed)
    except Interrupted as stop:
        raise CommandFailed(str(stop), stop.exit_code) from None


def priced_without_training(plan: RepairPlan) -> tuple[tuple[PricedNetwork, ...], Mapping[str, Fact]]:
    """The network of `energies`, built, captured and priced."""
    from bitjoule import zoo
    from bitjoule.hardware import load
    from bitjoule.network import capture
    from bitjoule.search.core_energies import energy_facts

    name = plan.energies.network
    graph = capture(zoo.build(name, {}, seed=0), input_shape=zoo.input_shape(name, {}), name=name).graph
    return energy_facts(plan, graph, load(plan.hardware))


def write_results(
    folder: Path,
    plan: RepairPlan,
    document: Mapping[str, object],
    findings: RepairFindings | None,
    priced: Sequence[PricedNetwork],
    checked: Sequence[Checked],
    study: OpenStudy | None,
) -> list[Path]:
    """repairs.json, and after a training repairs.csv, repairs.html, the study's own tables and report."""
    from bitjoule.report.html import write_report
    from bitjoule.report.repairs import arms_csv, repairs_page
    from bitjoule.search.study_directory import write_atomically

    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False) + "\n"
    files = {folder / "repairs.json": text}
    if findings is not None and study is not None:
        files[folder / "repairs.csv"] = arms_csv(findings)
        page = repairs_page(plan, findings, priced, checked, _about(study, str(document["size"])))
        files[folder / "repairs.html"] = page
    for path, content in files.items():
        write_atomically(path, content.encode())
    written = list(files)
    if study is not None:
        study.export_tables()
        rows = {"claims": [entry.to_json() for entry in checked]}
        written.append(write_report({**study.report_data(), **rows}, study.path / "report.html"))
    return written


def _about(study: OpenStudy, size: str) -> dict[str, str]:
    """The header of the page: what was trained on what."""
    file, card = study.file, study.data_card
    lossy = (
        "; the images are a lossy copy, accuracies compare with each other only" if card.get("lossy") else ""
    )
    budget, parent = file.accuracy.budget, file.accuracy.parent
    return {
        "Size": size,
        "Network": f"{file.network.name}, width {', '.join(map(str, getattr(file.space, 'widths', ())))}",
        "Data": f"{card.get('name', file.data.kind)}{lossy}",
        "Training": f"{budget.epochs:g} epochs from random weights, "
        f"teachers {parent.epochs if parent else 0:g}, {file.accuracy.seeds_search} seeds",
        "Hardware": ", ".join(study.hardware_names),
    }


def _images(study: Study, limit: int | None) -> int:
    from bitjoule.front_door import StudyJoin

    count = len(StudyJoin(study.file).dataset.train)
    return count if limit is None else min(count, limit)


def _seconds_per_image(run: RepairRun, file: StudyFile) -> float:
    """CPU seconds (wall seconds on a GPU) of one training image of the baseline, on one thread."""
    import torch

    from bitjoule.front_door import StudyJoin
    from bitjoule.scheme import parse_scheme
    from bitjoule.search.space import Candidate
    from bitjoule.search.trial import Budget
    from bitjoule.train.evaluate import qat

    spec = StudyJoin(file).evaluator(file.parent_file())
    batch = file.accuracy.budget.batch or 128
    candidate = Candidate(
        file.network.name, next(iter(file.candidates())).topology, parse_scheme(run.plan.baseline)
    )
    clock = time.perf_counter if torch.cuda.is_available() else time.process_time
    threads = torch.get_num_threads()
    evaluator = qat({**spec.config, "recipe": {"batch": batch}})
    seconds = []
    try:
        torch.set_num_threads(1)
        # the first loads what is loaded once; the difference of the others leaves out capturing, measuring
        for epochs in (1, 1, 1 + TIMED_EPOCHS):
            with tempfile.TemporaryDirectory() as folder, redirect_stdout(StringIO()):
                start = clock()
                evaluator(
                    candidate,
                    Budget(epochs, TIMED_BATCHES * batch, batch),
                    0,
                    Path(folder),
                    split="validation",
                    parent_workdir=None,
                    stop=lambda: False,
                )
                seconds.append(clock() - start)
    finally:
        torch.set_num_threads(threads)
    return max(0.0, seconds[2] - seconds[1]) / (TIMED_EPOCHS * TIMED_BATCHES * batch)
