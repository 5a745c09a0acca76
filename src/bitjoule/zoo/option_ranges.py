"""What the options of a network may be: one range for each option, the same for every network."""

import math
from collections.abc import Mapping

__all__ = ["COUNTS", "check_options"]

COUNTS = frozenset({"classes", "inputs", "in_channels", "image_size", "frames", "coefficients"})
"""Options that count something."""


def check_options(network: str, options: Mapping[str, object]) -> None:
    """Raise ValueError, naming `network`, for the first option out of range; others are not looked at.

    Counts are integers of at least 1, `width` is above 0 and finite, `dropout` at least 0 and below 1.

    >>> check_options("tfc", {"classes": 10, "width": 0.5, "dropout": 0.2})
    >>> check_options("tfc", {"dropout": 2})
    Traceback (most recent call last):
    ValueError: network 'tfc': option 'dropout' must be a number of at least 0 and below 1, not 2
    """
    for option, value in options.items():
        number = value if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
        if option in COUNTS:
            fits, expected = isinstance(value, int) and number >= 1, "an integer of at least 1"
        elif option == "width":
            fits, expected = 0 < number < math.inf, "a positive number such as 0.25 or 1.0"
        elif option == "dropout":
            fits, expected = 0 <= number < 1, "a number of at least 0 and below 1"
        else:
            continue
        if not fits:
            raise ValueError(f"network {network!r}: option {option!r} must be {expected}, not {value!r}")
