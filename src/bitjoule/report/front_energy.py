"""Section 5 of the report: where the energy of the front goes, and what DRAM takes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bitjoule.report.marks import by_hardware, named
from bitjoule.report.markup import Column, Html, Row, escape, join, paragraph, table
from bitjoule.report.palette import component_colors, tensor_colors
from bitjoule.report.select import components, components_together
from bitjoule.report.units import energy_text, percent_text

__all__ = ["component_text", "energy_section"]

Json = Mapping[str, Any]


def energy_section(data: Json) -> Html:
    """The front of each hardware: where its energy goes, and what DRAM takes of it."""
    return by_hardware(data, "dram", lambda name, rows: join((_stacks(data, name), _dram(data, name, rows))))


def _stacks(data: Json, hardware: str) -> Html:
    entry = next(one for one in data["hardware"] if one["name"] == hardware)
    points = {point["id"]: point for point in data["points"]}
    front = [points[identity] for identity in entry["front"]]
    sums = [_by_component(point) for point in front]
    names = sorted({name for one in sums for name in one})
    if not names:
        return paragraph("No breakdown of the energy is stored for these points.", "soft")
    every = components(data["points"])
    names.sort(key=lambda name: -sum(one.get(name, 0.0) for one in sums))
    colors = dict(zip(every, component_colors(every, components_together(data["points"])), strict=True))
    most = max(point["energy_pj"] for point in front)
    rows = (
        Row(
            (
                named(data, point["family"], point["label"]),
                percent_text(point["validation"]["mean"]),
                energy_text(point["energy_pj"]),
                _stack({name: one.get(name, 0.0) for name in names}, colors, most),
                _stack({name: one.get(name, 0.0) for name in names}, colors, sum(one.values())),
            )
        )
        for point, one in zip(front, sums, strict=True)
    )
    key = join(Html(f"<li>{_patch(colors[name])}{escape(component_text(name))}</li>") for name in names)
    columns = (
        Column("Point"),
        Column("Accuracy", True),
        Column("Energy", True),
        Column("Energy, one scale for all"),
        Column("Shares"),
    )
    drawing = table(f"Where the energy goes along the front, {hardware}", columns, rows, kind="stacks")
    return join((Html(f'<ul class="key">{key}</ul>'), drawing))


def component_text(component: str) -> str:
    """A component's name for people: the model's prefix is dropped, DRAM is written as everybody does.

    >>> component_text("moons:dram"), component_text("level:shared_glb")
    ('DRAM', 'shared_glb')
    """
    prefix, _, rest = component.partition(":")
    name = rest if rest and prefix in ("moons", "level", "tta") else component
    return "DRAM" if name.lower() == "dram" else name


def _by_component(point: Json) -> dict[str, float]:
    sums: dict[str, float] = {}
    for layer in (point["cost"] or {}).get("layers", ()):
        for item in layer["items"]:
            sums[item["component"]] = sums.get(item["component"], 0.0) + item["energy_pj"]
    return sums


def _patch(color: str) -> Html:
    return Html(f'<i class="patch" style="background:{color}"></i>')


def _stack(parts: Mapping[str, float], colors: Mapping[str, str], whole: float) -> Html:
    pieces = (
        f'<i style="width:{100 * energy / whole:.2f}%;background:{colors[name]}" '
        f'title="{escape(component_text(name))}: {energy_text(energy)}"></i>'
        for name, energy in parts.items()
        if energy > 0
    )
    return Html(f'<div class="stack">{"".join(pieces)}</div>')


def _dram(data: Json, hardware: str, rows: Sequence[Json]) -> Html:
    points = {point["id"]: point for point in data["points"]}
    tensors = sorted({tensor for row in rows for tensor in row["by_tensor"]}, key=_tensor_order)
    colors = dict(zip(tensors, tensor_colors(tensors), strict=True))
    columns = (
        Column("Point"),
        Column("DRAM share", True, "DRAM energy over total energy"),
        Column("of DRAM"),
        *(Column(join((_patch(colors[tensor]), tensor)), True) for tensor in tensors),
    )
    drawn = (
        Row(
            (
                named(data, points[row["point"]]["family"], points[row["point"]]["label"]),
                percent_text(row["share"]),
                _stack(row["by_tensor"], colors, sum(row["by_tensor"].values()) or 1.0),
                *(energy_text(row["by_tensor"].get(tensor)) for tensor in tensors),
            )
        )
        for row in rows
    )
    return table(f"DRAM energy along the front, {hardware}", columns, drawn, kind="stacks")


def _tensor_order(tensor: str) -> tuple[int, str]:
    known = ("weights", "inputs", "outputs", "psums", "residual")
    return (known.index(tensor) if tensor in known else len(known), tensor)
