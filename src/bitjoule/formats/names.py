"""Names of formats: families register here, ``parse_format`` turns a name into a Format.

A new format is one file: a frozen dataclass that keeps the ``Format`` contract and one ``register`` call.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bitjoule.formats.format import Format

__all__ = ["FormatFamily", "format_families", "parse_format", "register", "registered_formats"]


@dataclass(frozen=True)
class FormatFamily:
    """One family of names.

    name
        what error texts call it, ``INT``.
    pattern
        regular expression for every upper-case text that means this family, wrong numbers included, so that
        the family itself explains what it takes.
    build
        from the match to the Format; raises ValueError with the reason where the numbers are wrong.
    examples
        canonical names, the members that listings and the conformance suite go through.
    summary
        one line for people.
    self_scaling
        whether its formats choose their scales themselves (blocks); a Scheme, which attaches scales, does not
        name them.
    """

    name: str
    pattern: str
    build: Callable[[re.Match[str]], Format]
    examples: tuple[str, ...]
    summary: str
    self_scaling: bool = False


_FAMILIES: dict[str, FormatFamily] = {}


def register(family: FormatFamily) -> None:
    """Make a family known to ``parse_format``. ValueError for a name that is taken."""
    if family.name in _FAMILIES:
        raise ValueError(f"format family {family.name} is registered already; choose another name")
    if not family.examples:
        raise ValueError(f"format family {family.name} needs at least one example name")
    _FAMILIES[family.name] = family


def format_families() -> tuple[FormatFamily, ...]:
    """All families, in the order of their registration."""
    return tuple(_FAMILIES.values())


def registered_formats(*, self_scaling: bool = False) -> tuple[str, ...]:
    """Canonical example names of every family, of those that scale themselves only if asked for.

    >>> "INT8" in registered_formats()
    True
    """
    families = [family for family in _FAMILIES.values() if self_scaling or not family.self_scaling]
    return tuple(name for family in families for name in family.examples)


def parse_format(text: str) -> Format:
    """The Format of a name, in any case; ``str()`` of the result is the canonical name.

    Raises ValueError with the reason: what the family takes, or which families there are.

    >>> str(parse_format("int8_narrow"))
    'INT8_NARROW'
    """
    if not isinstance(text, str):
        raise TypeError(f"parse_format takes a name such as 'INT8', not {type(text).__name__}")
    upper = text.upper()
    for family in _FAMILIES.values():
        match = re.fullmatch(family.pattern, upper)
        if match:
            try:
                return family.build(match)
            except ValueError as error:
                raise ValueError(f"unknown format {text!r}: {error}") from None
    near = nearest_name(upper, registered_formats(self_scaling=True))
    hint = f"; did you mean {near}?" if near else ""
    raise ValueError(f"unknown format {text!r}: the families are {', '.join(_FAMILIES)}{hint}")


def nearest_name(text: str, names: tuple[str, ...], distance: int = 2) -> str | None:
    """The name of smallest edit distance to ``text``, at most ``distance``; the first of equals.

    >>> nearest_name("INTT4", ("INT4", "INT8"))
    'INT4'
    """
    near = [(_edits(text, name), i) for i, name in enumerate(names) if abs(len(name) - len(text)) <= distance]
    best = min(near, default=(distance + 1, 0))
    return names[best[1]] if best[0] <= distance else None


def _edits(a: str, b: str) -> int:
    """Levenshtein distance."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        previous, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (x != y))
    return row[-1]
