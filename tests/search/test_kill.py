"""A study may be killed at any moment and goes on: the promises of search.md section 5."""

import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bitjoule.search.store import Store
from bitjoule.search.study import Study
from tests.search.conftest import WriteStudy
from tests.search.toy_chain import ToyCost, ToyJoin

ROUNDS = 10
ROOT = Path(__file__).resolve().parents[2]
Row = tuple[int, str, float, float]


def start(
    config: Path, study: Path, log: Path, executor: str, sleep_s: float = 0.02
) -> subprocess.Popen[str]:
    settings = {"executor": executor, "config": {"sleep_s": sleep_s, "log": str(log)}}
    return subprocess.Popen(
        [sys.executable, "-m", "tests.search.toy_chain", str(study), str(config), json.dumps(settings)],
        cwd=ROOT,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def rows_of(study: Path) -> list[Row]:
    store = Store(study / "study.sqlite", create=False)
    assert store.connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    rows: list[Row] = store.connection.execute(
        "SELECT number, accuracy_key, accuracy, energy_pj FROM trial "
        "JOIN accuracy ON accuracy_key=accuracy.key JOIN cost ON cost_key=cost.key ORDER BY number"
    ).fetchall()
    store.close()
    return rows


def executed(log: Path) -> int:
    return len(log.read_text().splitlines()) if log.exists() else 0


@pytest.fixture
def config(write_study: WriteStudy) -> Path:
    """120 candidates."""
    return write_study(depths="[1, 2]", filters="[2, 3, 4, 6]", schemes="[w4a4, w3a3, w2a2]")


@pytest.fixture
def uninterrupted(config: Path, tmp_path: Path) -> list[Row]:
    study = Study.open(tmp_path / "whole.study", config, join=ToyJoin(), cost_function=ToyCost())
    assert study.run("in_process").done == 120
    return rows_of(study.path)


@pytest.mark.parametrize(("executor", "workers"), [("in_process", 1), ("processes", 2)])
def test_kill_9_at_any_moment(
    config: Path, uninterrupted: list[Row], tmp_path: Path, executor: str, workers: int
) -> None:
    study, log = tmp_path / "killed.study", tmp_path / "log"
    moments = random.Random(7)
    for _ in range(ROUNDS):
        process = start(config, study, log, executor)
        try:
            process.wait(timeout=moments.uniform(0.3, 1.2))
            assert process.returncode == 0
            break
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    process = start(config, study, log, executor)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert rows_of(study) == uninterrupted
    assert 120 <= executed(log) <= 120 + ROUNDS * workers
    before = executed(log)
    again = Study.open(study, config, join=ToyJoin({"log": str(log)}), cost_function=ToyCost())
    whole = Study.open(tmp_path / "whole.study", config, join=ToyJoin(), cost_function=ToyCost())
    again.run("in_process")
    assert executed(log) == before
    assert [p.number for p in again.front()] == [p.number for p in whole.front()]


@pytest.mark.parametrize("executor", ["in_process", "processes"])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_stops_in_order(
    config: Path, tmp_path: Path, executor: str, number: signal.Signals, code: int
) -> None:
    study, log = tmp_path / "stopped.study", tmp_path / "log"
    process = start(config, study, log, executor)
    until = time.monotonic() + 20
    while executed(log) < 10 and time.monotonic() < until:
        time.sleep(0.02)
    os.killpg(process.pid, number)
    output, _ = process.communicate(timeout=15)
    assert process.returncode == code, output
    stored = len(rows_of(study))
    assert output.strip() == f"stopped: {stored} of 120 trials stored; run the same command to go on"
    assert stored >= executed(log)  # what ran was allowed to finish
    assert 0 < stored < 120


def test_workers_die_with_their_driver(config: Path, tmp_path: Path) -> None:
    study, log = tmp_path / "orphans.study", tmp_path / "log"
    process = start(config, study, log, "processes", sleep_s=30.0)
    until = time.monotonic() + 20
    while executed(log) < 2 and time.monotonic() < until:
        time.sleep(0.02)
    workers = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert len(workers) == 2
    process.kill()
    process.communicate(timeout=5)
    until = time.monotonic() + 5
    while any(_runs(pid) for pid in workers) and time.monotonic() < until:
        time.sleep(0.02)
    assert not any(_runs(pid) for pid in workers)


def _runs(pid: str) -> bool:
    """A zombie that nobody has collected does not run."""
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


def test_a_second_signal_ends_at_once(config: Path, tmp_path: Path) -> None:
    study, log = tmp_path / "stopped.study", tmp_path / "log"
    process = start(config, study, log, "processes", sleep_s=30.0)
    until = time.monotonic() + 20
    while executed(log) < 2 and time.monotonic() < until:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGTERM)
    time.sleep(0.3)
    asked = time.monotonic()
    os.kill(process.pid, signal.SIGTERM)
    process.communicate(timeout=5)
    assert process.returncode == 143
    assert time.monotonic() - asked < 2
    assert rows_of(study) == []


def test_a_disk_that_fills_up(config: Path, uninterrupted: list[Row], tmp_path: Path) -> None:
    """Files may not grow beyond a limit: SQLite sees a failing write in the middle of the study."""
    study, log = tmp_path / "full.study", tmp_path / "log"
    settings = json.dumps({"executor": "in_process", "config": {"log": str(log)}})
    command = [sys.executable, "-m", "tests.search.toy_chain", str(study), str(config), settings]

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))

    full = subprocess.run(command, cwd=ROOT, preexec_fn=limit, capture_output=True, text=True, timeout=60)
    assert full.returncode == 1
    assert "DiskFullError" in full.stderr
    assert "what was stored before is intact; make room and run the same command to go on" in full.stderr
    stored = rows_of(study)
    assert 0 < len(stored) < 120
    assert stored == uninterrupted[: len(stored)]
    after = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert after.returncode == 0, after.stderr
    assert rows_of(study) == uninterrupted
