"""The store: schema, durability settings, refusals, full disks."""

import sqlite3
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from bitjoule.search.lock import StudyLock, file_system_of, refuse_network_file_system
from bitjoule.search.store import AccuracyRow, DiskFullError, Store, StoreError, TrialRow, stored
from bitjoule.search.trial import CostRecord, Failure
from tests.read_only import ReadOnlyFolder

ROW = AccuracyRow("k1", {"seed": 0}, 0.5, 0.1, {"a": 1}, None, 1, 0, 2.5, "cpu", "host", "ab")
FAILED = replace(ROW, accuracy=None, loss=None, failure=Failure("crashed", "gone"), weights_sha256=None)
TRIAL = TrialRow(0, {"c": 1}, "w4a4", "hw", "data", "w4a4", 0.5, 0, 2.0, None, None, "k1", "c1", "done")
LONG = {f"proxy{n}": float(n) for n in range(1000)}
COST = CostRecord(10.0, 5, 2.0, {"weight_bits": 7, "proxies": LONG, "cost": {"layers": []}})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "study.sqlite")


def test_settings_of_the_document(store: Store) -> None:
    values = {
        name: store.connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout", "application_id")
    }
    assert values == {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "busy_timeout": 30000,
        "application_id": 0x424A4C45,
    }
    assert store.connection.execute("PRAGMA user_version").fetchone()[0] == 1
    tables = store.connection.execute("SELECT name FROM sqlite_master WHERE type='table' ORDER BY name")
    assert [name for (name,) in tables] == ["accuracy", "cost", "event", "meta", "trial"]


def test_rows_come_back(store: Store) -> None:
    store.put_accuracy(ROW)
    store.put_cost("c1", {"x": 1}, COST)
    store.put_cost("c2", {"x": 2}, CostRecord(None, None, None, {}, "does not fit"))
    store.put_trials([TRIAL])
    assert store.accuracy("k1") == ROW
    assert store.accuracy("k2") is None
    assert store.cost("c1") == COST
    assert store.cost_summary("c1") == replace(COST, breakdown={"weight_bits": 7, "proxies": LONG})
    infeasible = store.cost("c2")
    assert infeasible is not None
    assert not infeasible.feasible
    assert store.trials() == [TRIAL]
    assert store.count_trials() == {"done": 1}
    store.drop_trials(from_number=0)
    assert store.trials() == []


def test_a_result_replaces_a_failure_and_stays(store: Store) -> None:
    store.put_accuracy(FAILED)
    assert store.accuracy("k1") == FAILED
    store.put_accuracy(ROW)
    store.put_accuracy(FAILED)
    store.put_accuracy(replace(ROW, accuracy=0.9))
    assert store.accuracy("k1") == ROW


def test_a_trial_needs_its_cost(store: Store) -> None:
    with pytest.raises(StoreError, match="FOREIGN KEY constraint failed"):
        store.put_trials([TRIAL])
    assert store.trials() == []


def test_a_transaction_is_all_or_nothing(store: Store) -> None:
    with pytest.raises(RuntimeError), store.transaction():
        store.put_accuracy(ROW)
        raise RuntimeError
    assert store.accuracy("k1") is None
    store.put_accuracy(ROW)
    assert store.accuracy("k1") == ROW


def test_a_full_disk_is_said_and_harms_nothing(store: Store, tmp_path: Path) -> None:
    store.put_accuracy(ROW)
    pages = store.connection.execute("PRAGMA page_count").fetchone()[0]
    store.connection.execute(f"PRAGMA max_page_count={pages}")
    big = {"text": "x" * 100_000}
    with pytest.raises(DiskFullError, match="the disk is full or failing; what was stored before is intact"):
        store.put_accuracy(replace(ROW, key="k2", metrics=big))
    store.close()
    again = Store(tmp_path / "study.sqlite", create=False)
    assert again.connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    assert [row.key for row in again.accuracies()] == ["k1"]
    again.put_accuracy(replace(ROW, key="k2", metrics=big))
    assert len(again.accuracies()) == 2


def test_foreign_files_are_refused(tmp_path: Path) -> None:
    other = tmp_path / "other.sqlite"
    connection = sqlite3.connect(other)
    connection.execute("CREATE TABLE t(x)")
    connection.close()
    with pytest.raises(StoreError, match=r"other\.sqlite is not the store of a bitjoule study"):
        Store(other)
    (tmp_path / "text").write_text("no database, but long enough to be looked at" * 40)
    with pytest.raises(StoreError, match="text is not the store of a bitjoule study"):
        Store(tmp_path / "text")
    newer = Store(tmp_path / "newer.sqlite")
    newer.connection.execute("PRAGMA user_version=7")
    newer.close()
    with pytest.raises(
        StoreError, match="has schema version 7, this bitjoule reads 1: use the bitjoule that"
    ):
        Store(tmp_path / "newer.sqlite")
    with pytest.raises(StoreError, match=r"no study at .*: none\.sqlite is missing"):
        Store(tmp_path / "none.sqlite", create=False)


