"""Section 3 without JavaScript: the layers of front points as plain tables."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from bitjoule.report.markup import Column, Html, Row, escape, join, paragraph, table
from bitjoule.report.units import count_text, energy_text, percent_text

__all__ = ["static_layers"]

MOST_ROWS = 600
"""Layers in all static tables together: about 100 KB of the page."""

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
    rows = 0
    for point in with_cost:
        rows += len(point["cost"]["layers"])
        if blocks and rows > MOST_ROWS:
            break
        blocks.append(_block(point))
    if len(blocks) < len(with_cost):
        left = len(with_cost) - len(blocks)
        blocks.append(paragraph(f"{left} more front points are shown with JavaScript only.", "soft"))
    return join(blocks)


def _block(point: Mapping[str, Any]) -> Html:
    formats = {entry["layer"]: entry for entry in point["formats"]}
    whole = point["energy_pj"] or 1.0
    rows = (_row(layer, formats.get(layer["name"], {}), whole) for layer in point["cost"]["layers"])
    title = f"{point['label']} on {point['hardware']}: {energy_text(point['energy_pj'])}"
    inside = table(f"Layers of {point['label']}", COLUMNS, rows)
    notes = join(paragraph(note, "soft") for note in point["cost"].get("notes", ()))
    return Html(f"<details><summary>{escape(title)}</summary>{inside}{notes}</details>")


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
