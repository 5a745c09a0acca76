"""From measured sensitivities to the losses of genes, and from predictions to how far they hold.

A sensitivity is the loss of the network when one tensor alone has one Format (search.md section 3.4): noisy,
so of more bits the lesser loss is taken by pooling adjacent violators, and what is below 0 becomes 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bitjoule.search.programme import Answer, ProgrammeError
from bitjoule.search.proxies import kendall

__all__ = ["LEAST_TAU", "Agreement", "agreement", "losses", "pool_adjacent_violators"]

LEAST_TAU = 0.6
"""Under this Kendall tau the report warns."""


def pool_adjacent_violators(values: Sequence[float]) -> tuple[float, ...]:
    """The non-increasing sequence nearest to `values` in least squares; blocks of violators get their mean.

    >>> pool_adjacent_violators([3.0, 1.0, 2.0, 0.5])
    (3.0, 1.5, 1.5, 0.5)
    """
    blocks: list[tuple[float, int]] = []  # sum, count
    for value in values:
        blocks.append((float(value), 1))
        while len(blocks) > 1 and blocks[-2][0] * blocks[-1][1] < blocks[-1][0] * blocks[-2][1]:
            (total, count), (other, more) = blocks[-2], blocks[-1]
            blocks[-2:] = [(total + other, count + more)]
    return tuple(total / count for total, count in blocks for _ in range(count))


def losses(measured: Mapping[str, float], choices: Sequence[str], *, of: str = "") -> tuple[float, ...]:
    """Losses of `choices` of one gene, in their order.

    Choices that are numbers of bits are pooled by rising bits; names of Formats stand for themselves. All are
    clamped at 0. `of`: the tensor, for the error.

    Raises:
        ProgrammeError: a choice was not measured, or its loss is not finite.

    >>> losses({"2": 0.5, "4": -0.25, "8": 0.75, "POT4": 0.2}, ("8", "4", "2", "POT4"))
    (0.25, 0.25, 0.5, 0.2)
    """
    for choice in choices:
        if not math.isfinite(measured.get(choice, math.nan)):
            raise ProgrammeError(
                f"sensitivity of {of or 'a tensor'!r} at {choice!r} must be a finite number, "
                f"not {measured.get(choice)}; measured: {', '.join(measured) or 'nothing'}"
            )
    rising = sorted((choice for choice in choices if choice.isdigit()), key=int)
    pooled = pool_adjacent_violators([measured[choice] for choice in rising])
    found = {choice: measured[choice] for choice in choices} | dict(zip(rising, pooled, strict=True))
    return tuple(max(0.0, found[choice]) for choice in choices)


@dataclass(frozen=True)
class Agreement:
    """How predicted losses order the real ones. `tau`: Kendall's tau-b, NaN with fewer than two values."""

    tau: float
    points: int

    @property
    def warning(self) -> str:
        """What a report says, or ""."""
        if math.isnan(self.tau):
            return "predicted and real losses cannot be compared: fewer than two different values"
        if self.tau < LEAST_TAU:
            return f"additive sensitivities do not describe this network (Kendall tau {self.tau:.2f})"
        return ""


def agreement(predicted: Sequence[Answer | float], real: Sequence[float]) -> Agreement:
    """Kendall's tau-b between predicted losses (of answers, or numbers) and measured ones, pair by pair.

    >>> agreement([0.1, 0.2, 0.3], [1.0, 3.0, 2.0]).points
    3
    """
    if len(predicted) != len(real):
        raise ProgrammeError(f"{len(predicted)} predictions need as many real losses, not {len(real)}")
    values = [found.loss if isinstance(found, Answer) else float(found) for found in predicted]
    return Agreement(kendall(values, real), len(values))
