"""A study: a directory with everything a search has found; it can be killed at any moment and goes on.

`<name>.study/` holds study.yaml (the file as given), study.sqlite, study.lock, checkpoints/ and logs/. The
same command runs the same method from its seed and looks every evaluation up by content key first.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, Protocol, Self

from bitjoule.scheme import SchemeError, parse_scheme
from bitjoule.search.accuracy_key import AccuracyKeys
from bitjoule.search.disk import room_needed
from bitjoule.search.dry_run import DryRun, mappings_left, planned
from bitjoule.search.evaluation import Evaluation, Stopped
from bitjoule.search.executor import Executor, InProcess
from bitjoule.search.executor_processes import Processes
from bitjoule.search.grid import check_size, grid
from bitjoule.search.interrupts import Interrupts
from bitjoule.search.jobs import Interrupted, Jobs
from bitjoule.search.key import key
from bitjoule.search.lock import StudyLock, refuse_network_file_system
from bitjoule.search.points import Comparison, Front, StudyPoint, compare_families, points_of, select_front
from bitjoule.search.progress import ProgressEvent
from bitjoule.search.report_data import report_data
from bitjoule.search.space import Candidate
from bitjoule.search.store import Store, stored
from bitjoule.search.stored_graphs import StoredGraphs
from bitjoule.search.study_directory import (
    StudyError,
    check_unchanged,
    frozen_file,
    move_aside,
    write_frozen,
)
from bitjoule.search.study_file import StudyFile, parse_study_file
from bitjoule.search.study_hardware import hardware_labels
from bitjoule.search.study_tables import write_best, write_front, write_trials
from bitjoule.search.study_trials import stored_trials
from bitjoule.search.study_yaml import StudyFileError, YamlText, read_yaml
from bitjoule.search.trial import CostFunction, EvaluatorSpec, Json, Split, Trial
from bitjoule.search.unfinished import NothingFinishedError, unfinished_text
from bitjoule.workload import Graph

__all__ = ["Join", "Study", "StudyStatus"]

STORE = "study.sqlite"
LOCK = "study.lock"


class Join(Protocol):
    """What joins a study with the rooms that load torch."""

    def evaluator(self, file: StudyFile) -> EvaluatorSpec:
        """The evaluator of a study file; also asked for `file.parent_file()`."""
        ...

    def graph(self, candidate: Candidate) -> Graph:
        """The network of a candidate as a graph."""
        ...

    def graph_content(self, file: StudyFile) -> Json:
        """Everything that decides `graph` besides the topology: a stored graph is found by it."""
        ...

    def data_card(self, file: StudyFile) -> Json:
        """name, manifest_hash, classes, lossy, sizes {train, validation, test} of the data."""
        ...


@dataclass(frozen=True)
class StudyStatus:
    """How far a study is."""

    name: str
    trials: int
    done: int
    failed: int
    infeasible: int


class Study:
    """Open with `Study.open`; reading needs only the directory, running also a `Join`."""

    def __init__(
        self,
        path: Path,
        file: StudyFile,
        text: YamlText,
        *,
        join: Join | None = None,
        cost_function: CostFunction | None = None,
        fresh: bool = False,
    ) -> None:
        self.path = path
        self.file = file
        self._text = text
        self._join = join
        self._cost_function = cost_function
        self._fresh = fresh

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        config: str | os.PathLike[str] | None = None,
        *,
        join: Join | None = None,
        cost_function: CostFunction | None = None,
        fresh: bool = False,
    ) -> Self:
        """The study in the directory `path`, as `config` says, or as it was run last.

        Args:
            config: a study file; needed the first time.
            join: makes evaluators, graphs and data cards; needed to run.
            cost_function: prices candidates instead of the network's graph.
            fresh: begin anew when network or data changed; the old study is moved aside, never deleted.

        Raises:
            StudyFileError: everything wrong with the study file.
            StudyError: no study there, or one of another network or data.
        """
        folder = Path(path)
        presets = None
        if cost_function is None:
            from bitjoule.hardware import presets as preset_names

            presets = preset_names()
        frozen = None if fresh and config is not None else _frozen(folder, config is not None)
        if config is not None:
            text = read_yaml(Path(config))
            file = parse_study_file(text, Path(config).parent, presets)
            if cost_function is None:
                hardware_labels(file, text, _content_hash)
            if frozen is not None:
                check_unchanged(folder, frozen[0], file)
        elif frozen is not None:
            file, text = frozen
        else:
            raise StudyError(f"no study at {folder}; give the study file that is to be run")
        return cls(folder, file, text, join=join, cost_function=cost_function, fresh=fresh)

    def run(
        self,
        executor: Literal["in_process", "processes"] | Executor | None = None,
        *,
        workers: int | None = None,
        progress: Callable[[ProgressEvent], None] | None = None,
        retry_failed: bool = False,
    ) -> StudyStatus:
        """Run or resume: search, then measure the front points on the test split.

        Raises:
            StudyError, StoreError: another driver, a network file system, other data.
            DiskFullError: no room left; run again when there is.
            TooManyFailuresError: more failed than limits.max_failures.
            Interrupted: SIGINT or SIGTERM; carries the exit code 130 or 143.
        """
        join = self._needed_join()
        check_size(self.file.candidates(), self.file.limits.max_trials)
        refuse_network_file_system(self.path.absolute().parent)
        if self._fresh:
            move_aside(self.path, LOCK)
            self._fresh = False
        with ExitStack() as open_now, room_needed(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            open_now.enter_context(closing(StudyLock(self.path / LOCK)))
            store = open_now.enter_context(closing(Store(self.path / STORE)))
            runner = open_now.enter_context(closing(self._executor(executor, workers)))
            self._run(join, store, runner, progress or _ignore, retry_failed)
        return self.status()

    def trials(self) -> list[Trial]:
        """Every stored trial by number; empty before the first run."""
        with _reading(self.path) as store:
            return [] if store is None else stored_trials(store, _labels(store))

    def points(self, hardware: str | None = None, family: str | None = None) -> list[StudyPoint]:
        """Finished candidates on one hardware (default: the first), averaged over seeds."""
        name, trials = self._hardware(hardware), self.trials()
        points = points_of(trials, name)
        if family is None:
            return points
        self._check_families(trials, name, family)
        return [point for point in points if point.family == family]

    def unfinished(self, hardware: str | None = None, family: str | None = None) -> str | None:
        """Why there is no point (of one family) on one hardware (default: the first), or None."""
        name, trials = self._hardware(hardware), self.trials()
        self._check_known(trials, *(() if family is None else (family,)))
        return unfinished_text(trials, name, family)

    def front(
        self, hardware: str | None = None, family: str | None = None, split: Split = "validation"
    ) -> Front:
        """The front on one hardware (default: the first), of all families or of one."""
        return select_front(self.points(hardware, family), self._hardware(hardware), split)

    def compare(
        self, a: str, b: str, hardware: str | None = None, *, attained: bool = False, bootstrap: int = 0
    ) -> Comparison:
        """Iso-accuracy saving of family `a` over family `b`; `bootstrap` replicates give an interval.

        Raises:
            ValueError: a family or a hardware that the study has not.
            NothingFinishedError: a family of which no trial is finished on that hardware.
        """
        name, trials = self._hardware(hardware), self.trials()
        self._check_families(trials, name, a, b)
        return compare_families(
            points_of(trials, name),
            a,
            b,
            name,
            attained=attained,
            n_boot=bootstrap,
            n_images=self.validation_images,
            seed=self.file.seed,
        )

    def status(self) -> StudyStatus:
        """Counts of stored trials."""
        with _reading(self.path) as store:
            counts = {} if store is None else store.count_trials()
        return StudyStatus(
            name=self.file.name,
            trials=sum(counts.values()),
            done=counts.get("done", 0),
            failed=counts.get("failed", 0),
            infeasible=counts.get("infeasible", 0),
        )

    def dry_run(self, workers: int | None = None) -> DryRun:
        """What a run would find stored and what it would train; writes nothing."""
        join = self._needed_join()
        check_size(self.file.candidates(), self.file.limits.max_trials)
        with nullcontext() if self._fresh else _reading(self.path) as old:
            costs = self._costs(join, old, keep=False)
            hardware_labels(self.file, self._text, costs.hardware_hash)
            keys = self._keys(join, join.data_card(self.file), costs)
            rows = [] if old is None else list(old.accuracies())
            mappings = mappings_left(self.file, costs, old)
            return planned(self.file, keys, rows, workers or self.file.executor.workers, mappings)

    def export_tables(self, folder: str | os.PathLike[str] | None = None) -> list[Path]:
        """Write front.csv, trials.parquet and best/NN-scheme/ (default: into the study).

        Weights that are nowhere any more are told on stderr, one line each.
        """
        target = Path(folder) if folder is not None else self.path
        paths = [target / "front.csv", target / "trials.parquet", target / "best"]
        with _reading(self.path) as store, room_needed(target):
            if store is None:
                raise StudyError(f"study {self.file.name!r} has no trials yet: run it first")
            target.mkdir(parents=True, exist_ok=True)
            trials = stored_trials(store, _labels(store))
            fronts = [select_front(points_of(trials, name), name) for name in self.hardware_names]
            write_front(paths[0], fronts)
            write_trials(paths[1], trials, store)
            for line in write_best(paths[2], fronts, store, self.path, self.file.name):
                sys.stderr.write(f"warning: {line}\n")
        return paths

    def report_data(self) -> Json:
        """Everything a report shows, as one JSON document.

        `schema` "bitjoule.report_data/1"; `header` (name, command, seed, method, network, code_version,
        created_utc, data, counts, seeds, selection); `hardware` (name, hash, reference, hypervolume, front);
        `families`; `points` (one per candidate and hardware: accuracies, energy, cost breakdown, formats,
        proxies); `iso_accuracy` and `iso_energy` of all pairs of families; `dram` shares over the front;
        `proxies` judged; `failures` by kind; `assumptions`. Accuracies are fractions, energies pJ, and what
        is not known is None.
        """
        with _reading(self.path) as store:
            if store is None:
                raise StudyError(f"study {self.file.name!r} has no trials yet: run it first")
            trials = stored_trials(store, _labels(store))
            return report_data(self.file, store, trials, self.hardware_names, self.data_card)

    @cached_property
    def hardware_names(self) -> tuple[str, ...]:
        """Names of the hardware in the order of the study file: a preset's name, a file's stem."""
        return self.file.hardware_names()

    @property
    def data_card(self) -> Json:
        """The data card of the last run; empty before."""
        with _reading(self.path) as store:
            text = None if store is None else store.meta("data_card")
        card: Json = {} if text is None else json.loads(text)
        return card

    @property
    def validation_images(self) -> int | None:
        """Images of the validation split, None before the first run."""
        sizes = self.data_card.get("sizes")
        count = sizes.get("validation") if isinstance(sizes, Mapping) else None
        return count if isinstance(count, int) else None

    def _run(
        self,
        join: Join,
        store: Store,
        executor: Executor,
        watch: Callable[[ProgressEvent], None],
        retry_failed: bool,
    ) -> None:
        costs = self._costs(join, store)
        labels = hardware_labels(self.file, self._text, costs.hardware_hash)
        card = join.data_card(self.file)
        keys = self._keys(join, card, costs)
        named = list(zip(self.file.hardware_sources(), self.hardware_names, strict=True))
        self._begin(store, card, labels)
        jobs = Jobs(
            store,
            executor,
            max_failures=self.file.limits.max_failures,
            retry_failed=retry_failed,
            watch=watch,
        )
        evaluation = Evaluation(
            store=store,
            jobs=jobs,
            costs=costs,
            workers=executor.slots,
            hardware=named,
            keys=keys,
            checkpoints=(self.path / "checkpoints").resolve(),
            timeout_s=self.file.executor.timeout_s,
            on_costs=lambda done, total: watch(jobs.progress.event("cost", f"costs: {done} of {total}")),
        )
        seeds = self.file.seeds(self.file.accuracy.seeds_search)
        watch(jobs.progress.event("start", f"study {self.file.name}"))
        with Interrupts(jobs.stop):
            try:
                grid(self.file.candidates(), evaluation, seeds=seeds, max_trials=self.file.limits.max_trials)
                store.drop_trials(from_number=evaluation.numbered)
                evaluation.measure_on_test(
                    self._front_candidates(store), self.file.seeds(self.file.accuracy.seeds_front)
                )
            except Stopped:
                signal_number = jobs.stop_signal or 0
                stored = sum(store.count_trials().values())
                store.event("stopped", detail=f"signal {signal_number}")
                watch(jobs.progress.event("stop", f"stopped by signal {signal_number}"))
                raise Interrupted(signal_number, stored, max(stored, evaluation.numbered)) from None
        store.event("finished", detail=f"{jobs.evaluated} evaluated")
        watch(jobs.progress.event("end", f"{evaluation.numbered} trials, {jobs.evaluated} evaluated"))

    def _begin(self, store: Store, card: Json, hashes: Mapping[str, str]) -> None:
        """Write down what is run; forget trials that another method or space has numbered."""
        before = store.meta("data_card")
        if before is not None and json.loads(before).get("manifest_hash") != card["manifest_hash"]:
            old = json.loads(before).get("manifest_hash")
            raise StudyError(
                f"{self.path} holds a study of other data (manifest {old}, now {card['manifest_hash']}): use "
                "--fresh to move it aside and begin anew, or give another directory"
            )
        search = self.file.model_dump(mode="json", include={"space", "method", "seed", "accuracy"})
        identity = key("search", {**search, "hardware": list(hashes)})
        write_frozen(self.path, self._text)
        with store.transaction():
            if store.meta("search") != identity:
                store.drop_trials()
                store.set_meta("search", identity)
            store.set_meta("directory", str(self.file.directory))
            if command := self._command():
                store.set_meta("command", command)
            store.set_meta("hardware", json.dumps(dict(hashes)))
            store.set_meta("data_card", json.dumps(card))
            store.event("started", detail=f"process {os.getpid()}")

    def _command(self) -> str | None:
        """What runs this study again from the current folder; None when its study file is not there."""
        config = self.file.directory / Path(self._text.name).name
        if not config.is_file():
            return None
        folder = os.path.relpath(self.path)
        command = f"bitjoule search {os.path.relpath(config)}"
        return command if folder == f"{self.file.name}.study" else f"{command} --study {folder}"

    def _front_candidates(self, store: Store) -> list[Candidate]:
        """Candidates on the front of any hardware, in the order of their trials."""
        trials = stored_trials(store, _labels(store))
        chosen = {
            point.candidate
            for name in self.hardware_names
            for point in select_front(points_of(trials, name), name)
        }
        return [candidate for candidate in dict.fromkeys(t.candidate for t in trials) if candidate in chosen]

    def _executor(self, executor: str | Executor | None, workers: int | None) -> Executor:
        chosen = self.file.executor.kind if executor is None else executor
        if not isinstance(chosen, str):
            return chosen
        if chosen == "in_process":
            return InProcess()
        if chosen == "processes":
            return Processes(workers or self.file.executor.workers, logs=self.path / "logs")
        raise StudyError(f"unknown executor {chosen!r}; one of: in_process, processes")

    def _needed_join(self) -> Join:
        if self._join is None:
            raise StudyError("this study was opened for reading: to run it, open it with join=")
        return self._join

    def _costs(self, join: Join, store: Store | None, *, keep: bool = True) -> CostFunction:
        if self._cost_function is not None:
            return self._cost_function
        from bitjoule.search.network_cost import NetworkCost

        return NetworkCost(StoredGraphs(join.graph, join.graph_content(self.file), store, keep=keep))

    def _keys(self, join: Join, card: Json, costs: CostFunction) -> AccuracyKeys:
        parents = self.file.accuracy.parent is not None
        return AccuracyKeys(
            self.file,
            join.evaluator(self.file),
            join.evaluator(self.file.parent_file()) if parents else None,
            costs,
            str(card["manifest_hash"]),
        )

    def _hardware(self, name: str | None) -> str:
        if name is None:
            return self.hardware_names[0]
        if name not in self.hardware_names:
            known = ", ".join(self.hardware_names)
            raise ValueError(f"no hardware {name!r} in {self.path.name}; hardware: {known}")
        return name

    def _check_known(self, trials: Sequence[Trial], *names: str) -> None:
        known = sorted({trial.family for trial in trials})
        for name in names:
            if name not in known:
                listed = ", ".join(known) or "none"
                printed = _printed_name(name)
                mend = f", did you mean {printed!r}?" if printed in known else ""
                raise ValueError(f"no family {name!r} in {self.path.name}{mend}; families: {listed}")

    def _check_families(self, trials: Sequence[Trial], hardware: str, *names: str) -> None:
        self._check_known(trials, *names)
        for name in names:
            if (text := unfinished_text(trials, hardware, name)) is not None:
                raise NothingFinishedError(text)


def _reading(path: Path) -> AbstractContextManager[Store | None]:
    """The store of a study for reading, or None where there is none yet."""
    return stored(path / STORE)


def _frozen(folder: Path, replaceable: bool) -> tuple[StudyFile, YamlText] | None:
    """The study file that was run last; one that cannot be read may be moved aside when there is another."""
    try:
        return frozen_file(folder, STORE)
    except StudyFileError as error:
        if not replaceable:
            raise
        raise StudyError(
            f"{folder} holds a study file that this bitjoule cannot read: use --fresh to move the study "
            f"aside and begin anew, or give another directory\n{error}"
        ) from error


def _labels(store: Store) -> dict[str, str]:
    text = store.meta("hardware")
    labels: dict[str, str] = {} if text is None else json.loads(text)
    return labels


def _content_hash(hardware: str) -> str:
    from bitjoule.hardware import load

    return load(hardware).hash


def _ignore(event: ProgressEvent) -> None:
    """Nobody watches."""


def _printed_name(name: str) -> str:
    """The name that the scheme `name` prints, or `name` where it is none: repairs stand in one order."""
    try:
        return str(parse_scheme(name))
    except SchemeError:
        return name
