"""The report's data as columns: one list per field, every repeated text or list stored once.

Layers of one network under one scheme repeat from width to width, so names, formats, MACs and cycles are
kept in pools and a point refers to them by number. Energies of layers are written in a unit of the point's
own, in which the greatest has five digits and every one at least three: it is a picture, the study has the
rest. Read by page/*.js.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bitjoule.report.palette import component_colors, family_styles, tensor_colors
from bitjoule.report.select import components, components_together, detailed, family_fronts

__all__ = ["columnar", "json_text"]

Json = dict[str, Any]

AS_THEY_ARE = (
    "id",
    "scheme",
    "width",
    "label",
    "status",
    "reason",
    "rank",
    "weight_bits",
    "latency_cycles",
    "macs",
)
MOST_NEST_TEXT = 1_500_000
"""Characters of all loop nests of a page together."""

SIDES = ("weights", "input", "output")


class _Pool:
    """Values kept once, in order of first appearance."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._places: dict[Any, int] = {}

    def place(self, value: Any) -> int:
        key = tuple(value) if isinstance(value, list) else value
        if key not in self._places:
            self._places[key] = len(self.values)
            self.values.append(value)
        return self._places[key]


def columnar(data: Mapping[str, Any]) -> Json:
    """A bitjoule.report_data/1 document as the columns that the page reads."""
    points = data["points"]
    families = list(data["families"])
    hardware = [entry["name"] for entry in data["hardware"]]
    styles = family_styles(families)
    fronts = [
        [hardware.index(on), families.index(family), members]
        for (on, family), members in family_fronts(points).items()
    ]
    places = {p["id"]: index for index, p in enumerate(points)}
    columns: Json = {name: [p[name] for p in points] for name in AS_THEY_ARE}
    columns |= {
        "hardware": [hardware.index(p["hardware"]) for p in points],
        "family": [families.index(p["family"]) for p in points],
        "energy_pj": [_short(p["energy_pj"], 6) for p in points],
        "dram_share": [_short(p["dram_share"]) for p in points],
    }
    for split in ("validation", "test"):
        for field in ("mean", "sd", "seeds"):
            columns[f"{split}_{field}"] = [_short(p[split][field], 6) if p[split] else None for p in points]
    return {
        "hardware": hardware,
        "families": [
            {"name": name, "color": style.color, "marker": style.marker}
            for name, style in zip(families, styles, strict=True)
        ],
        "fronts": [[places[identity] for identity in entry["front"]] for entry in data["hardware"]],
        "family_fronts": fronts,
        "points": columns,
        "details": _details(points),
    }


def json_text(document: object) -> str:
    """Compact JSON in ASCII that cannot end the script element it stands in.

    >>> json_text({"a": "</script>"})
    '{"a":"\\\\u003c/script>"}'
    """
    text = json.dumps(document, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c")


def _details(points: Sequence[Mapping[str, Any]]) -> Json:
    keys, names, kinds, macs, cycles, edges, notes = (_Pool() for _ in range(7))
    kept = detailed(points)
    drawn, nests, nests_left_out = _nests(points, kept)
    of_point: list[Json | None] = [None] * len(points)
    for index in kept:
        layers = points[index]["cost"]["layers"]
        sums = [_by_key(layer["items"]) for layer in layers]
        used = sorted({key for layer in sums for key in layer})
        formats = {entry["layer"]: entry for entry in points[index]["formats"]}
        rows = [formats.get(layer["name"]) for layer in layers]
        unit = _unit_pj(sums)
        of_point[index] = {
            "k": [keys.place(key) for key in used],
            "u": unit,
            "e": [_whole(layer.get(key, 0.0) / unit) for layer in sums for key in used],
            "n": names.place([layer["name"] for layer in layers]),
            "t": kinds.place([row["kind"] if row else "" for row in rows]),
            "m": macs.place([layer.get("macs") for layer in layers]),
            "c": cycles.place([layer.get("latency_cycles") for layer in layers]),
            "o": notes.place(list(points[index]["cost"].get("notes", ()))),
            "f": [edges.place([row[side] if row else "" for row in rows]) for side in SIDES],
            **({"p": nests[index]} if index in nests else {}),
        }
    names_of_components = components(points)
    tensors = sorted({tensor for _, tensor in keys.values})
    return {
        "components": _named(
            names_of_components, component_colors(names_of_components, components_together(points))
        ),
        "tensors": _named(tensors, tensor_colors(tensors)),
        "keys": [
            [names_of_components.index(component), tensors.index(tensor)] for component, tensor in keys.values
        ],
        "names": names.values,
        "kinds": kinds.values,
        "macs": macs.values,
        "cycles": cycles.values,
        "notes": notes.values,
        "edges": _texts(edges.values),
        "nests": drawn,
        "nests_left_out": nests_left_out,
        "of_point": of_point,
        "left_out": sum(1 for p in points if p["cost"] is not None) - len(kept),
    }


def _nests(
    points: Sequence[Mapping[str, Any]], kept: Sequence[int]
) -> tuple[list[str], dict[int, list[Json] | None], int]:
    """Loop nests: the texts once, then per point what its layers have, and the number of points left out.

    Points of fronts come first; those whose new texts would make all of them longer than MOST_NEST_TEXT are
    left out (None).
    """
    pool, found, room, left_out = _Pool(), dict[int, list[Json] | None](), MOST_NEST_TEXT, 0
    with_nests = [index for index in kept if points[index].get("mappings")]
    for index in sorted(with_nests, key=lambda i: (points[i]["rank"] is None, points[i]["rank"] or 0, i)):
        mappings = points[index]["mappings"]
        fresh = {m["nest"] for m in mappings} - set(pool.values)
        if sum(map(len, fresh)) > room:
            left_out += 1
            found[index] = None
            continue
        room -= sum(map(len, fresh))
        names = [layer["name"] for layer in points[index]["cost"]["layers"]]
        found[index] = [
            {
                "l": [names.index(name) for name in mapping["layers"] if name in names],
                "n": pool.place(mapping["nest"]),
                "u": _short(mapping["utilization"], 3),
                "b": mapping["bounding"],
                "c": mapping["certificate"],
            }
            for mapping in mappings
        ]
    return pool.values, found, left_out


def _by_key(items: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], float]:
    sums: dict[tuple[str, str], float] = {}
    for item in items:
        key = (item["component"], item["tensor"])
        sums[key] = sums.get(key, 0.0) + item["energy_pj"]
    return sums


def _unit_pj(sums: Sequence[Mapping[tuple[str, str], float]]) -> float:
    """The power of ten (pJ) in which the greatest part of a point has five digits before the point."""
    most = max((energy for layer in sums for energy in layer.values()), default=0.0)
    return 10.0 ** (math.floor(math.log10(most)) - 4) if most > 0 else 1.0


def _whole(value: float) -> float | int | None:
    return round(value) if abs(value) >= 100 else _short(value, 3)


def _named(names: Sequence[str], colors: Sequence[str]) -> list[Json]:
    return [{"name": name, "color": color} for name, color in zip(names, colors, strict=True)]


def _texts(lists: Sequence[Sequence[str]]) -> Json:
    """Lists of few different texts: the texts once, the lists as their numbers."""
    pool = _Pool()
    rows = [[pool.place(text) for text in row] for row in lists]
    return {"texts": pool.values, "rows": rows}


def _short(value: float | None, digits: int = 4) -> float | int | None:
    """`digits` significant digits; whole numbers lose their `.0`."""
    if value is None:
        return None
    short = float(f"{value:.{digits}g}")
    return int(short) if short == int(short) and abs(short) < 1e15 else short
