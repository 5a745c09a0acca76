"""One conformance suite for every executor."""

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bitjoule.search import executor_processes
from bitjoule.search.executor import Executor, InProcess
from bitjoule.search.executor_processes import Processes, visible_devices
from bitjoule.search.space import topology_space
from bitjoule.search.task import Outcome, Task
from bitjoule.search.trial import Budget, EvaluatorSpec
from tests.search.toy_chain import FACTORY, accuracy

CANDIDATES = list(topology_space(blocks=1, depths=(1, 2, 3), filters=(2, 3, 4, 6, 8), schemes=("w4a4",)))


@pytest.fixture(params=["in_process", "processes"])
def executor(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Executor]:
    made: Executor = InProcess() if request.param == "in_process" else Processes(2, logs=tmp_path / "logs")
    yield made
    made.close()


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    made = Processes(2, logs=tmp_path / "logs")
    yield made
    made.close()


def task(folder: Path, number: int = 0, **config: object) -> Task:
    return Task(
        key=f"key{number}",
        evaluator=EvaluatorSpec(FACTORY, dict(config)),
        candidate=CANDIDATES[number % len(CANDIDATES)],
        budget=Budget(1.0),
        seed=0,
        split="validation",
        workdir=str(folder / f"work{number}"),
    )


def collect(executor: Executor, count: int, limit_s: float = 30.0) -> dict[int, Outcome]:
    outcomes: dict[int, Outcome] = {}
    until = time.monotonic() + limit_s
    while len(outcomes) < count and time.monotonic() < until:
        for outcome in executor.wait(0.5):
            assert outcome.ticket not in outcomes
            outcomes[outcome.ticket] = outcome
    assert len(outcomes) == count
    return outcomes


def test_tickets_tell_outcomes_apart(executor: Executor, tmp_path: Path) -> None:
    tickets = [executor.submit(task(tmp_path, number)) for number in range(15)]
    outcomes = collect(executor, 15)
    for number, ticket in enumerate(tickets):
        outcome = outcomes[ticket]
        topology = dict(CANDIDATES[number].topology)
        expected = accuracy([int(topology["F_A"])], [2 ** int(topology["n_A"])])
        assert outcome.key == f"key{number}"
        assert outcome.result is not None
        assert outcome.result["accuracy"] == expected
        assert len(str(outcome.result["weights_sha256"])) == 64
        assert outcome.failure is None
    assert executor.wait(0.0) == []


def test_exceptions_become_failures(executor: Executor, tmp_path: Path) -> None:
    kinds = {"raise": "error", "nan": "diverged", "memory": "out_of_memory"}
    tickets = {
        executor.submit(task(tmp_path, number, faults={"w4a4": fault})): kind
        for number, (fault, kind) in enumerate(kinds.items())
    }
    outcomes = collect(executor, 3)
    for ticket, kind in tickets.items():
        failure = outcomes[ticket].failure
        assert failure is not None
        assert failure.kind == kind
        assert "Traceback" in failure.detail
        if kind == "error":
            assert (failure.type, failure.text) == ("ValueError", "the third layer has no weights")
        if kind == "diverged":
            assert failure.metrics == {"last_finite_epoch": 2}


def test_nan_is_divergence_and_percent_is_an_error(executor: Executor, tmp_path: Path) -> None:
    spec = EvaluatorSpec("tests.search.toy_chain:nan_evaluator", {})
    ticket = executor.submit(replace(task(tmp_path), evaluator=spec))
    failure = collect(executor, 1)[ticket].failure
    assert failure is not None
    assert str(failure) == "diverged: accuracy is NaN"


def test_a_factory_that_is_not_there(executor: Executor, tmp_path: Path) -> None:
    ticket = executor.submit(replace(task(tmp_path), evaluator=EvaluatorSpec("nowhere", {})))
    failure = collect(executor, 1)[ticket].failure
    assert failure is not None
    assert failure.text == "an evaluator factory is named 'package.module:function', not 'nowhere'"


def test_sys_exit_is_a_crash(executor: Executor, tmp_path: Path) -> None:
    ticket = executor.submit(task(tmp_path, faults={"w4a4": "sys.exit"}))
    failure = collect(executor, 1)[ticket].failure
    assert failure is not None
    assert str(failure) == "crashed: the evaluator called exit(4)"


