"""Which points are drawn, which form the front of their family, and which carry per-layer details."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bitjoule.search.pareto import front

__all__ = ["components", "components_together", "detailed", "family_fronts", "plotted"]

Point = Mapping[str, Any]
"""One element of `points` in a bitjoule.report_data/1 document."""

ALL_DETAILS = 1000
NEAREST = 500


def components(points: Sequence[Point]) -> list[str]:
    """Every component that a cost of the study names, sorted: the order in which they get their colours."""
    return sorted(
        {
            item["component"]
            for point in points
            for layer in (point["cost"] or {}).get("layers", ())
            for item in layer["items"]
        }
    )


def components_together(points: Sequence[Point]) -> list[list[str]]:
    """The components of each hardware: what may stand in one bar."""
    return [components([p for p in points if p["hardware"] == on]) for on in {p["hardware"] for p in points}]


def plotted(points: Sequence[Point]) -> list[int]:
    """Indices of points with an energy and a validation accuracy.

    >>> plotted([{"status": "done", "energy_pj": 1.0, "validation": None}])
    []
    """
    return [
        i
        for i, p in enumerate(points)
        if p["status"] == "done" and p["energy_pj"] and p["validation"] is not None
    ]


def family_fronts(points: Sequence[Point]) -> dict[tuple[str, str], list[int]]:
    """(hardware, family) -> indices of that family's own front on validation, energy ascending."""
    groups: dict[tuple[str, str], list[int]] = {}
    for index in plotted(points):
        groups.setdefault((points[index]["hardware"], points[index]["family"]), []).append(index)
    return {
        key: [members[k] for k in front(_coordinates(points, members))] for key, members in groups.items()
    }


def detailed(points: Sequence[Point], *, all_below: int = ALL_DETAILS, nearest: int = NEAREST) -> list[int]:
    """Indices of the points whose layers are shown: all, or of more than `all_below` points those on a front
    (of the hardware or of a family) and the `nearest` ones to it, in decades of energy and accuracy."""
    with_cost = [i for i, p in enumerate(points) if p["cost"] is not None]
    if len(points) <= all_below:
        return with_cost
    fronts = {i for members in family_fronts(points).values() for i in members}
    fronts |= {i for i in with_cost if points[i]["rank"] == 0}
    distances: list[tuple[float, int]] = []
    for name in {p["hardware"] for p in points}:
        here = [i for i in plotted(points) if points[i]["hardware"] == name]
        shape = [i for i in here if i in fronts]
        others = [i for i in here if i not in fronts]
        if not others:
            continue
        a, b = _plane(points, others), _plane(points, shape)
        least = np.sqrt(((a[:, None, :] - b[None, :, :]) ** 2).sum(axis=2)).min(axis=1)
        distances += [(float(d), i) for d, i in zip(least, others, strict=True)]
    chosen = fronts | {i for _, i in sorted(distances)[:nearest]}
    return [i for i in with_cost if i in chosen]


def _coordinates(points: Sequence[Point], members: Sequence[int]) -> list[tuple[float, float]]:
    return [(float(points[i]["energy_pj"]), float(points[i]["validation"]["mean"])) for i in members]


def _plane(points: Sequence[Point], members: Sequence[int]) -> np.ndarray[Any, np.dtype[np.float64]]:
    energy, accuracy = np.array(_coordinates(points, members), dtype=np.float64).T
    return np.stack((np.log10(energy), accuracy), axis=1)
