"""The directory of a study: its frozen study file, and when an old one may be gone on with."""

from __future__ import annotations

import os
from pathlib import Path

from bitjoule.search.disk import room_needed
from bitjoule.search.lock import StudyLock
from bitjoule.search.store import stored
from bitjoule.search.study_file import StudyFile, parse_study_file
from bitjoule.search.study_yaml import YamlText, read_yaml

__all__ = [
    "FROZEN",
    "StudyError",
    "check_unchanged",
    "frozen_file",
    "move_aside",
    "write_atomically",
    "write_frozen",
]

FROZEN = "study.yaml"


class StudyError(ValueError):
    """A study that cannot be opened or run as asked; the text names the remedy."""


def frozen_file(folder: Path, store: str) -> tuple[StudyFile, YamlText] | None:
    """The study file that was run last in `folder`, or None."""
    if not (folder / FROZEN).exists():
        return None
    text = read_yaml(folder / FROZEN, name=str(folder / FROZEN))
    with stored(folder / store) as opened:
        directory = None if opened is None else opened.meta("directory")
    return parse_study_file(text, folder if directory is None else Path(directory)), text


def check_unchanged(folder: Path, before: StudyFile, now: StudyFile) -> None:
    """Refuse to go on with a study of another network or other data.

    Raises:
        StudyError: says what changed and the ways out.
    """
    changed = [
        name
        for name, old, new in (
            ("network", before.network.model_dump(), now.network.model_dump()),
            ("data", before.data.model_dump(exclude={"root"}), now.data.model_dump(exclude={"root"})),
        )
        if old != new
    ]
    if changed:
        raise StudyError(
            f"{folder} holds a study of another {' and '.join(changed)}: use --fresh to move it aside and "
            "begin anew, or give another directory"
        )


def move_aside(folder: Path, lock: str) -> None:
    """Rename the study in `folder`, if any, to the first free `<folder>.old-N`."""
    if not folder.exists():
        return
    held = StudyLock(folder / lock)  # refuses while somebody runs it
    try:
        number = 1
        while (aside := folder.with_name(f"{folder.name}.old-{number}")).exists():
            number += 1
        folder.rename(aside)
    finally:
        held.close()


def write_frozen(folder: Path, text: YamlText) -> None:
    """Keep the study file as it was given."""
    write_atomically(folder / FROZEN, text.text.encode())


def write_atomically(path: Path, content: bytes) -> None:
    """Temporary file, fsync, rename: readers see the old file or the new one; DiskFullError without room."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with room_needed(path):
        try:
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
