"""Rounding a real number to an integer, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["ROUNDINGS", "only_nearest", "round_to_integer"]

ROUNDINGS = ("half_even", "half_away", "half_up", "toward_zero", "floor", "ceil", "stochastic")


def round_to_integer(
    where: str, v: NDArray[Any], rounding: str | None, rng: np.random.Generator | None = None
) -> NDArray[Any]:
    """``v`` rounded to whole numbers, same dtype, a new array; infinities stay.

    half_even (the default, ``None``)
        nearest, a tie goes to the even integer (IEEE 754 roundTiesToEven).
    half_away, half_up
        nearest, a tie goes away from zero, or towards +inf. Computed by comparing the remainder with 0.5,
        never as floor(v + 0.5), which sends 0.49999999999999994 to 1.
    toward_zero, floor, ceil
        directed.
    stochastic
        floor plus a Bernoulli draw of the remainder from ``rng``; unbiased.

    >>> round_to_integer("demo", np.array([-0.5, 2.5]), "half_away")
    array([-1.,  3.])
    """
    with np.errstate(invalid="ignore"):
        match rounding:
            case None | "half_even":
                r = np.rint(v)
            case "half_away":
                whole = np.trunc(v)
                r = whole + np.copysign((np.abs(v - whole) >= 0.5).astype(v.dtype), v)
            case "half_up":
                low = np.floor(v)
                r = low + (v - low >= 0.5)
            case "toward_zero":
                r = np.trunc(v)
            case "floor":
                r = np.floor(v)
            case "ceil":
                r = np.ceil(v)
            case "stochastic":
                if not isinstance(rng, np.random.Generator):
                    raise ValueError(
                        f"{where}: stochastic rounding needs rng, a numpy.random.Generator "
                        "(numpy.random.default_rng(seed))"
                    )
                low = np.floor(v)
                r = low + (rng.random(v.shape) < v - low)
            case _:
                raise ValueError(f"{where}: rounding must be one of {', '.join(ROUNDINGS)}, not {rounding!r}")
    return np.asarray(r, v.dtype)


def only_nearest(where: str, rounding: str | None) -> None:
    """ValueError unless ``rounding`` is ``nearest`` (or None), all that a level-set family offers."""
    if rounding not in (None, "nearest"):
        raise ValueError(f"{where}: rounding must be nearest, not {rounding!r}")
