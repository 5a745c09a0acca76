"""Costs of many candidates: those that take long side by side in processes, the others at once.

What takes long is mapping networks on memory hierarchies. Workers (`pricing_worker.py`) are told the graph,
the scheme and the hardware as JSON, so they load no torch, and share the mapper's memo on disk. The records
do not depend on the number of workers. A worker that dies costs time and nothing else: its candidate is
priced here.
"""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Protocol, runtime_checkable

from bitjoule.search.space import Candidate
from bitjoule.search.trial import CostFunction, CostRecord, Json

__all__ = ["Pair", "PricedElsewhere", "Pricing"]

Pair = tuple[Candidate, str]
"""A candidate and a hardware of the study file."""

POLL_S = 0.2
"""How often a stop is asked for while nothing comes."""


@runtime_checkable
class PricedElsewhere(Protocol):
    """A CostFunction whose slow costs another process can compute."""

    def pricing_job(self, candidate: Candidate, hardware: str) -> Json | None:
        """What `pricing_worker.py` needs, as JSON; None where pricing here is faster than asking."""
        ...


class Pricing:
    """The records of pairs, as they come.

    Args:
        costs: the cost of one pair.
        workers: processes for pairs that take long; 1 prices all of them here.
    """

    def __init__(self, costs: CostFunction, workers: int) -> None:
        self._costs = costs
        self._workers = workers

    def records(
        self, pairs: Sequence[Pair], stopped: Callable[[], bool] = lambda: False
    ) -> Iterator[tuple[Pair, CostRecord]]:
        """Every pair with its record, the fast ones first; ends early when `stopped` says so."""
        jobs = {pair: job for pair in pairs if (job := self._job(pair)) is not None}
        apart = jobs if self._workers > 1 and len(jobs) > 1 else {}
        for pair in pairs:
            if pair not in apart:
                if stopped():
                    return
                yield pair, self._costs(*pair)
        if apart:
            yield from self._apart(apart, stopped)

    def _job(self, pair: Pair) -> Json | None:
        costs = self._costs
        return costs.pricing_job(*pair) if isinstance(costs, PricedElsewhere) else None

    def _apart(
        self, jobs: dict[Pair, Json], stopped: Callable[[], bool]
    ) -> Iterator[tuple[Pair, CostRecord]]:
        waiting: queue.SimpleQueue[tuple[Pair, str]] = queue.SimpleQueue()
        answers: queue.SimpleQueue[tuple[Pair, str]] = queue.SimpleQueue()
        for pair, job in jobs.items():
            waiting.put((pair, json.dumps(job, separators=(",", ":"))))
        processes = [_worker() for _ in range(min(self._workers, len(jobs)))]
        threads = [threading.Thread(target=_ask, args=(one, waiting, answers)) for one in processes]
        left = dict.fromkeys(jobs)
        try:
            for thread in threads:
                thread.start()
            while left and not stopped():
                try:
                    pair, answer = answers.get(timeout=POLL_S)
                except queue.Empty:
                    if any(thread.is_alive() for thread in threads) or not answers.empty():
                        continue
                    pair, answer = next(iter(left)), ""  # all workers died: the rest is priced here
                del left[pair]
                yield pair, CostRecord(**json.loads(answer)) if answer else self._costs(*pair)
        finally:
            for process in processes:
                process.kill()
            for thread in threads:
                thread.join()
            for process in processes:
                process.wait()


def _worker() -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "bitjoule.search.pricing_worker"]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    )


def _ask(
    process: subprocess.Popen[str],
    waiting: queue.SimpleQueue[tuple[Pair, str]],
    answers: queue.SimpleQueue[tuple[Pair, str]],
) -> None:
    """One thread per worker: a job, its answer (empty when the worker has none), until no job is left."""
    assert process.stdin is not None and process.stdout is not None
    with process.stdin, process.stdout, suppress(OSError):
        while True:
            try:
                pair, job = waiting.get_nowait()
            except queue.Empty:
                return
            answer = ""
            with suppress(OSError):
                process.stdin.write(job + "\n")
                process.stdin.flush()
                answer = process.stdout.readline()
            answers.put((pair, answer.strip()))
            if not answer:
                return
