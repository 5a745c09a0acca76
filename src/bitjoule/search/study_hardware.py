"""The hardware of a study by content: each once, so that a result belongs to one name."""

from __future__ import annotations

from collections.abc import Callable

from bitjoule.search.study_file import StudyFile
from bitjoule.search.study_yaml import StudyFileError, YamlText

__all__ = ["hardware_labels"]


def hardware_labels(file: StudyFile, text: YamlText, hash_of: Callable[[str], str]) -> dict[str, str]:
    """Name of each hardware by its content hash, in the order of the study file.

    Args:
        file, text: the study file and the lines of its document.
        hash_of: content hash of a preset's name or of a file's path.

    Raises:
        StudyFileError: two entries describe the same hardware: their trials could not be told apart.
    """
    labels: dict[str, str] = {}
    faults: list[str] = []
    for index, (source, name) in enumerate(zip(file.hardware_sources(), file.hardware_names(), strict=True)):
        entry = file.hardware[index]
        said = entry if isinstance(entry, str) else entry.file
        first = labels.setdefault(hash_of(source), name)
        if first != name:
            faults.append(
                text.fault(("hardware", index), f"{said} is the same hardware as {first}: keep one")
            )
    if faults:
        raise StudyFileError(faults)
    return labels
