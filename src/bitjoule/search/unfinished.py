"""Why there is nothing to show on a hardware: what became of the trials instead of finishing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from bitjoule.search.study_directory import StudyError
from bitjoule.search.trial import Trial

__all__ = ["NothingFinishedError", "unfinished_text"]


class NothingFinishedError(StudyError):
    """A question about results of which there are none; the text counts what failed and what does not fit."""


def unfinished_text(trials: Sequence[Trial], hardware: str, family: str | None = None) -> str | None:
    """What became of the trials on `hardware` (of one family), or None where at least one is finished.

    >>> unfinished_text([], "moons-4mb")
    'no finished trial on moons-4mb: none was evaluated yet; run the study'
    """
    asked = [t for t in trials if t.hardware == hardware and family in (None, t.family)]
    if any(trial.status == "done" for trial in asked):
        return None
    kinds = Counter(t.failure.kind for t in asked if t.status == "failed" and t.failure is not None)
    refused = sum(trial.status == "infeasible" for trial in asked)
    parts = []
    if kinds:
        listed = ", ".join(f"{kind} {kinds[kind]}" for kind in sorted(kinds))
        parts.append(f"{kinds.total()} failed ({listed})")
    if refused:
        parts.append(f"{refused} {'does' if refused == 1 else 'do'} not fit")
    told = ", ".join(parts) + "; see the report" if parts else "none was evaluated yet; run the study"
    of = "" if family is None else f" of {family}"
    return f"no finished trial{of} on {hardware}: {told}"
