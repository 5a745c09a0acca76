"""How a study's SQLite file is opened, to write or only to read, and what its errors mean to people."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from bitjoule.search.disk import DiskFullError, StoreError

__all__ = ["damaged", "open_to_read", "open_to_write", "told"]

BUSY_S = 30.0

NOT_READ = ("SQLITE_IOERR_READ", "SQLITE_IOERR_SHORT_READ", "SQLITE_IOERR_CORRUPTFS")
NOT_OPENED = ("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH")


def open_to_write(path: Path) -> sqlite3.Connection:
    """The file, made when it is missing. Errors are those of SQLite: use it inside `told`."""
    return _connected(str(path), uri=False)


def open_to_read(path: Path) -> sqlite3.Connection:
    """The file for reading, also in a folder or on a disk that nobody may write to.

    Where the folder can be written the journal's own files come and go as SQLite needs them. Where it cannot,
    or the disk is full, the file is read as it lies; a journal beside it would be left unread then, so that
    is refused.

    Raises:
        StoreError: there is a journal that a read-only folder keeps from being read.
    """
    name = quote(str(path.absolute()))
    journal = path.with_name(path.name + "-wal")
    for way in ("mode=rw", "mode=ro", "immutable=1"):
        if way == "immutable=1" and journal.exists() and journal.stat().st_size:
            break
        connection = _connected(f"file:{name}?{way}", uri=True)
        try:
            connection.execute("PRAGMA query_only=ON")
            connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
        except sqlite3.DatabaseError as error:
            connection.close()
            name_of_error = _name_of(error)
            if not (name_of_error.startswith(NOT_OPENED) or _without_room(name_of_error)):
                raise
        else:
            return connection
    if journal.exists():
        raise StoreError(
            f"{path} was not closed properly, and its journal cannot be read in a folder that is read-only "
            "or full: copy the study to a folder that can be written"
        )
    raise StoreError(f"{path} cannot be opened: check that you may read it")


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Turn errors of SQLite into errors that say what to do."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        name = _name_of(error)
        if _without_room(name):
            raise DiskFullError(
                f"{path} could not be written ({error}): the disk is full or failing; what was "
                "stored before is intact; make room and run the same command to go on"
            ) from error
        if name == "SQLITE_NOTADB":
            raise StoreError(
                f"{path} is not the store of a bitjoule study: move it away, or give another folder"
            ) from error
        if name.startswith(("SQLITE_CORRUPT", *NOT_READ)) or name == "SQLITE_ERROR":
            raise damaged(path, error) from error
        if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            raise StoreError(
                f"{path} is locked by another program ({error}): close that program and run again"
            ) from error
        if name.startswith(NOT_OPENED):
            raise StoreError(
                f"{path} cannot be written ({error}): make its folder writable, or copy the study to one "
                "that is"
            ) from error
        raise StoreError(f"{path}: {error}") from error


def damaged(path: Path, error: object) -> StoreError:
    """What a file that SQLite, or we, cannot make sense of means."""
    return StoreError(
        f"{path} is damaged ({error}): put a copy of it back, or move it away and run the study again; "
        "trainings that are finished in checkpoints/ are not repeated"
    )


def _connected(name: str, *, uri: bool) -> sqlite3.Connection:
    connection = sqlite3.connect(name, isolation_level=None, timeout=BUSY_S, uri=uri)
    connection.execute(f"PRAGMA busy_timeout={round(1000 * BUSY_S)}")
    connection.execute("PRAGMA foreign_keys=ON")
    return connection


def _without_room(name: str) -> bool:
    return name == "SQLITE_FULL" or (name.startswith("SQLITE_IOERR") and name not in NOT_READ)


def _name_of(error: sqlite3.Error) -> str:
    return str(getattr(error, "sqlite_errorname", ""))
