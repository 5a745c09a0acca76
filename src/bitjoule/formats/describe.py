"""A Format as plain data, for listings and files."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from bitjoule.formats.format import Format

__all__ = ["describe"]

_LISTED_BITS = 16


def describe(format: Format) -> dict[str, Any]:
    """Name, widths, range, counts of levels and unused codes, and hardware traits; JSON-able.

    ``unused_codes`` counts the codes that stand for nothing. The codes of a float format that are no finite
    level of their own stand in ``special_codes``. Both are None where a format has no levels to count.

    >>> from bitjoule.formats import parse_format
    >>> describe(parse_format("INT4_NARROW"))["unused_codes"]
    1
    """
    count = _level_count(format)
    unused = None if count is None else (1 << format.bits) - count
    special: dict[str, int] | None = None
    if format.kind == "float" and unused is not None:
        special, unused = _special_codes(format), 0
    return {
        "name": format.name,
        "bits": format.bits,
        "levels": count,
        "min": format.min_level,
        "max": format.max_level,
        "smallest_positive": format.smallest_positive,
        "signed": format.signed,
        "has_zero": format.has_zero,
        "kind": format.kind,
        "fixed_scale": format.fixed_scale,
        "unused_codes": unused,
        "special_codes": special,
        "traits": asdict(format.traits()),
    }


def _level_count(f: Format) -> int | None:
    if f.kind in ("block", "vector"):
        return None
    if f.kind == "float":
        return 2 * int(f.to_code(np.asarray(f.max_level))) + 1
    if f.kind == "integer" and f.bits > _LISTED_BITS:
        return int(f.max_level) - int(f.min_level) + 1
    return len(f.levels())


def _special_codes(f: Format) -> dict[str, int]:
    """How many codes are NaN, infinite, and a second zero; positive and negative codes mirror each other."""
    half = 1 << (f.bits - 1)
    beyond = half - 1 - int(f.to_code(np.asarray(f.max_level)))
    first = f.to_level(half - beyond) if beyond else np.nan
    infinite = 2 * int(np.isinf(first))
    return {"nan": 2 * beyond - infinite, "infinite": infinite, "negative_zero": 1}
