"""Evaluates accuracies: looked up by content key first, then run on an executor, retried, and stored.

A Job that starts from a parent waits for it. Failures never end a study by themselves; too many of them do.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bitjoule.search.executor import Executor
from bitjoule.search.progress import Progress, ProgressEvent
from bitjoule.search.store import AccuracyRow, DiskFullError, Store
from bitjoule.search.task import WEIGHTS, Outcome, Task
from bitjoule.search.trial import MAX_ATTEMPTS, Failure, Json

__all__ = ["MIN_JUDGED", "Interrupted", "Job", "Jobs", "TooManyFailuresError"]

POLL_S = 0.5
MIN_JUDGED = 8
"""Evaluations before the share of failures is judged."""

PARENT_FAILED = "ParentFailed"


class Interrupted(Exception):
    """A signal stopped the run; everything finished is stored. `exit_code` is 128 + signal."""

    def __init__(self, signal_number: int, stored: int, total: int) -> None:
        super().__init__(f"stopped: {stored} of {total} trials stored; run the same command to go on")
        self.signal = signal_number
        self.exit_code = 128 + signal_number


class TooManyFailuresError(Exception):
    """More evaluations failed than limits.max_failures allows; lists them by kind."""


@dataclass(frozen=True)
class Job:
    """One accuracy to look up or to evaluate; `parent` is the key of the Job it starts from.

    `counted`: it belongs to the search, and its failure counts against limits.max_failures.
    """

    task: Task
    payload: Json
    label: str
    parent: str | None = None
    weight: float = 1.0
    counted: bool = True

    @property
    def key(self) -> str:
        """Content key of the accuracy."""
        return self.task.key


class Jobs:
    """Runs Jobs against one store and one executor; keeps the counts of the run."""

    def __init__(
        self,
        store: Store,
        executor: Executor,
        *,
        max_failures: float,
        retry_failed: bool,
        watch: Callable[[ProgressEvent], None],
    ) -> None:
        self.progress = Progress(executor.slots)
        self.evaluated = 0
        self.stop_signal: int | None = None
        self._store = store
        self._executor = executor
        self._max_failures = max_failures
        self._retry_failed = retry_failed
        self._watch = watch
        self._rows: dict[str, AccuracyRow] = {}
        self._judged: dict[str, Failure | None] = {}
        self._retried: set[str] = set()
        self._anew: set[str] = set()  # retried on demand: their attempts count from 1 again

    def stop(self, signal_number: int) -> None:
        """Hand out nothing more; called from a signal handler."""
        self.stop_signal = signal_number
        if not self._executor.isolated:
            self._executor.request_stop()

    def run(self, jobs: Sequence[Job], resolved: Callable[[Job, AccuracyRow], None]) -> None:
        """Have every Job resolved: stored with a result, or with a failure that is not tried again.

        Args:
            jobs: parents before the jobs that start from them; each key once.
            resolved: called for each Job inside the transaction that stores it.

        Raises:
            TooManyFailuresError: more than the limit failed.
            DiskFullError: the disk is full.
        """
        pending = self._look_up(jobs, resolved)
        self._judge()
        _Round(self, pending, resolved).run()

    def _look_up(self, jobs: Sequence[Job], resolved: Callable[[Job, AccuracyRow], None]) -> dict[str, Job]:
        pending: dict[str, Job] = {}
        with self._store.transaction():
            for job in jobs:
                row = self._rows.get(job.key) or self._store.accuracy(job.key)
                if row is None or self._try_again(job, row, pending):
                    pending[job.key] = job
                    self.progress.remaining_weight += job.weight
                else:
                    self.progress.memo += job.key not in self._rows
                    self._settle(job, row)
                    resolved(job, row)
        needed = {job.parent for job in pending.values()}
        again = {
            job.key: job
            for job in jobs
            if job.key in needed and job.key not in pending and self._is_gone(job)
        }
        return {**again, **pending}

    def _try_again(self, job: Job, row: AccuracyRow, pending: dict[str, Job]) -> bool:
        if row.failure is None:
            return False
        if row.failure.type == PARENT_FAILED:
            parent = None if job.parent is None else self._rows.get(job.parent)
            return job.parent in pending or (parent is not None and parent.done)
        if self._retry_failed and job.key not in self._retried:
            self._retried.add(job.key)
            self._anew.add(job.key)
            return True
        return row.attempts < MAX_ATTEMPTS.get(row.failure.kind, 1)

    def _is_gone(self, job: Job) -> bool:
        """True for a parent whose weights a child needs and somebody has deleted."""
        row = self._rows.get(job.key)
        stored = row is not None and row.done and row.weights_sha256 is not None
        return stored and not (Path(job.task.workdir) / WEIGHTS).exists()

    def _settle(self, job: Job, row: AccuracyRow) -> None:
        if job.key not in self._rows:
            self.progress.done += 1
        self._rows[job.key] = row
        if job.counted:
            self._judged[job.key] = row.failure
        self.progress.failed = sum(failure is not None for failure in self._judged.values())

    def _judge(self) -> None:
        failed = [failure for failure in self._judged.values() if failure is not None]
        if len(self._judged) >= MIN_JUDGED and len(failed) > self._max_failures * len(self._judged):
            by_kind: dict[str, list[Failure]] = {}
            for failure in failed:
                by_kind.setdefault(failure.kind, []).append(failure)
            listed = "; ".join(
                f"{kind} {len(by_kind[kind])} ({by_kind[kind][0].text})" for kind in sorted(by_kind)
            )
            raise TooManyFailuresError(
                f"{len(failed)} of {len(self._judged)} evaluations failed, limits.max_failures is "
                f"{self._max_failures:g}: {listed}; mend the cause and run again with --retry-failed"
            )


class _Round:
    """One call of `Jobs.run`: what is ready, what is out, what waits for a parent."""

    def __init__(
        self, jobs: Jobs, pending: dict[str, Job], resolved: Callable[[Job, AccuracyRow], None]
    ) -> None:
        self.owner = jobs
        self.resolved = resolved
        self.pending = pending
        self.ready: deque[str] = deque()
        self.waiting: dict[str, list[str]] = {}
        self.out: dict[int, str] = {}
        self.alone: set[str] = set()
        for key, job in pending.items():
            if job.parent in pending:
                self.waiting.setdefault(str(job.parent), []).append(key)
            else:
                self.ready.append(key)

    def run(self) -> None:
        """Until everything is resolved, or a stop was asked for and nothing runs any more."""
        owner = self.owner
        while self.ready or self.out:
            if owner.stop_signal is not None:
                owner._executor.request_stop()
                if not self.out:
                    return
            else:
                self._hand_out()
            owner.progress.running = len(self.out)
            outcomes = owner._executor.wait(POLL_S)
            if not outcomes:
                continue
            events: list[ProgressEvent] = []
            with owner._store.transaction():
                for outcome in outcomes:
                    if not outcome.disk_full:
                        events += self._take(outcome)
            owner.progress.running = len(self.out)
            for event in events:
                owner._watch(event)
            self._refuse_full_disk(outcomes)
            owner._judge()

    def _hand_out(self) -> None:
        owner = self.owner
        while self.ready and len(self.out) < owner._executor.slots:
            key = self.ready[0]
            running_alone = any(running in self.alone for running in self.out.values())
            if running_alone or (key in self.alone and self.out):
                return
            self.ready.popleft()
            job = self.pending[key]
            parent = None if job.parent is None else owner._rows.get(job.parent)
            if parent is not None and parent.failure is not None:
                self._fail_with_parent(job, parent.failure)
                continue
            self.out[owner._executor.submit(job.task)] = key

    def _take(self, outcome: Outcome) -> list[ProgressEvent]:
        owner = self.owner
        key = self.out.pop(outcome.ticket)
        if outcome.cancelled:
            return []
        job = self.pending[key]
        owner.evaluated += 1
        row = self._row(job, outcome)
        owner._store.put_accuracy(row)
        if row.failure is not None:
            owner._store.event("failed", accuracy_key=key, detail=f"{row.attempts}: {row.failure}")
            if row.attempts < MAX_ATTEMPTS.get(row.failure.kind, 1):
                if row.failure.kind == "out_of_memory":
                    self.alone.add(key)
                self.ready.appendleft(key)
                return [owner.progress.event("retry", f"{job.label}: {row.failure}; trying again")]
        owner.progress.estimate.add(job.weight, outcome.wall_s)
        return [self._resolve(job, row)]

    def _refuse_full_disk(self, outcomes: Sequence[Outcome]) -> None:
        full = [outcome for outcome in outcomes if outcome.disk_full and not outcome.cancelled]
        if full:
            text = full[0].failure.text if full[0].failure else "no space left"
            raise DiskFullError(
                f"{self.owner._store.path.parent}: an evaluation could not write its checkpoint ({text}); "
                "what was stored before is intact; make room and run the same command to go on"
            )

    def _row(self, job: Job, outcome: Outcome) -> AccuracyRow:
        before = self.owner._store.accuracy(job.key)
        attempts = 1
        if before is not None and before.failure is not None and job.key not in self.owner._anew:
            attempts = before.attempts + 1
        self.owner._anew.discard(job.key)
        result = outcome.result or {}
        failure = outcome.failure
        return AccuracyRow(
            key=job.key,
            payload=job.payload,
            accuracy=result.get("accuracy"),  # type: ignore[arg-type]
            loss=result.get("loss"),  # type: ignore[arg-type]
            metrics=failure.metrics if failure is not None else result["metrics"],  # type: ignore[arg-type]
            failure=failure,
            attempts=attempts,
            seed=job.task.seed,
            wall_s=outcome.wall_s,
            device=outcome.device,
            host=outcome.host,
            weights_sha256=result.get("weights_sha256"),  # type: ignore[arg-type]
        )

    def _resolve(self, job: Job, row: AccuracyRow) -> ProgressEvent:
        owner = self.owner
        owner.progress.remaining_weight -= job.weight
        owner._settle(job, row)
        self.resolved(job, row)
        self.ready.extend(self.waiting.pop(job.key, ()))
        if row.failure is not None:
            text = f"{job.label}: failed, {row.failure}"
        else:
            text = f"{job.label}: accuracy {100 * (row.accuracy or 0.0):.2f} %"
        return owner.progress.event("trial" if job.counted else "test", text)

    def _fail_with_parent(self, job: Job, cause: Failure) -> None:
        text = f"its float32 parent failed, {cause}"
        failure = Failure("error", text, PARENT_FAILED)
        row = AccuracyRow(job.key, job.payload, None, None, {}, failure, 1, job.task.seed)
        with self.owner._store.transaction():
            self.owner._store.put_accuracy(row)
            event = self._resolve(job, row)
        self.owner._watch(event)
