"""Two-stage training of a binary network (Martinez et al. 2020; ReActNet), as data."""

from __future__ import annotations

from dataclasses import dataclass, replace

from bitjoule.scheme import Precision, Scheme

__all__ = ["TWO_STAGE", "Stage", "stage_scheme"]


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


def stage_scheme(scheme: Scheme, stage: Stage) -> Scheme:
    """The Formats of a stage: with real weights one-bit weights are FLOAT32. Its graph is that of `scheme`.

    >>> from bitjoule.scheme import parse_scheme
    >>> stage_scheme(parse_scheme("w1a1+rprelu"), TWO_STAGE[0]).precision.weight
    'FLOAT32'
    """
    if stage.binary_weights:
        return scheme
    real = (
        Precision("FLOAT32", scheme.precision.activation)
        if scheme.precision.weight_bits == 1
        else scheme.precision
    )
    overrides = tuple(
        replace(entry, precision=Precision("FLOAT32", entry.precision.activation))
        if entry.precision.weight_bits == 1
        else entry
        for entry in scheme.overrides
    )
    return replace(scheme, precision=real, overrides=overrides, repairs=())
