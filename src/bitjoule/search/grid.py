"""Methods `grid` and `poq`: every candidate of the space, in genome order.

POQ is a grid whose families are then compared pair by pair (de Putter et al. 2025); the comparison needs the
same trials, so the search is one function.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bitjoule.search.space import Space
from bitjoule.search.trial import Request, Result

__all__ = ["DEFAULT_MAX_TRIALS", "Evaluate", "check_size", "grid"]

DEFAULT_MAX_TRIALS = 10_000

Evaluate = Callable[[Sequence[Request]], Sequence[Result]]
"""Keeps order, remembers what it has evaluated, and blocks."""


def grid(
    space: Space, evaluate: Evaluate, *, seeds: Sequence[int] = (0,), max_trials: int = DEFAULT_MAX_TRIALS
) -> None:
    """Ask for every candidate with every seed, once.

    Raises:
        ValueError: the space has more than `max_trials` candidates.
    """
    check_size(space, max_trials)
    evaluate([Request(candidate, seed) for candidate in space for seed in seeds])


def check_size(space: Space, max_trials: int) -> None:
    """Refuse a space too large to be tried out; the text names what would mend it."""
    if space.size > max_trials:
        raise ValueError(
            f"space has {space.size:,} candidates, max_trials is {max_trials:,}: narrow genes or raise "
            "limits.max_trials"
        )
