"""Full disks: how they are told from other failures, and what a study says about them.

A full disk says nothing about a candidate, so it stops the study and is stored nowhere. Writers in other
languages raise errors that are no OSError: safetensors says `I/O error: ... (os error 28)` in a text.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["DiskFullError", "StoreError", "is_disk_full", "room_needed"]

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""No space, over quota, over the file-size limit of the process or of the file system."""

SAID = re.compile(
    rf"\(os error (?:{'|'.join(map(str, FULL))})\)|\[Errno (?:{'|'.join(map(str, FULL))})\]|"
    rf"{re.escape(os.strerror(errno.ENOSPC))}|{re.escape(os.strerror(errno.EDQUOT))}"
)


class StoreError(Exception):
    """The store cannot be opened, locked, read or written; the text names the remedy."""


class DiskFullError(StoreError):
    """No room left for the study; everything committed before is intact."""


def is_disk_full(error: BaseException) -> bool:
    """True when `error`, or what it came from, is a write that found no room.

    >>> is_disk_full(RuntimeError("I/O error: No space left on device (os error 28)"))
    True
    >>> is_disk_full(PermissionError(13, "Permission denied"))
    False
    """
    left: list[BaseException | None] = [error]
    seen: set[int] = set()
    while left:
        found = left.pop()
        if found is None or id(found) in seen:
            continue
        seen.add(id(found))
        if isinstance(found, DiskFullError) or SAID.search(str(found)):
            return True
        if isinstance(found, OSError) and found.errno in FULL:
            return True
        left += [found.__cause__, found.__context__]
    return False


@contextmanager
def room_needed(path: Path) -> Iterator[None]:
    """Files are written inside: a full disk becomes a DiskFullError that names `path` and the remedy."""
    try:
        yield
    except OSError as error:
        if not is_disk_full(error):
            raise
        where = error.filename or path
        raise DiskFullError(
            f"{where} could not be written ({error.strerror or error}): the disk is full; what was stored "
            "before is intact; make room and run the same command to go on"
        ) from error
