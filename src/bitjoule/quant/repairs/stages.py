"""Two-stage training of a binary network (Martinez et al. 2020; ReActNet), as data."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["TWO_STAGE", "Stage"]


@dataclass(frozen=True)
class Stage:
    """One training after another, each from the weights of the one before.

    `binary_weights`: whether weights have one bit already; activations have it in every stage.
    """

    name: str
    binary_weights: bool
    weight_decay: float


TWO_STAGE = (Stage("binary activations", False, 1e-5), Stage("both binary", True, 0.0))
"""1: real weights, weight decay 1e-5; 2: both binary, from stage 1, without decay."""
