"""Section 3 without JavaScript: the layers of front points as plain tables, and their loop nests."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from bitjoule.report.markup import Column, Html, Row, escape, join, paragraph, table
from bitjoule.report.units import count_text, energy_text, percent_text

__all__ = ["static_layers"]

MOST_ROWS = 600
"""Layers in all static tables together: about 100 KB of the page."""

MOST_NEST_TEXT = 300_000
"""Characters of all loop nests in static tables together."""

COLUMNS = (
    Column("Layer"),
    Column("Kind"),
    Column("Weights"),
    Column("Input"),
    Column("Output"),
    Column("MACs", True),
    Column("Energy", True),
    Column("Share", True),
    Column("Cycles", True),
)


def static_layers(data: Mapping[str, Any]) -> Html:
    """The front points of every hardware, each with its layers, until MOST_ROWS are shown."""
    points = {point["id"]: point for point in data["points"]}
    fronts = [points[identity] for entry in data["hardware"] for identity in entry["front"]]
    with_cost = [point for point in fronts if point["cost"] is not None]
    blocks: list[Html] = []
    rows, room = 0, MOST_NEST_TEXT
    for point in with_cost:
        rows += len(point["cost"]["layers"])
        if blocks and rows > MOST_ROWS:
            break
        room -= sum(len(mapping["nest"]) for mapping in point.get("mappings") or ())
        blocks.append(_block(point, nests=room >= 0))
    if len(blocks) < len(with_cost):
        left = len(with_cost) - len(blocks)
        blocks.append(paragraph(f"{left} more front points are shown with JavaScript only.", "soft"))
    return join(blocks)


def _block(point: Mapping[str, Any], *, nests: bool) -> Html:
    formats = {entry["layer"]: entry for entry in point["formats"]}
    whole = point["energy_pj"] or 1.0
    rows = (_row(layer, formats.get(layer["name"], {}), whole) for layer in point["cost"]["layers"])
    title = f"{point['label']} on {point['hardware']}: {energy_text(point['energy_pj'])}"
    inside = table(f"Layers of {point['label']}", COLUMNS, rows)
    notes = join(paragraph(note, "soft") for note in point["cost"].get("notes", ()))
    mappings = _mappings(point.get("mappings") or (), nests=nests)
    return Html(f"<details><summary>{escape(title)}</summary>{inside}{mappings}{notes}</details>")


def _mappings(mappings: Sequence[Mapping[str, Any]], *, nests: bool) -> Html:
    """The loop nest of each group of equal layers, closed until asked for."""
    if not mappings:
        return Html("")
    if not nests:
        return paragraph("Its loop nests are left out to keep this page small; the study has them.", "soft")
    blocks = []
    for mapping in mappings:
        said = (
            f"{', '.join(mapping['layers'])}: units busy {percent_text(mapping['utilization'])}, bound by "
            f"{mapping['bounding']}, {mapping['certificate']}"
        )
        nest = f'<pre class="nest">{escape(mapping["nest"])}</pre>'
        blocks.append(f"<details><summary>{escape(said)}</summary>{nest}</details>")
    return Html(f'<div class="mappings">{"".join(blocks)}</div>')


def _row(layer: Mapping[str, Any], formats: Mapping[str, Any], whole_pj: float) -> Row:
    energy_pj = math.fsum(item["energy_pj"] for item in layer["items"])
    return Row(
        (
            layer["name"],
            formats.get("kind", "-"),
            formats.get("weights", "-"),
            formats.get("input", "-"),
            formats.get("output", "-"),
            count_text(layer.get("macs")),
            energy_text(energy_pj),
            percent_text(energy_pj / whole_pj),
            count_text(layer.get("latency_cycles")),
        )
    )
