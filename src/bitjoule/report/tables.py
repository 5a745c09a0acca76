"""What the terminal says of a front: one line per point."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bitjoule.report.units import accuracy_text, energy_text, percent_text, size_text
from bitjoule.search.points import StudyPoint

__all__ = ["FRONT_COLUMNS", "FrontLine", "energy_text", "front_lines", "front_rows"]

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


def front_lines(front: Iterable[StudyPoint]) -> tuple[FrontLine, ...]:
    """The points of `Study.front()`, in its order."""
    return tuple(
        FrontLine(
            number=point.number,
            family=point.family,
            width=point.trials[0].width,
            accuracy=point.accuracy,
            accuracy_sd=point.sd,
            accuracy_test=point.trials[0].accuracy_test,
            energy_pj=point.energy_pj,
            dram_share=point.trials[0].dram_share,
            weight_bits=point.trials[0].weight_bits,
        )
        for point in front
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