def test_one_writer(tmp_path: Path) -> None:
    lock = StudyLock(tmp_path / "study.lock")
    with pytest.raises(StoreError, match=r"study is being run by process \d+ on host \S+ since \d\d:\d\d"):
        StudyLock(tmp_path / "study.lock")
    lock.close()
    StudyLock(tmp_path / "study.lock").close()


def test_network_file_systems_are_refused(tmp_path: Path) -> None:
    mounts = "disk / ext4 rw 0 0\nserver:/home /home nfs4 rw 0 0\ndisk2 /home/me/local\\040disk xfs rw 0 0\n"
    assert file_system_of(Path("/data/x.study"), mounts) == "ext4"
    assert file_system_of(Path("/home/me/x.study"), mounts) == "nfs4"
    assert file_system_of(Path("/home/me/local disk/x.study"), mounts) == "xfs"
    with pytest.raises(StoreError) as caught:
        refuse_network_file_system(Path("/home/me/x.study"), mounts)
    assert str(caught.value) == (
        "/home/me/x.study lies on a network file system (nfs4), where a study cannot be stored safely: "
        "put the study on a local disk, workers may be remote"
    )
    refuse_network_file_system(tmp_path)


def damage(path: Path, at: int, count: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(b"\xa5" * count)


def test_a_damaged_file_is_told_as_one_by_every_read(store: Store, tmp_path: Path) -> None:
    store.put_accuracy(ROW)
    store.put_cost("c1", {"x": 1}, COST)
    store.put_trials([TRIAL])
    store.set_meta("directory", "/here")
    store.close()
    path = tmp_path / "study.sqlite"
    damage(path, 4096, path.stat().st_size - 4096)  # every page but the schema's
    for read_only in (False, True):
        again = Store(path, create=False, read_only=read_only)
        for read in (
            *(again.trials, again.accuracies, again.events, again.count_trials),
            *(partial(again.meta, "directory"), partial(again.cost, "c1"), partial(again.accuracy, "k1")),
        ):
            with pytest.raises(StoreError) as caught:
                read()
            assert str(caught.value) == (
                f"{path} is damaged (database disk image is malformed): put a copy of it back, or move it "
                "away and run the study again; trainings that are finished in checkpoints/ are not repeated"
            )
        again.close()


def test_a_damaged_document_or_a_missing_table_is_told(store: Store, tmp_path: Path) -> None:
    store.put_accuracy(ROW)
    store.put_cost("c1", {"x": 1}, COST)
    store.connection.execute("UPDATE accuracy SET payload='{'")
    store.connection.execute("UPDATE cost SET breakdown=x'00'")
    store.connection.execute("DROP TABLE event")
    reads: list[Callable[[], object]] = [store.accuracies, lambda: store.cost("c1"), store.events]
    for read in reads:
        with pytest.raises(StoreError, match=r"study\.sqlite is damaged \(.*put a copy of it back"):
            read()


def test_a_locked_file_is_told(store: Store, tmp_path: Path) -> None:
    store.connection.execute("PRAGMA busy_timeout=1")
    other = Store(tmp_path / "study.sqlite")
    with other.transaction():
        other.put_accuracy(ROW)
        with pytest.raises(StoreError, match=r"is locked by another program .*: close that program and run"):
            store.put_accuracy(FAILED)


def test_reading_leaves_nothing_and_sees_what_a_writer_commits(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "study.sqlite"
    store.put_accuracy(ROW)
    with stored(path) as reader:
        assert reader is not None
        assert reader.accuracies() == [ROW]  # it is in the writer's journal only
        with pytest.raises(StoreError, match="attempt to write a readonly database"):
            reader.set_meta("a", "b")
    store.close()
    content = path.read_bytes()
    with stored(path) as reader:
        assert reader is not None
        assert reader.accuracies() == [ROW]
    assert [file.name for file in tmp_path.iterdir()] == ["study.sqlite"]
    assert path.read_bytes() == content
    with stored(tmp_path / "none.sqlite") as none:
        assert none is None


def test_a_store_in_a_read_only_folder_is_read(read_only_folder: ReadOnlyFolder) -> None:
    folder = read_only_folder.path
    store = Store(folder / "study.sqlite")
    store.put_accuracy(ROW)
    store.close()
    with read_only_folder.locked():
        with stored(folder / "study.sqlite") as reader:
            assert reader is not None
            assert reader.accuracies() == [ROW]
        with pytest.raises(StoreError, match=r"cannot be written .*: make its folder writable, or copy the"):
            Store(folder / "study.sqlite").put_accuracy(ROW)


def test_a_journal_that_cannot_be_read_is_not_passed_over(read_only_folder: ReadOnlyFolder) -> None:
    folder = read_only_folder.path
    store = Store(folder / "study.sqlite")
    store.put_accuracy(ROW)
    kept = {path.name: path.read_bytes() for path in folder.iterdir()}
    store.close()
    for name in ("study.sqlite", "study.sqlite-wal"):  # a killed driver's study, copied without its -shm
        (folder / name).write_bytes(kept[name])
    with read_only_folder.locked(), pytest.raises(StoreError) as caught, stored(folder / "study.sqlite"):
        pass
    assert str(caught.value) == (
        f"{folder}/study.sqlite was not closed properly, and its journal cannot be read in a folder that is "
        "read-only or full: copy the study to a folder that can be written"
    )
