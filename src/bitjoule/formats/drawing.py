"""The levels of a Format as text: where they lie on a line, and how each is stored and added up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bitjoule.formats.apot import AdditivePowers
from bitjoule.formats.signed_digits import csd_terms

if TYPE_CHECKING:
    from bitjoule.formats.format import Format

__all__ = ["LevelRow", "level_rows", "number_line"]

_LISTED_BITS = 8


@dataclass(frozen=True)
class LevelRow:
    """One level: its code, the part of the largest level that it is, its signed powers of two."""

    code: str
    level: int | float
    relative: float
    terms: str


def level_rows(format: Format) -> tuple[LevelRow, ...]:
    """A row for every level, ascending; empty beyond 8 bits and for vectors.

    Sets of at most 256 levels are listed whatever their bits. Terms are canonical signed digits; of
    APOT, the entries of its tables.

    >>> from bitjoule.formats import parse_format
    >>> [(row.code, row.level, row.terms) for row in level_rows(parse_format("UAPOT3"))][3]
    ('111', 3, '1 + 2')
    """
    if not _listed(format):
        return ()
    levels = format.levels()
    codes = format.to_code(levels).tolist()
    top = float(format.max_level) or float(-format.min_level)
    return tuple(
        LevelRow(f"{code:0{format.bits}b}", level, level / top, _terms(format, level))
        for code, level in zip(codes, levels.tolist(), strict=True)
    )


def number_line(format: Format, width: int = 73) -> tuple[str, str]:
    """The levels on a linear axis and the labels below it, two lines of ``width`` characters.

    A cell of one level is ``|``, of 2 to 9 levels their number, of more ``#``. Empty lines where
    ``level_rows`` is empty.

    >>> from bitjoule.formats import parse_format
    >>> print("\\n".join(number_line(parse_format("POT3"), 17)))
    |---|-|-|-|-|---|
    -4      0       4
    """
    if width < 9:
        raise ValueError(f"number_line: width must be at least 9 characters, not {width}")
    if not _listed(format):
        return "", ""
    levels = format.levels().astype(np.float64)
    low, high = float(levels[0]), float(levels[-1])
    place = np.floor((levels - low) / (high - low) * (width - 1) + 0.5).astype(int)
    count = np.bincount(place, minlength=width)
    cells = "".join("-" if n == 0 else "|" if n == 1 else str(n) if n < 10 else "#" for n in count.tolist())
    left, right = f"{low:g}", f"{high:g}"
    labels = [*left, *" " * (width - len(left) - len(right)), *right]
    zero = int(np.floor(-low / (high - low) * (width - 1) + 0.5)) if low < 0 < high else -1
    if len(left) < zero < width - len(right) - 1:
        labels[zero] = "0"
    return cells, "".join(labels)


def _listed(f: Format) -> bool:
    if f.kind == "block":
        return f.bits <= _LISTED_BITS
    if f.kind == "levels":
        return len(f.levels()) <= 1 << _LISTED_BITS
    return f.kind in ("integer", "float") and f.bits <= _LISTED_BITS


def _terms(f: Format, level: int | float) -> str:
    """The powers of two that add up to a level, such as ``+8 -1``; empty for floats."""
    if f.kind in ("float", "block"):
        return ""
    if isinstance(f, AdditivePowers) and level:
        rest, entries = int(f.to_code(abs(level))), []
        for table in f.tables:
            entries.append(table[rest % len(table)])
            rest //= len(table)
        added = " + ".join(str(entry) for entry in entries if entry)
        return added if level > 0 else f"-({added})" if " " in added else f"-{added}"
    return " ".join(
        f"{'+' if sign > 0 else '-'}{1 << shift}" for sign, shift in reversed(csd_terms(int(level)))
    )
