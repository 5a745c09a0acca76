"""Where the labels of an axis stand: 1, 2 and 5 of each decade of energy; round steps of accuracy."""

from __future__ import annotations

import math

__all__ = ["linear_ticks", "log_ticks"]

MANTISSAS = ((1.0,), (1.0, 2.0, 5.0), (1.0, 1.5, 2.0, 3.0, 5.0, 7.0))
ENOUGH = 4


def log_ticks(low: float, high: float) -> list[float]:
    """Round numbers in [low, high] for a logarithmic axis, at least four where the range allows.

    >>> log_ticks(0.9, 60.0)
    [1.0, 2.0, 5.0, 10.0, 20.0, 50.0]
    """
    if not 0 < low < high:
        raise ValueError(f"a logarithmic axis needs 0 < low < high, not {low:g} and {high:g}")
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for mantissas in MANTISSAS:
        found = [m * 10.0**d for d in decades for m in mantissas if low <= m * 10.0**d <= high]
        if len(found) >= ENOUGH:
            return found
    return linear_ticks(low, high, about=9)


def linear_ticks(low: float, high: float, about: int = 6) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten in [low, high].

    >>> linear_ticks(0.55, 0.93)
    [0.6, 0.7, 0.8, 0.9]
    """
    if not low < high:
        raise ValueError(f"an axis needs low < high, not {low:g} and {high:g}")
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1.0, 2.0, 5.0, 10.0) if m * power >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(k * step, 12) for k in range(first, last + 1)]
