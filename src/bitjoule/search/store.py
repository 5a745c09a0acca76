"""The store of a study: one SQLite file that survives being killed at any moment.

Journal WAL and synchronous FULL: what a transaction has committed stays. There is no row for what is being
evaluated, so a killed driver leaves nothing behind. Accuracies and costs are kept by content key for good;
trials are what the method's replay makes of them and can be rebuilt.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from bitjoule import __version__
from bitjoule.search.disk import DiskFullError, StoreError
from bitjoule.search.key import canonical_json
from bitjoule.search.store_connection import damaged, open_to_read, open_to_write, told
from bitjoule.search.store_schema import APPLICATION_ID, SCHEMA, SCHEMA_VERSION, TRIAL_COLUMNS
from bitjoule.search.trial import CostRecord, Failure, Json

__all__ = [
    "AccuracyRow",
    "DiskFullError",
    "Store",
    "StoreError",
    "TrialRow",
    "stored",
    "utc_now",
]

DETAILS = ("cost", "formats", "mappings")
"""Long parts of a breakdown: one entry per layer."""

HEAD_BYTES = 1 << 12


@dataclass(frozen=True)
class AccuracyRow:
    """One stored accuracy: a result, or the failure of the last attempt."""

    key: str
    payload: Json
    accuracy: float | None
    loss: float | None
    metrics: Json
    failure: Failure | None
    attempts: int
    seed: int
    wall_s: float | None = None
    device: str | None = None
    host: str | None = None
    weights_sha256: str | None = None

    @property
    def done(self) -> bool:
        """True for a result, False for a failure."""
        return self.failure is None


@dataclass(frozen=True)
class TrialRow:
    """One row of the table `trial`, without version and time."""

    number: int
    candidate: Json
    family: str
    hardware_hash: str
    data_hash: str
    scheme: str
    width: float | None
    seed: int
    epochs: float | None
    generation: int | None
    rung: int | None
    accuracy_key: str | None
    cost_key: str
    status: str


class Store:
    """`study.sqlite`; a context of `transaction()` commits once at its end.

    Args:
        create: make the file when it is missing.
        read_only: nothing is written, so that a study on a read-only disk can be read.

    Raises:
        StoreError: not a bitjoule study, of a newer version, damaged, or locked.
        DiskFullError: the disk is full.
    """

    def __init__(self, path: Path, *, create: bool = True, read_only: bool = False) -> None:
        self.path = path
        if not path.exists() and (read_only or not create):
            raise StoreError(f"no study at {path.parent}: {path.name} is missing")
        self._inside = False
        with told(path):
            self.connection = open_to_read(path) if read_only else open_to_write(path)
        try:
            with told(path):
                if not read_only and self._is_new():
                    self._create()
                self._check_identity()
                if not read_only:
                    self.connection.execute("PRAGMA journal_mode=WAL")
                    self.connection.execute("PRAGMA synchronous=FULL")
        except BaseException:
            self.connection.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self.connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything inside is committed together, or not at all; may be nested."""
        if self._inside:
            yield
            return
        with told(self.path):
            self.connection.execute("BEGIN IMMEDIATE")
            self._inside = True
            try:
                yield
                self.connection.execute("COMMIT")
            except BaseException:
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")
                raise
            finally:
                self._inside = False

    def meta(self, name: str) -> str | None:
        """A value of the table `meta`, or None."""
        rows = self._rows("SELECT value FROM meta WHERE key=?", (name,))
        return cast(str, rows[0][0]) if rows else None

    def set_meta(self, name: str, value: str) -> None:
        """Write a value of the table `meta`."""
        with self.transaction():
            self.connection.execute("INSERT OR REPLACE INTO meta VALUES(?,?)", (name, value))

    def accuracy(self, key: str) -> AccuracyRow | None:
        """The stored accuracy of a content key, or None."""
        rows = self._accuracies("WHERE key=?", (key,))
        return rows[0] if rows else None

    def accuracies(self) -> list[AccuracyRow]:
        """Every stored accuracy, oldest first."""
        return self._accuracies("ORDER BY rowid", ())

    def put_accuracy(self, row: AccuracyRow) -> None:
        """Store a result, or a failure; a result replaces a failure, and nothing replaces a result."""
        with self.transaction():
            self.connection.execute(
                "INSERT INTO accuracy VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT(key) DO UPDATE SET "
                "status=excluded.status, accuracy=excluded.accuracy, loss=excluded.loss, "
                "metrics=excluded.metrics, failure=excluded.failure, attempts=excluded.attempts, "
                "wall_s=excluded.wall_s, device=excluded.device, host=excluded.host, "
                "weights_sha256=excluded.weights_sha256, code_version=excluded.code_version, "
                "created_utc=excluded.created_utc WHERE accuracy.status='failed'",
                (
                    row.key,
                    canonical_json(row.payload),
                    "done" if row.done else "failed",
                    row.accuracy,
                    row.loss,
                    json.dumps(row.metrics),
                    None if row.failure is None else json.dumps(row.failure.to_json()),
                    row.attempts,
                    row.seed,
                    row.wall_s,
                    row.device,
                    row.host,
                    row.weights_sha256,
                    __version__,
                    utc_now(),
                ),
            )

    def cost(self, key: str) -> CostRecord | None:
        """The stored cost of a content key, with its whole breakdown, or None."""
        return self._cost(key, _breakdown)

    def cost_summary(self, key: str) -> CostRecord | None:
        """The same without the per-layer parts of the breakdown: what most readers need."""
        return self._cost(key, _breakdown_head)

    def put_cost(self, key: str, payload: Json, record: CostRecord) -> None:
        """Store a cost; one that is stored already stays."""
        with self.transaction():
            self.connection.execute(
                "INSERT OR IGNORE INTO cost VALUES(?,?,?,?,?,?,?,?,?)",
                (
                    key,
                    canonical_json(payload),
                    "done" if record.feasible else "infeasible",
                    record.energy_pj,
                    record.latency_cycles,
                    record.dram_pj,
                    _packed(record.breakdown),
                    record.reason,
                    __version__,
                ),
            )

    def put_trials(self, rows: Iterable[TrialRow]) -> None:
        """Store trials by number; a row that is stored already, the same in every column, keeps its time."""
        with self.transaction():
            for row in rows:
                values = (*_trial_values(row), __version__, utc_now())
                marks = ",".join("?" * len(TRIAL_COLUMNS))
                same = " AND ".join(f"{name} IS excluded.{name}" for name in TRIAL_COLUMNS[1:-2])
                updates = ", ".join(f"{name}=excluded.{name}" for name in TRIAL_COLUMNS[1:])
                self.connection.execute(
                    f"INSERT INTO trial({','.join(TRIAL_COLUMNS)}) VALUES({marks}) "
                    f"ON CONFLICT(number) DO UPDATE SET {updates} WHERE NOT ({same})",
                    values,
                )

    def trials(self) -> list[TrialRow]:
        """Every stored trial by number."""
        rows = self._rows(f"SELECT {','.join(TRIAL_COLUMNS[:-2])} FROM trial ORDER BY number")
        with self._decoded():
            return [TrialRow(row[0], json.loads(row[1]), *row[2:]) for row in rows]

    def count_trials(self) -> dict[str, int]:
        """Number of trials by status."""
        return dict(self._rows("SELECT status, COUNT(*) FROM trial GROUP BY status"))

    def drop_trials(self, *, from_number: int = 0) -> None:
        """Forget trials, before a replay numbers them anew or after it has made fewer of them."""
        with self.transaction():
            self.connection.execute("DELETE FROM trial WHERE number >= ?", (from_number,))

    def event(self, kind: str, *, accuracy_key: str | None = None, detail: str = "") -> None:
        """Note something that happened: a start, a stop, a failed attempt."""
        with self.transaction():
            self.connection.execute(
                "INSERT INTO event(at_utc, kind, accuracy_key, detail) VALUES(?,?,?,?)",
                (utc_now(), kind, accuracy_key, detail),
            )

    def events(self) -> list[tuple[str, str | None, str]]:
        """(kind, accuracy key, detail) of every event, oldest first."""
        return self._rows("SELECT kind, accuracy_key, detail FROM event ORDER BY id")

    def _cost(self, key: str, unpack: Callable[[bytes], Json]) -> CostRecord | None:
        rows = self._rows(
            "SELECT energy_pj, latency_cycles, dram_pj, breakdown, reason FROM cost WHERE key=?", (key,)
        )
        if not rows:
            return None
        energy, latency, dram, breakdown, reason = rows[0]
        with self._decoded():
            return CostRecord(energy, latency, dram, unpack(breakdown), reason)

    def _accuracies(self, where: str, values: Sequence[object]) -> list[AccuracyRow]:
        rows = self._rows(
            "SELECT key, payload, accuracy, loss, metrics, failure, attempts, seed, wall_s, device, host, "
            f"weights_sha256 FROM accuracy {where}",
            values,
        )
        with self._decoded():
            return [
                AccuracyRow(
                    key,
                    json.loads(payload),
                    accuracy,
                    loss,
                    json.loads(metrics or "{}"),
                    None if failure is None else Failure.from_json(json.loads(failure)),
                    *rest,
                )
                for key, payload, accuracy, loss, metrics, failure, *rest in rows
            ]

    def _rows(self, query: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query; every read goes through here, so that a damaged file is told as one."""
        with told(self.path):
            return self.connection.execute(query, tuple(values)).fetchall()

    @contextmanager
    def _decoded(self) -> Iterator[None]:
        """Documents inside are read back from their columns."""
        try:
            yield
        except (ValueError, TypeError, KeyError, zlib.error) as error:
            raise damaged(self.path, error) from error

    def _is_new(self) -> bool:
        return not self.connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()

    def _create(self) -> None:
        """Schema, identity and version in one transaction: a killed start leaves an empty file."""
        self.connection.executescript(
            f"BEGIN IMMEDIATE; PRAGMA application_id={APPLICATION_ID}; PRAGMA user_version={SCHEMA_VERSION};"
            f"{SCHEMA} COMMIT;"
        )

    def _check_identity(self) -> None:
        if self.connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
            raise StoreError(
                f"{self.path} is not the store of a bitjoule study: move it away, or give another folder"
            )
        version = self.connection.execute("PRAGMA user_version").fetchone()[0]
        if version != SCHEMA_VERSION:
            raise StoreError(
                f"{self.path} has schema version {version}, this bitjoule reads {SCHEMA_VERSION}: "
                "use the bitjoule that wrote it"
            )


@contextmanager
def stored(path: Path) -> Iterator[Store | None]:
    """The store of a study for reading, or None where nothing was stored yet."""
    if not path.exists() or not path.stat().st_size:
        yield None
        return
    store = Store(path, create=False, read_only=True)
    try:
        yield store
    finally:
        store.close()


def utc_now() -> str:
    """The time now, in UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _packed(breakdown: Json) -> bytes:
    """Two lines of JSON, compressed: the short parts first, so that they are read without the rest."""
    head = {name: value for name, value in breakdown.items() if name not in DETAILS}
    detail = {name: value for name, value in breakdown.items() if name in DETAILS}
    lines = (json.dumps(part, separators=(",", ":")) for part in (head, detail))
    return zlib.compress("\n".join(lines).encode(), 6)


def _breakdown(packed: bytes) -> Json:
    head, detail = zlib.decompress(packed).split(b"\n")
    return {**json.loads(head), **json.loads(detail)}


def _breakdown_head(packed: bytes) -> Json:
    stream, text = zlib.decompressobj(), b""
    while b"\n" not in text:
        text += stream.decompress(stream.unconsumed_tail if text else packed, HEAD_BYTES)
    head: Json = json.loads(text[: text.index(b"\n")])
    return head


def _trial_values(row: TrialRow) -> tuple[object, ...]:
    values = dict(vars(row), candidate=canonical_json(row.candidate))
    return tuple(values[name] for name in TRIAL_COLUMNS[:-2])
