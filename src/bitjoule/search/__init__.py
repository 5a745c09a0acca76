"""Which scheme? Spaces, Pareto fronts, comparisons, and studies that can be killed and go on.

Names are loaded on first use: importing this room costs nothing, and none of it loads torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bitjoule.search.dry_run import DryRun
    from bitjoule.search.jobs import Interrupted, TooManyFailuresError
    from bitjoule.search.progress import ProgressEvent
    from bitjoule.search.space import Candidate, Space, grid_space, topology_space
    from bitjoule.search.store import DiskFullError, StoreError
    from bitjoule.search.study import Join, Study
    from bitjoule.search.study_directory import StudyError
    from bitjoule.search.study_file import StudyFile, read_study_file
    from bitjoule.search.study_yaml import StudyFileError
    from bitjoule.search.trial import EvaluatorSpec, Trial

__all__ = [
    "Candidate",
    "DiskFullError",
    "DryRun",
    "EvaluatorSpec",
    "Interrupted",
    "Join",
    "ProgressEvent",
    "Space",
    "StoreError",
    "Study",
    "StudyError",
    "StudyFile",
    "StudyFileError",
    "TooManyFailuresError",
    "Trial",
    "grid_space",
    "read_study_file",
    "topology_space",
]

_HOMES = {
    "jobs": ("Interrupted", "TooManyFailuresError"),
    "progress": ("ProgressEvent",),
    "space": ("Candidate", "Space", "grid_space", "topology_space"),
    "store": ("DiskFullError", "StoreError"),
    "dry_run": ("DryRun",),
    "study": ("Join", "Study"),
    "study_directory": ("StudyError",),
    "study_file": ("StudyFile", "read_study_file"),
    "study_yaml": ("StudyFileError",),
    "trial": ("EvaluatorSpec", "Trial"),
}


def __getattr__(name: str) -> object:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
