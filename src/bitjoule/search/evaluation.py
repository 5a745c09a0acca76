"""The `evaluate` that a method calls: requests to trials, on every hardware, memoised and in order.

Cost first, then accuracy. Candidates that start from a float32 parent bring it along: parents come before
the requests that need them, as trials of family float32.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from bitjoule.scheme import parse_scheme
from bitjoule.search.accuracy_key import AccuracyKeys
from bitjoule.search.jobs import Job, Jobs
from bitjoule.search.key import key
from bitjoule.search.pricing import Pair, Pricing
from bitjoule.search.space import Candidate
from bitjoule.search.store import AccuracyRow, Store, TrialRow
from bitjoule.search.study_trials import trial_of
from bitjoule.search.trial import CostFunction, CostRecord, Json, Request, Result, Split

__all__ = ["Evaluation", "Stopped"]

COMMIT_S = 0.5
"""Costs are committed together for so long."""

FLOAT32 = parse_scheme("float32")

MEASURING_EPOCHS = 0.3
"""What measuring a trained candidate weighs in the estimate of the remaining time: a forward pass."""


class Stopped(Exception):
    """A signal came while requests were evaluated; what is finished is stored."""


@dataclass
class _Entry:
    """One candidate with one seed: its trials, one per hardware."""

    request: Request
    costs: tuple[tuple[str, CostRecord], ...]
    job: Job | None
    numbers: range = range(0)


class Evaluation:
    """State of one run: what has been asked for so far, by candidate and seed."""

    def __init__(
        self,
        *,
        store: Store,
        jobs: Jobs,
        costs: CostFunction,
        workers: int,
        hardware: Sequence[tuple[str, str]],
        keys: AccuracyKeys,
        checkpoints: Path,
        timeout_s: float | None,
        on_costs: Callable[[int, int], None],
    ) -> None:
        self._store = store
        self._jobs = jobs
        self._costs = costs
        self._pricing = Pricing(costs, workers)
        self._hardware = [(source, label, costs.hardware_hash(source)) for source, label in hardware]
        self._keys = keys
        self._checkpoints = checkpoints
        self._timeout_s = timeout_s
        self._on_costs = on_costs
        self._entries: dict[tuple[Candidate, int], _Entry] = {}
        self._by_job: dict[str, list[_Entry]] = {}
        self.numbered = 0

    def __call__(self, requests: Sequence[Request]) -> list[Result]:
        """Results in the order of the requests.

        Raises:
            Stopped: a signal came; the method's replay goes on with the same command.
        """
        fresh = self._new_entries(requests)
        self._jobs.progress.total += sum(entry.job is not None for entry in fresh)
        with self._store.transaction():
            for entry in fresh:
                if entry.job is None:
                    self._store.put_trials(self._rows(entry, None))
        self._jobs.run([entry.job for entry in fresh if entry.job is not None], self._resolved)
        if self._jobs.stop_signal is not None:
            raise Stopped
        return [self._result(request) for request in requests]

    def measure_on_test(self, candidates: Sequence[Candidate], seeds: Sequence[int]) -> None:
        """Accuracy of finished candidates on the test split, with every seed; trains where a seed is new."""
        jobs: dict[str, Job] = {}
        for candidate in candidates:
            for seed in seeds:
                parent = self._parent(candidate)
                if parent is not None:
                    job = self._job(parent, seed, "validation", counted=False)
                    jobs.setdefault(job.key, job)
                job = self._job(candidate, seed, "test", counted=False)
                jobs.setdefault(job.key, job)
        known = [job for job in jobs.values() if job.key not in self._by_job]
        self._jobs.progress.total += len(known)
        self._jobs.run(list(jobs.values()), self._resolved)
        if self._jobs.stop_signal is not None:
            raise Stopped

    def _new_entries(self, requests: Sequence[Request]) -> list[_Entry]:
        """Entries of this batch that were not asked for before: parents, then requests, numbered in order."""
        asked = {(r.candidate, r.seed): r for r in reversed(requests)}
        ordered = [asked[pair] for pair in dict.fromkeys((r.candidate, r.seed) for r in requests)]
        new = [r for r in ordered if (r.candidate, r.seed) not in self._entries]
        priced = self._price([request.candidate for request in new])
        parents: dict[tuple[Candidate, int], Request] = {}
        for request in new:
            parent = self._parent(request.candidate)
            if parent is not None and _runs_somewhere(priced[request.candidate]):
                pair = (parent, request.seed)
                if pair not in self._entries:
                    parents.setdefault(pair, replace(request, candidate=parent))
        priced |= self._price([request.candidate for request in parents.values()])
        fresh = []
        for request in (*parents.values(), *new):
            pair = (request.candidate, request.seed)
            if pair in self._entries:
                continue  # a request for float32 itself: the parent
            costs = priced[request.candidate]
            wanted = pair in parents or _runs_somewhere(costs)
            numbers = range(self.numbered, self.numbered + len(costs))
            entry = _Entry(request, costs, None, numbers)
            self.numbered += len(costs)
            self._entries[pair] = entry
            entry.job = job = self._job(*pair, "validation") if wanted else None
            if job is not None:
                self._by_job.setdefault(job.key, []).append(entry)
            fresh.append(entry)
        return fresh

    def _price(self, candidates: Sequence[Candidate]) -> dict[Candidate, tuple[tuple[str, CostRecord], ...]]:
        """(cost key, cost) of each candidate on each hardware, in the order of the study file."""
        sources = [source for source, _, _ in self._hardware]
        pairs = [(candidate, source) for candidate in dict.fromkeys(candidates) for source in sources]
        keys: dict[Pair, str] = {}
        known: dict[str, CostRecord] = {}
        missing: dict[str, tuple[Pair, Json]] = {}
        for pair in pairs:
            self._stop_if_asked()
            payload = self._costs.payload(*pair)
            keys[pair] = cost_key = key("cost", payload)
            record = None if cost_key in known else self._store.cost_summary(cost_key)
            if record is not None:
                known[cost_key] = record
            elif cost_key not in known:
                missing.setdefault(cost_key, (pair, payload))
        known |= self._compute(missing, len(known))
        return {
            candidate: tuple((keys[candidate, source], known[keys[candidate, source]]) for source in sources)
            for candidate in dict.fromkeys(candidates)
        }

    def _compute(self, missing: Mapping[str, tuple[Pair, Json]], before: int) -> dict[str, CostRecord]:
        """Costs that are not stored, by key; each is stored COMMIT_S after it came, or with the next one."""
        places = {pair: (cost_key, payload) for cost_key, (pair, payload) in missing.items()}
        found: dict[str, CostRecord] = {}
        fresh: list[tuple[str, Json, CostRecord]] = []
        committed = time.monotonic()
        records = self._pricing.records(list(places), lambda: self._jobs.stop_signal is not None)
        try:
            for pair, record in records:
                cost_key, payload = places[pair]
                found[cost_key] = record
                fresh.append((cost_key, payload, record))
                self._on_costs(before + len(found), before + len(missing))
                if time.monotonic() - committed >= COMMIT_S:
                    self._put_costs(fresh)
                    fresh, committed = [], time.monotonic()
        finally:
            self._put_costs(fresh)
        self._stop_if_asked()
        return found

    def _put_costs(self, fresh: Sequence[tuple[str, Json, CostRecord]]) -> None:
        with self._store.transaction():
            for cost_key, payload, record in fresh:
                self._store.put_cost(cost_key, payload, record)

    def _stop_if_asked(self) -> None:
        if self._jobs.stop_signal is not None:
            raise Stopped

    def _parent(self, candidate: Candidate) -> Candidate | None:
        if not self._keys.has_parents or candidate.scheme == FLOAT32:
            return None
        return candidate.with_scheme(FLOAT32)

    def _job(self, candidate: Candidate, seed: int, split: Split, *, counted: bool = True) -> Job:
        parent = self._parent(candidate)
        folder = None
        if parent is not None:
            folder = str(self._checkpoints / self._keys.training_key(parent, seed))
        task = self._keys.task(candidate, seed, split, self._checkpoints, folder, self._timeout_s)
        record = self._entries.get((candidate, seed))
        macs = 1.0
        if record is not None:
            macs = float(cast(float, record.costs[0][1].breakdown.get("macs", 1.0)) or 1.0)
        suffix = " on the test split" if split == "test" else ""
        return Job(
            task=task,
            payload=self._keys.payload(candidate, seed, split),
            label=f"{candidate.label} seed {seed}{suffix}",
            parent=None if parent is None else self._keys.key(parent, seed, "validation"),
            weight=macs
            * (MEASURING_EPOCHS if split == "test" and record is not None else task.budget.epochs),
            counted=counted,
        )

    def _resolved(self, job: Job, row: AccuracyRow) -> None:
        for entry in self._by_job.get(job.key, ()):
            self._store.put_trials(self._rows(entry, row))

    def _rows(self, entry: _Entry, row: AccuracyRow | None) -> list[TrialRow]:
        request = entry.request
        candidate = request.candidate
        return [
            TrialRow(
                number=number,
                candidate=candidate.to_json(),
                family=candidate.family,
                hardware_hash=digest,
                data_hash=self._keys.data_hash,
                scheme=candidate.scheme.name,
                width=candidate.width,
                seed=request.seed,
                epochs=self._keys.budget(candidate).epochs,
                generation=request.generation,
                rung=request.rung,
                accuracy_key=None if row is None else row.key,
                cost_key=cost_key,
                status=_status(record, row),
            )
            for number, (_, _, digest), (cost_key, record) in zip(
                entry.numbers, self._hardware, entry.costs, strict=True
            )
        ]

    def _result(self, request: Request) -> Result:
        entry = self._entries[request.candidate, request.seed]
        row = None if entry.job is None else self._store.accuracy(entry.job.key)
        labels = {digest: label for _, label, digest in self._hardware}
        trials = tuple(
            trial_of(stored, labels, row, record)
            for stored, (_, record) in zip(self._rows(entry, row), entry.costs, strict=True)
        )
        return Result(request, trials)


def _runs_somewhere(costs: tuple[tuple[str, CostRecord], ...]) -> bool:
    return any(record.feasible for _, record in costs)


def _status(record: CostRecord, row: AccuracyRow | None) -> str:
    if not record.feasible or row is None:
        return "infeasible"
    return "done" if row.done else "failed"
