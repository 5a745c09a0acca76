"""Full disks are told from other failures, whoever raised them."""

import errno
import json
from pathlib import Path

import pytest

from bitjoule.search.disk import DiskFullError, is_disk_full, room_needed


def _raised(error: Exception, cause: Exception | None = None) -> Exception:
    try:
        raise error from cause
    except Exception as caught:
        return caught


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        OSError(errno.EFBIG, "File too large"),
        ValueError("Error while serializing: I/O error: No space left on device (os error 28)"),
        ValueError("Error while serializing: I/O error: File too large (os error 27)"),
        _raised(RuntimeError("checkpoint not written"), OSError(errno.ENOSPC, "full")),
        _raised(RuntimeError("twice"), _raised(ValueError("once"), ValueError("(os error 122)"))),
        DiskFullError("no room"),
    ],
)
def test_no_room(error: Exception) -> None:
    assert is_disk_full(error)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EACCES, "Permission denied"),
        ValueError("(os error 2)"),
        ValueError("(os error 280)"),
        MemoryError("no space left in memory"),
        json.JSONDecodeError("x", "y", 0),
    ],
)
def test_something_else(error: Exception) -> None:
    assert not is_disk_full(error)


def test_an_error_raised_while_handling_a_full_disk_is_one() -> None:
    with pytest.raises(KeyError) as caught:
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError:
            raise KeyError("cleanup failed")  # noqa: B904 - the context is the point
    assert is_disk_full(caught.value)


def test_room_needed_names_the_file_and_lets_others_pass(tmp_path: Path) -> None:
    with pytest.raises(DiskFullError) as caught, room_needed(tmp_path):
        raise OSError(errno.ENOSPC, "No space left on device", "a.study/front.csv")
    assert str(caught.value) == (
        "a.study/front.csv could not be written (No space left on device): the disk is full; what was stored "
        "before is intact; make room and run the same command to go on"
    )
    with pytest.raises(PermissionError), room_needed(tmp_path):
        raise PermissionError(errno.EACCES, "Permission denied")