def test_timeout(executor: Executor, tmp_path: Path) -> None:
    slow = replace(task(tmp_path, faults={"w4a4": "hang"}), timeout_s=0.3)
    tickets = executor.submit(slow), executor.submit(task(tmp_path, 1))
    outcomes = collect(executor, 2)
    failure = outcomes[tickets[0]].failure
    assert failure is not None
    assert str(failure) == "timeout: took longer than 0.3 s"
    assert outcomes[tickets[1]].failure is None


def test_full_disk_is_told_apart(executor: Executor, tmp_path: Path) -> None:
    ticket = executor.submit(task(tmp_path, faults={"w4a4": "disk"}))
    assert collect(executor, 1)[ticket].disk_full


def test_a_thousand_tiny_tasks(executor: Executor, tmp_path: Path) -> None:
    started = time.monotonic()
    tickets = {
        executor.submit(replace(task(tmp_path, n), workdir=str(tmp_path / "w"))): n for n in range(1000)
    }
    outcomes = collect(executor, 1000)
    assert {outcomes[ticket].key for ticket in tickets} == {f"key{n}" for n in range(1000)}
    assert time.monotonic() - started < 20


def test_stop_cancels_what_waits_and_lets_a_polite_trial_end(executor: Executor, tmp_path: Path) -> None:
    if isinstance(executor, InProcess):
        executor.submit(task(tmp_path, 0))
        executor.request_stop()
        assert all(outcome.cancelled for outcome in collect(executor, 1).values())
        return
    for number in range(6):
        executor.submit(task(tmp_path, number, sleep_s=20.0, polite=True))
    executor.wait(1.0)
    executor.request_stop()
    outcomes = collect(executor, 6, limit_s=9.0)
    assert all(outcome.cancelled and outcome.failure is None for outcome in outcomes.values())


@pytest.mark.parametrize(
    ("fault", "text"),
    [("exit", "the worker exited with status 3"), ("kill", "the worker was killed by SIGKILL")],
)
def test_a_dead_worker_is_replaced(processes: Processes, tmp_path: Path, fault: str, text: str) -> None:
    bad = processes.submit(task(tmp_path, 0, faults={"w4a4": fault}))
    good = [processes.submit(task(tmp_path, number)) for number in range(1, 6)]
    outcomes = collect(processes, 6)
    failure = outcomes[bad].failure
    assert failure is not None
    assert (failure.kind, failure.text) == ("crashed", text)
    if fault == "exit":
        assert failure.detail == "about to leave"
    assert all(outcomes[ticket].failure is None for ticket in good)


def test_a_worker_killed_for_memory(
    processes: Processes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = iter(range(100))
    monkeypatch.setattr(executor_processes, "_oom_kills", lambda: next(counts))
    ticket = processes.submit(task(tmp_path, 0, faults={"w4a4": "kill"}))
    failure = collect(processes, 1)[ticket].failure
    assert failure is not None
    assert str(failure) == "out_of_memory: the system killed the worker: out of memory"


def test_workers_share_cores_and_devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, 5")
    assert visible_devices() == ("3", "5")
    executor = Processes(2, logs=tmp_path / "logs", threads=3)
    try:
        tickets = [executor.submit(task(tmp_path, number, sleep_s=0.2)) for number in range(2)]
        pids = [worker.process.pid for worker in executor._workers if worker is not None]
        environments = [Path(f"/proc/{pid}/environ").read_bytes().split(b"\0") for pid in pids]
        assert all(b"OMP_NUM_THREADS=3" in variables for variables in environments)
        assert all(b"BITJOULE_THREADS=3" in variables for variables in environments)
        outcomes = collect(executor, 2)
        assert sorted(outcomes[ticket].device for ticket in tickets) == ["3", "5"]
    finally:
        executor.close()
    for pid in pids:
        assert not Path(f"/proc/{pid}").exists()
    with pytest.raises(ValueError, match=r"executor\.workers must be at least 1, not 0"):
        Processes(0, logs=tmp_path)


def test_messages_survive_json(tmp_path: Path) -> None:
    sent = task(tmp_path, 3, faults={"a": "raise"})
    assert Task.from_json(sent.to_json()) == sent
    executor = InProcess()
    executor.submit(sent)
    executor.submit(task(tmp_path, 4, faults={"w4a4": "raise"}))
    for outcome in (*executor.wait(1), *executor.wait(1)):
        assert Outcome.from_json(outcome.to_json()) == outcome
        assert outcome.host == os.uname().nodename
