"""The reproductions that ship with bitjoule: YAML and their claims, data only.

A folder per study: `study.yaml` says what is trained and priced at each size, `claims.yaml` what is claimed
of it, by whom, and at which size it can be checked. `bitjoule study list | show | run` read them.
"""

from __future__ import annotations

from importlib import resources

__all__ = ["shipped", "text_of"]

_FOLDER = resources.files("bitjoule.studies")


def shipped() -> tuple[str, ...]:
    """Identifiers of the studies, in order.

    >>> "S3" in shipped()
    True
    """
    return tuple(sorted(entry.name for entry in _FOLDER.iterdir() if entry.joinpath("study.yaml").is_file()))


def text_of(study: str, file: str) -> str:
    """The text of `study.yaml` or `claims.yaml` of a study.

    Raises:
        ValueError: no such study; the shipped ones are listed.
    """
    if study not in shipped():
        raise ValueError(f"no study {study!r}; studies: {', '.join(shipped())}")
    return _FOLDER.joinpath(study, file).read_text(encoding="utf-8")
