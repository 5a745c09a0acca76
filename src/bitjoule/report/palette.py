"""One colour and one marker per family; colours of memory levels and tensors.

The first eight colours are those of Okabe and Ito (2008), told apart in every common form of colour
blindness; eight more follow in studies of many families. A marker repeats what the colour says, and an
outline in the text colour keeps the light ones visible.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

__all__ = [
    "FAMILY_COLORS",
    "MARKERS",
    "OKABE_ITO",
    "Style",
    "component_colors",
    "family_styles",
    "marker_path",
    "tensor_colors",
]

BLUE, VERMILLION, GREEN, ORANGE = "#0072B2", "#D55E00", "#009E73", "#E69F00"
PURPLE, SKY, YELLOW, GREY = "#CC79A7", "#56B4E9", "#F0E442", "#8A929C"
INK = "currentColor"
"""Okabe and Ito's black: the text colour, so that it is seen on a dark page too."""

OKABE_ITO = (BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY, INK, YELLOW)

MORE = ("#8468D8", "#B8527C", "#7A8B2E", "#A06A42", "#3E9AA8", "#C9544F", "#6B7FA6", "#B5651D")
"""Violet, wine, olive, brown, teal, brick, steel, copper: seen on a white and on a dark page alike."""

FAMILY_COLORS = (*OKABE_ITO, *MORE)

MARKERS = (
    "circle",
    "square",
    "diamond",
    "triangle-up",
    "cross",
    "triangle-down",
    "star",
    "x",
    "pentagon",
)
"""Names as plotly has them. Nine markers against sixteen colours: 144 families before a pair returns."""


@dataclass(frozen=True)
class Style:
    """How a family looks: `color` is CSS, `marker` one of MARKERS."""

    color: str
    marker: str


def family_styles(families: Sequence[str]) -> tuple[Style, ...]:
    """A style for each family, in order.

    >>> [style.marker for style in family_styles(["int8", "w4a4"])]
    ['circle', 'square']
    """
    return tuple(
        Style(FAMILY_COLORS[i % len(FAMILY_COLORS)], MARKERS[i % len(MARKERS)])
        for i, _ in enumerate(families)
    )


def component_colors(components: Sequence[str], together: Iterable[Collection[str]] = ()) -> tuple[str, ...]:
    """DRAM is vermillion and the first arithmetic green in every report; the others follow in order.

    `together`: groups that are drawn in one bar, such as the components of one hardware; names that no group
    joins may share a colour. Without groups all are drawn together. Memories choose before operations,
    networks and leakage; what comes too late is grey.

    >>> component_colors(["moons:compute", "moons:main", "moons:dram"])
    ('#009E73', '#0072B2', '#D55E00')
    >>> component_colors(["level:a", "level:b"], [["level:a"], ["level:b"]])
    ('#0072B2', '#0072B2')
    """
    groups = [frozenset(group) for group in together] or [frozenset(components)]
    chosen: dict[str, str] = {}
    for name in sorted(components, key=lambda name: name.lower().startswith(("op:", "noc:", "leak:"))):
        lower = name.lower()
        beside = {other for group in groups if name in group for other in group}
        taken = {color for other, color in chosen.items() if other in beside}
        if "dram" in lower:
            chosen[name] = VERMILLION
        elif GREEN not in taken and ("compute" in lower or lower.startswith(("mac", "op:"))):
            chosen[name] = GREEN
        else:
            free = (color for color in (BLUE, SKY, ORANGE, PURPLE, YELLOW, INK) if color not in taken)
            chosen[name] = next(free, GREY)
    return tuple(chosen[name] for name in components)


def tensor_colors(tensors: Sequence[str]) -> tuple[str, ...]:
    """Weights blue, inputs orange, outputs green in every report.

    >>> tensor_colors(["weights", "none"])
    ('#0072B2', '#8A929C')
    """
    known = {"weights": BLUE, "inputs": ORANGE, "outputs": GREEN, "psums": PURPLE, "residual": SKY}
    return tuple(known.get(name, GREY) for name in tensors)


def marker_path(marker: str, radius: float = 5.0) -> str:
    """The SVG path of a marker around the origin.

    Raises:
        ValueError: a marker that is not in MARKERS.
    """
    if marker not in MARKERS:
        raise ValueError(f"no marker {marker!r}; markers: {', '.join(MARKERS)}")
    r = radius
    match marker:
        case "circle":
            return f"M{-r:g} 0a{r:g} {r:g} 0 1 0 {2 * r:g} 0a{r:g} {r:g} 0 1 0 {-2 * r:g} 0z"
        case "square":
            return _polygon(4, r * 1.25, 45)
        case "diamond":
            return _polygon(4, r * 1.25, 0)
        case "triangle-up":
            return _polygon(3, r * 1.3, 0)
        case "triangle-down":
            return _polygon(3, r * 1.3, 180)
        case "pentagon":
            return _polygon(5, r * 1.15, 0)
        case "star":
            return _star(5, r * 1.4, r * 0.58, 0)
        case "cross":
            return _cross(r * 1.15, r * 0.42, 0)
        case _:
            return _cross(r * 1.15, r * 0.42, 45)


def _polygon(corners: int, radius: float, turn_degrees: float) -> str:
    return _path([(radius, turn_degrees + 360 * k / corners) for k in range(corners)])


def _star(points: int, outer: float, inner: float, turn_degrees: float) -> str:
    step = 180 / points
    return _path([(inner if k % 2 else outer, turn_degrees + k * step) for k in range(2 * points)])


def _cross(arm: float, half: float, turn_degrees: float) -> str:
    tip = math.hypot(arm, half)
    spread = math.degrees(math.atan2(half, arm))
    inner = half * math.sqrt(2)
    corners = []
    for k in range(4):
        middle = turn_degrees + 90 * k
        corners += [(tip, middle - spread), (tip, middle + spread), (inner, middle + 45)]
    return _path(corners)


def _path(corners: Sequence[tuple[float, float]]) -> str:
    """Corners as (radius, degrees clockwise from the top)."""
    places = (
        f"{r * math.sin(math.radians(turn)):.2f} {-r * math.cos(math.radians(turn)):.2f}"
        for r, turn in corners
    )
    return "M" + "L".join(places) + "z"
