"""The file of the mapper's memory: texts by content key in SQLite, shared by processes, lost without harm.

`$BITJOULE_CACHE/mappings.sqlite`, else `$XDG_CACHE_HOME/bitjoule/`, else `~/.cache/bitjoule/`. Whatever is
wrong with it - a full disk, a folder that nobody may write, a damaged file - warns once and is then left
alone: a cache may cost time, never a result. Each text stands beside its SHA-256, so that half a page or a
flipped bit reads as nothing.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import threading
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["CACHE_VARIABLE", "CacheWarning", "MemoFile", "MemoInfo", "cache_folder", "memo_path"]

CACHE_VARIABLE = "BITJOULE_CACHE"
FILE_NAME = "mappings.sqlite"
BUSY_S = 10.0
AGAIN_S = 0.02

SCHEMA = (
    "CREATE TABLE IF NOT EXISTS mapping(key TEXT PRIMARY KEY, document TEXT NOT NULL, digest TEXT NOT NULL)"
)


class CacheWarning(UserWarning):
    """The cache cannot be used; results are computed without it."""


@dataclass(frozen=True)
class MemoInfo:
    """What there is: `entries` None when the file cannot be read."""

    path: Path
    entries: int | None
    size_bytes: int


def cache_folder() -> Path:
    """Where caches of this user live; the folder may not exist yet."""
    own = os.environ.get(CACHE_VARIABLE)
    if own:
        return Path(own)
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home) / "bitjoule"


def memo_path() -> Path:
    """The file of this user."""
    return cache_folder() / FILE_NAME


class MemoFile:
    """Texts by key. Every method works, or warns once and does nothing from then on.

    A process that was forked opens the file anew; threads take turns.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection: sqlite3.Connection | None = None
        self._owner = 0
        self._usable = True
        self._turn = threading.RLock()

    def get(self, key: str) -> str | None:
        """The text of `key`; None when there is none, or when it is not what was written."""
        with self._turn:
            rows = self._run("SELECT document, digest FROM mapping WHERE key=?", key)
        if not rows:
            return None
        document, digest = rows[0]
        return document if isinstance(document, str) and digest == _digest(key, document) else None

    def put(self, key: str, document: str) -> None:
        """Keep a text. Where another process was faster its text stays, unless that one is damaged."""
        with self._turn:
            held = self._run("SELECT document, digest FROM mapping WHERE key=?", key)
            if held and held[0][1] == _digest(key, str(held[0][0])):
                return
            way = "REPLACE" if held else "IGNORE"
            self._run(f"INSERT OR {way} INTO mapping VALUES(?,?,?)", key, document, _digest(key, document))

    def forget(self, key: str) -> None:
        """Remove an entry that does not hold what it says."""
        with self._turn:
            self._run("DELETE FROM mapping WHERE key=?", key)

    def info(self) -> MemoInfo:
        """Path, number of entries, size on disk with its journal."""
        entries: int | None = 0
        if self.path.exists():
            with self._turn:
                rows = self._run("SELECT count(*) FROM mapping")
            entries = int(rows[0][0]) if rows else None
        parts = [path for path in self._parts() if path.exists()]
        return MemoInfo(self.path, entries, sum(path.stat().st_size for path in parts))

    def clear(self) -> None:
        """Remove every entry; other processes may go on. A file that SQLite cannot read is removed itself.

        Raises:
            OSError: the folder cannot be written.
        """
        with self._turn:
            self.close()
            if not self.path.exists():
                return
            try:
                connection = self._opened()
                connection.execute("DELETE FROM mapping")
                connection.execute("VACUUM")
            except sqlite3.DatabaseError:
                self.close()
                for part in self._parts():
                    part.unlink(missing_ok=True)
            self._usable = True

    def close(self) -> None:
        """Let go of the file; it is opened again when needed."""
        with self._turn:
            if self._connection is not None and self._owner == os.getpid():
                self._connection.close()
            self._connection = None

    def _parts(self) -> tuple[Path, ...]:
        return (self.path, *(self.path.with_name(self.path.name + end) for end in ("-wal", "-shm")))

    def _run(self, statement: str, *values: str) -> list[tuple[Any, ...]]:
        if not self._usable:
            return []
        try:
            return self._opened().execute(statement, values).fetchall()
        except (sqlite3.Error, OSError) as error:
            self._usable = False
            self.close()
            warnings.warn(
                f"mappings are not cached in {self.path} ({error}); results are the same, only slower. To "
                f"mend it run `bitjoule cache clear`, or set {CACHE_VARIABLE} to a folder that can be "
                "written",
                CacheWarning,
                stacklevel=4,
            )
            return []

    def _opened(self) -> sqlite3.Connection:
        if self._connection is not None and self._owner == os.getpid():
            return self._connection
        self.path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self.path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        try:
            _to_wal(connection)
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.execute(SCHEMA)
        except sqlite3.Error:
            connection.close()
            raise
        self._connection, self._owner = connection, os.getpid()
        return connection


def _to_wal(connection: sqlite3.Connection) -> None:
    """Readers and one writer at once. Processes that make the file together are told `locked` at once,
    without the busy timeout: they try again."""
    until = time.monotonic() + BUSY_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
            time.sleep(AGAIN_S)
        else:
            return


def _digest(key: str, document: str) -> str:
    return hashlib.sha256(f"{key}\n{document}".encode()).hexdigest()
