"""Numbers as people read them: uJ and mJ, percent, KiB, three significant digits.

Exact ties are rounded up, as browsers do: page/units.js says the same in the browser, and a test holds the
two together.
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Context, Decimal

__all__ = [
    "accuracy_text",
    "count_text",
    "energy_text",
    "number_text",
    "percent_text",
    "size_text",
    "time_text",
]

ENERGY_UNITS = ((1e3, 1.0, "pJ"), (1e9, 1e6, "uJ"), (1e12, 1e9, "mJ"), (float("inf"), 1e12, "J"))
"""(below this many pJ, pJ of one unit, unit)"""

UNKNOWN = "-"
THREE_DIGITS = Context(prec=3, rounding=ROUND_HALF_UP)


def energy_text(energy_pj: float | None) -> str:
    """Picojoules in the unit people use, three significant digits.

    >>> energy_text(123.0), energy_text(1.25e6), energy_text(3.4e9), energy_text(None)
    ('123 pJ', '1.25 uJ', '3.4 mJ', '-')
    """
    if energy_pj is None:
        return UNKNOWN
    rounded = _rounded(energy_pj)
    for below, scale, unit in ENERGY_UNITS:
        if abs(rounded) < below:
            return f"{_three(rounded / scale)} {unit}"
    return f"{rounded} pJ"


def percent_text(fraction: float | None, digits: int = 1) -> str:
    """A fraction in percent.

    >>> percent_text(0.912), percent_text(0.36364, 0)
    ('91.2 %', '36 %')
    """
    return UNKNOWN if fraction is None else f"{_fixed(100 * fraction, digits)} %"


def accuracy_text(mean: float | None, sd: float | None = None) -> str:
    """An accuracy, with its standard deviation over seeds where there are several.

    >>> accuracy_text(0.925, 0.004), accuracy_text(0.93)
    ('92.5 ± 0.4 %', '93.0 %')
    """
    if mean is None:
        return UNKNOWN
    return percent_text(mean) if sd is None else f"{_fixed(100 * mean, 1)} ± {_fixed(100 * sd, 1)} %"


def size_text(bits: float | None) -> str:
    """Storage bits as bytes, KiB or MiB.

    >>> size_text(32_000), size_text(80), size_text(32 * 2**20)
    ('3.91 KiB', '10 B', '4 MiB')
    """
    if bits is None:
        return UNKNOWN
    size = bits / 8
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{_three(size)} {unit}"
        size /= 1024
    return f"{_three(size)} GiB"


def count_text(number: float | None) -> str:
    """A count with k, M, G or T.

    >>> count_text(950), count_text(1_500_000), count_text(999_999)
    ('950', '1.5 M', '1 M')
    """
    if number is None:
        return UNKNOWN
    scaled = _rounded(number)
    for unit in ("", " k", " M", " G"):
        if abs(scaled) < 1000:
            return f"{_three(scaled)}{unit}"
        scaled /= 1000
    return f"{_three(scaled)} T"


def number_text(value: float | None, digits: int = 2) -> str:
    """A plain number with fixed digits.

    >>> number_text(1.8349), number_text(None)
    ('1.83', '-')
    """
    return UNKNOWN if value is None else f"{value:.{digits}f}"


def time_text(seconds: float) -> str:
    """A duration for people: two units at most.

    >>> time_text(7), time_text(192), time_text(6630)
    ('7 s', '3 min 12 s', '1 h 50 min')
    """
    whole = round(max(0.0, seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _rounded(value: float) -> float:
    return float(THREE_DIGITS.create_decimal_from_float(float(value)))


def _fixed(value: float, digits: int) -> str:
    return str(Decimal(value).quantize(Decimal(1).scaleb(-digits), rounding=ROUND_HALF_UP))


def _three(value: float) -> str:
    """Three significant digits, never in scientific notation for what a unit leaves (1e-3 to 999)."""
    text = f"{_rounded(value):g}"
    return text if "e" not in text else f"{value:.0f}" if abs(value) >= 1 else text
