"""What the mapper remembers: by content, in memory and on disk, and never wrongly."""

import json
import multiprocessing
import os
import signal
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bitjoule.mapping.infeasible import InfeasibleMapping
from bitjoule.mapping.memo import MappingMemo, memo_key
from bitjoule.mapping.memo_file import CacheWarning, MemoFile, cache_folder
from bitjoule.mapping.problem import Problem
from bitjoule.mapping.search import MappingResult, solve
from bitjoule.mapping.space import SpaceOptions
from tests.mapping.toy import GOLDEN, toy
from tests.read_only import ReadOnlyFolder, read_only_folder

__all__ = ["read_only_folder"]

PROBLEM, DIMS, ENERGY_PJ, CYCLES = GOLDEN[3]
HARDWARE = toy(DIMS)


class Counting:
    """`solve`, counted."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, problem: Problem, *arguments: Any, **options: Any) -> MappingResult:
        self.calls += 1
        return solve(problem, *arguments, **options)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "mappings.sqlite"


def memo_at(path: Path) -> tuple[MappingMemo, Counting]:
    counting = Counting()
    return MappingMemo(path, counting), counting


def rows(path: Path) -> list[tuple[str, str, str]]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute("SELECT key, document, digest FROM mapping").fetchall()
    finally:
        connection.close()


def test_equal_problems_are_solved_once_whatever_their_name(path: Path) -> None:
    memo, counting = memo_at(path)
    first = memo.solve(PROBLEM, HARDWARE)
    again = memo.solve(replace(PROBLEM, name="another"), HARDWARE)
    assert counting.calls == 1
    assert (first.energy_pj, first.latency_cycles) == (ENERGY_PJ, CYCLES)
    assert (again.mapping, again.problem.name) == (first.mapping, "another")
    assert (memo.counts.solved, memo.counts.remembered, memo.info().entries) == (1, 1, 1)


def test_another_process_reads_what_was_found(path: Path) -> None:
    found = memo_at(path)[0].solve(PROBLEM, HARDWARE)
    memo, counting = memo_at(path)
    read = memo.solve(PROBLEM, HARDWARE)
    assert counting.calls == 0
    assert memo.counts.read == 1
    assert read == found


def test_everything_that_decides_a_result_is_in_the_key() -> None:
    glb = replace(HARDWARE.levels[3], read_pj=6.5)
    dearer = replace(HARDWARE, levels=(*HARDWARE.levels[:3], glb, *HARDWARE.levels[4:]))
    keys = [
        memo_key(PROBLEM, HARDWARE),
        memo_key(replace(PROBLEM, weight_bits=3), HARDWARE),
        memo_key(replace(PROBLEM, mac_pj=2.0), HARDWARE),
        memo_key(replace(PROBLEM, stride=(2, 1)), HARDWARE),
        memo_key(PROBLEM, dearer),
        memo_key(PROBLEM, replace(HARDWARE, packing="dense")),
        memo_key(PROBLEM, HARDWARE.resident("glb", ("inputs",), 8)),
        memo_key(PROBLEM, HARDWARE, mode="paper"),
        memo_key(PROBLEM, HARDWARE, objective="edp"),
        memo_key(PROBLEM, HARDWARE, latency_cap_cycles=20),
        memo_key(PROBLEM, HARDWARE, space=SpaceOptions(spatial="max")),
        memo_key(PROBLEM, HARDWARE, space=SpaceOptions(fixed={"glb": {"K": 2}})),
    ]
    assert len(set(keys)) == len(keys)
    same = memo_key(replace(PROBLEM, name="x"), replace(HARDWARE, name="y"), space=SpaceOptions())
    assert same == keys[0]


def test_the_key_depends_on_the_version_of_the_mapper(monkeypatch: pytest.MonkeyPatch) -> None:
    before = memo_key(PROBLEM, HARDWARE)
    monkeypatch.setattr("bitjoule.mapping.memo.MAPPER_VERSION", 10**6)
    assert memo_key(PROBLEM, HARDWARE) != before


def test_what_a_time_limit_cut_short_is_not_stored(path: Path) -> None:
    calls = []

    def hasty(problem: Problem, *arguments: Any, **options: Any) -> MappingResult:
        calls.append(options["time_limit_s"])
        return replace(solve(problem, *arguments, **options), optimal=False, gap=0.5)

    memo = MappingMemo(path, hasty)
    memo.solve(PROBLEM, HARDWARE, time_limit_s=1.0)
    assert not memo.solve(PROBLEM, HARDWARE, time_limit_s=1.0).optimal
    memo.solve(PROBLEM, HARDWARE, time_limit_s=2.0)
    assert calls == [1.0, 2.0]
    assert memo.info().entries == 0


def test_what_does_not_fit_is_told_again(path: Path) -> None:
    memo, _ = memo_at(path)
    tiny = toy(DIMS, glb_words=1)
    for name in ("a", "b"):
        with pytest.raises(InfeasibleMapping, match=f"^{name} does not fit"):
            memo.solve(replace(PROBLEM, name=name), tiny)


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({"energy_pj": 1.0}, id="energy"),
        pytest.param({"latency_cycles": 1}, id="cycles"),
        pytest.param({"bounds": [1] * 8}, id="another problem"),
        pytest.param({"mapping": {"schema": "bitjoule.mapping/1", "levels": []}}, id="mapping"),
        pytest.param({"certificate": {}}, id="no certificate"),
    ],
)
def test_an_entry_that_does_not_hold_is_solved_anew(path: Path, wrong: dict[str, object]) -> None:
    memo, _ = memo_at(path)
    found = memo.solve(PROBLEM, HARDWARE)
    (key, document, _) = rows(path)[0]
    memo.file.forget(key)
    memo.file.put(key, json.dumps({**json.loads(document), **wrong}))
    again, counting = memo_at(path)
    assert again.solve(PROBLEM, HARDWARE).energy_pj == found.energy_pj
    assert counting.calls == 1
    later, counting = memo_at(path)
    assert later.solve(PROBLEM, HARDWARE).mapping == found.mapping
    assert counting.calls == 0, "the wrong entry has been replaced"


def test_a_flipped_character_reads_as_nothing(path: Path) -> None:
    file = MemoFile(path)
    file.put("k", "text")
    connection = sqlite3.connect(path)
    connection.execute("UPDATE mapping SET document='next'")
    connection.commit()
    connection.close()
    assert file.get("k") is None
    file.put("k", "text")
    assert file.get("k") == "text"


@pytest.mark.parametrize("content", [b"", b"no database at all" * 100], ids=["empty", "not SQLite"])
def test_a_damaged_file_costs_nothing_but_time(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    memo, counting = memo_at(path)
    if content:
        with pytest.warns(CacheWarning, match="mappings are not cached in .*; results are the same") as told:
            memo.solve(PROBLEM, HARDWARE)
        assert len(told) == 1
    assert memo.solve(PROBLEM, HARDWARE).energy_pj == ENERGY_PJ
    assert counting.calls == 1
    memo.clear()
    memo.solve(PROBLEM, HARDWARE)
    assert memo.info().entries == 1


def test_a_page_overwritten_in_the_middle(path: Path) -> None:
    file = MemoFile(path)
    for number in range(200):
        file.put(f"{number:064}", "x" * 500)
    file.close()
    damaged = bytearray(path.read_bytes())
    damaged[8192:40960] = os.urandom(32768)
    path.write_bytes(damaged)
    memo, _ = memo_at(path)
    with pytest.warns(CacheWarning):
        for number in range(200):
            assert memo.file.get(f"{number:064}") in (None, "x" * 500)
        memo.file.put("new", "text")
    assert memo.solve(PROBLEM, HARDWARE).energy_pj == ENERGY_PJ


def test_a_folder_that_cannot_be_written(read_only_folder: ReadOnlyFolder) -> None:
    with read_only_folder.locked():
        memo, counting = memo_at(read_only_folder.path / "deeper" / "mappings.sqlite")
        with pytest.warns(CacheWarning, match="set BITJOULE_CACHE to a folder that can be written") as told:
            assert memo.solve(PROBLEM, HARDWARE).energy_pj == ENERGY_PJ
            assert memo.solve(PROBLEM, HARDWARE).energy_pj == ENERGY_PJ
        assert (len(told), counting.calls) == (1, 1)


def test_where_the_cache_lives(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BITJOULE_CACHE", str(tmp_path / "own"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "own"
    assert MappingMemo.open() is MappingMemo.open(tmp_path / "own" / "mappings.sqlite")
    monkeypatch.delenv("BITJOULE_CACHE")
    assert cache_folder() == tmp_path / "xdg" / "bitjoule"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "bitjoule"


def write(path: Path, first: int, count: int) -> None:
    """What a process of the next tests does: `count` entries, every second one shared with the other."""
    file = MemoFile(path)
    for number in range(first, first + count):
        name = f"{number if number % 2 else -number // 2}"
        file.put(name, f"document {name} " * 20)


@pytest.fixture
def spawned() -> Iterator[list[multiprocessing.process.BaseProcess]]:
    found: list[multiprocessing.process.BaseProcess] = []
    yield found
    for process in found:
        if process.is_alive():
            process.kill()
        process.join()


def start(path: Path, first: int, count: int) -> multiprocessing.process.BaseProcess:
    process = multiprocessing.get_context("spawn").Process(target=write, args=(path, first, count))
    process.start()
    return process


def test_two_processes_make_and_fill_the_file_at_once(
    path: Path, spawned: list[multiprocessing.process.BaseProcess]
) -> None:
    spawned += [start(path, 0, 300), start(path, 100, 300)]
    for process in spawned:
        process.join(60)
        assert process.exitcode == 0
    expected = {f"{n if n % 2 else -n // 2}" for n in range(400)}
    file = MemoFile(path)
    assert file.info().entries == len(expected)
    for name in expected:
        assert file.get(name) == f"document {name} " * 20


def test_killed_while_it_writes(path: Path, spawned: list[multiprocessing.process.BaseProcess]) -> None:
    process = start(path, 0, 10**6)
    spawned.append(process)
    until = time.monotonic() + 30
    while not (path.exists() and (MemoFile(path).info().entries or 0) > 20):
        assert time.monotonic() < until
        time.sleep(0.02)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    file = MemoFile(path)
    entries = file.info().entries
    assert entries is not None and entries > 20
    for key, document, _ in rows(path):
        assert file.get(key) == document == f"document {key} " * 20
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
    write(path, 0, 5)


def test_a_forked_process_opens_the_file_anew(path: Path) -> None:
    file = MemoFile(path)
    file.put("parent", "text")
    context = multiprocessing.get_context("fork")
    process = context.Process(target=lambda: file.put("child", str(file.get("parent"))))
    process.start()
    process.join(20)
    assert process.exitcode == 0
    assert (file.get("child"), file.get("parent")) == ("text", "text")
