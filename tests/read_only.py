"""A folder that the process may read and not write to; for root too, by leaving root's rights for a while."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

__all__ = ["ReadOnlyFolder", "read_only_folder"]

NOBODY = 65534


class ReadOnlyFolder:
    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Inside, nothing below the folder can be written."""
        folders = [self.path, *(path for path in self.path.rglob("*") if path.is_dir())]
        for folder in folders:
            folder.chmod(0o555)
        user = os.geteuid()
        if user == 0:
            os.seteuid(NOBODY)
        try:
            yield
        finally:
            if user == 0:
                os.seteuid(user)
            for folder in folders:
                folder.chmod(0o755)


@pytest.fixture
def read_only_folder() -> Iterator[ReadOnlyFolder]:
    """Not `tmp_path`: its parents are closed to everyone else."""
    path = Path(tempfile.mkdtemp(prefix="bitjoule-read-only-")).resolve()
    path.chmod(0o755)
    yield ReadOnlyFolder(path)
    shutil.rmtree(path)
