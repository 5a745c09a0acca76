"""What the terminal says: lines of a front, and one sentence for a comparison."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from bitjoule.report.units import accuracy_text, energy_text, number_text, percent_text, size_text
from bitjoule.search.bootstrap import Interval
from bitjoule.search.compare import NoOverlap, Saving

__all__ = ["FRONT_COLUMNS", "FrontLine", "comparison_text", "energy_text", "front_lines", "front_rows"]

FRONT_COLUMNS: dict[str, str] = {
    "point": "right",
    "family": "left",
    "width": "right",
    "validation": "right",
    "test": "right",
    "energy": "right",
    "DRAM": "right",
    "weights": "right",
}
"""Headings of `front_rows`, each with the side its text stands on."""


@dataclass(frozen=True)
class FrontLine:
    """One point of a front as people read it; accuracies are fractions, `number` is its first trial."""

    number: int
    family: str
    width: float | None
    accuracy: float
    accuracy_sd: float | None
    accuracy_test: float | None
    energy_pj: float
    dram_share: float | None
    weight_bits: int | None


def front_lines(
    data: Mapping[str, Any], *, hardware: str | None = None, family: str | None = None
) -> tuple[FrontLine, ...]:
    """The front of a bitjoule.report_data/1 document, energy ascending.

    Args:
        hardware: its name; the first one of the study where None.
        family: only the points of that family which lie on the front of all.

    Raises:
        ValueError: a hardware or a family that the study has not, with those it has.
    """
    names = [entry["name"] for entry in data["hardware"]]
    if hardware is not None and hardware not in names:
        raise ValueError(f"no hardware {hardware!r} in this study; hardware: {', '.join(names)}")
    if family is not None and family not in data["families"]:
        known = ", ".join(sorted(data["families"]))
        raise ValueError(f"no family {family!r} in this study; families: {known}")
    entry = data["hardware"][0 if hardware is None else names.index(hardware)]
    points = {point["id"]: point for point in data["points"]}
    chosen = (points[identity] for identity in entry["front"])
    return tuple(_line(point) for point in chosen if family is None or point["family"] == family)


def _line(point: Mapping[str, Any]) -> FrontLine:
    validation, test = point["validation"], point["test"]
    return FrontLine(
        number=point["number"],
        family=point["family"],
        width=point["width"],
        accuracy=validation["mean"],
        accuracy_sd=validation["sd"],
        accuracy_test=test["mean"] if test else None,
        energy_pj=point["energy_pj"],
        dram_share=point["dram_share"],
        weight_bits=point["weight_bits"],
    )


def front_rows(lines: Iterable[FrontLine]) -> list[tuple[str, ...]]:
    """The cells under FRONT_COLUMNS.

    >>> front_rows([FrontLine(3, "w4a4", 0.5, 0.93, None, 0.925, 1.1e6, 0.36, 32_000)])
    [('3', 'w4a4', '0.5', '93.0 %', '92.5 %', '1.1 uJ', '36 %', '3.91 KiB')]
    """
    return [
        (
            str(line.number),
            line.family,
            "-" if line.width is None else f"{line.width:g}",
            accuracy_text(line.accuracy, line.accuracy_sd),
            percent_text(line.accuracy_test),
            energy_text(line.energy_pj),
            percent_text(line.dram_share, 0),
            size_text(line.weight_bits),
        )
        for line in lines
    ]


def comparison_text(a: str, b: str, saving: Saving | NoOverlap, interval: Interval | None = None) -> str:
    """An iso-accuracy comparison in one sentence. "Up to" is the maximum; the median stands beside it, with
    the 95 % bootstrap interval of the median where there is one.

    >>> comparison_text("w4a4", "int8", Saving(0.84, 0.927, 1.83, 0.912, 1.1, 0.84, 1.52))
    'w4a4 over int8: up to 1.83x less energy (at 91.2 %), median 1.52x, overlap 84.0-92.7 %'
    """
    if isinstance(saving, NoOverlap):
        return f"{a} over {b}: {saving.reason}"
    place = f"(at {percent_text(saving.max_at)})"
    best = f"up to {number_text(saving.max)}x less energy {place}"
    if saving.max < 1:
        best = f"never less energy, at best {number_text(saving.max)}x {place}"
    median = f"median {number_text(saving.median)}x"
    if interval is not None:
        median += f" [{number_text(interval.median[0])}, {number_text(interval.median[2])}]"
    overlap = f"overlap {100 * saving.lo:.1f}-{percent_text(saving.hi)}"
    return f"{a} over {b}: {best}, {median}, {overlap}"
