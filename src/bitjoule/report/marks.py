"""A family's marker beside its name, and blocks that belong to one hardware."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bitjoule.report.markup import Html, join, paragraph
from bitjoule.report.palette import family_styles, marker_path

__all__ = ["by_hardware", "named", "sprites", "swatch"]

Json = Mapping[str, Any]


def sprites(families: Sequence[str]) -> Html:
    """The marker of each family once, for `swatch` to point at."""
    symbols = (
        f'<symbol id="f{i}" viewBox="-8 -8 16 16"><path d="{marker_path(style.marker)}" fill="{style.color}" '
        f'stroke="currentColor" stroke-width=".8"/></symbol>'
        for i, style in enumerate(family_styles(families))
    )
    return Html(f'<svg class="sprites" aria-hidden="true">{"".join(symbols)}</svg>')


def swatch(data: Json, family: str) -> Html:
    """The small marker beside a name."""
    place = list(data["families"]).index(family)
    return Html(f'<svg class="s" aria-hidden="true"><use href="#f{place}"/></svg>')


def named(data: Json, family: str, name: str | None = None) -> Html:
    """A name behind its marker, held together by a space that does not break."""
    return join((swatch(data, family), "\u00a0", family if name is None else name))


def by_hardware(data: Json, field: str, draw: Callable[[str, Sequence[Json]], Html]) -> Html:
    """`draw` of the rows of each hardware, in a block that the hardware selector shows or hides."""
    blocks = []
    for place, entry in enumerate(data["hardware"]):
        rows = [row for row in data[field] if row["hardware"] == entry["name"]]
        nothing = paragraph(f"Nothing to show on {entry['name']}.", "soft")
        inside = draw(entry["name"], rows) if rows else nothing
        blocks.append(Html(f'<div data-hardware="{place}">{inside}</div>'))
    return join(blocks)
