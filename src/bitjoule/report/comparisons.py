"""Section 4 of the report: families compared at equal accuracy and at equal energy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bitjoule.report.marks import by_hardware, named
from bitjoule.report.markup import Column, Html, Row, escape, join, paragraph, table
from bitjoule.report.units import energy_text, number_text, percent_text

__all__ = ["comparison_section"]

Json = Mapping[str, Any]

ACCURACY_COLUMNS = (
    Column("Saving of A over B"),
    Column("Median", True, "of energy of B over energy of A, over the common accuracies"),
    Column("95 % interval", True, "of the median, from resampled seeds or test images"),
    Column("Up to", True, "greatest saving; biased upwards, quote the median"),
    Column("at", True, "accuracy of the greatest saving"),
    Column("95 % interval of max", True),
    Column("Attained median", True, "between real points only, no interpolation"),
    Column("Attained max", True),
    Column("Common accuracies", True),
)
ENERGY_COLUMNS = (
    Column("Gain of A over B"),
    Column("Median", True, "accuracy of A minus accuracy of B, over the common energies"),
    Column("Up to", True),
    Column("at", True),
    Column("Common energies", True),
)


def comparison_section(data: Json) -> Html:
    """Iso-accuracy and iso-energy tables: the pairs of families that can be compared, then the others."""
    if not data["families"]:
        return paragraph("No family has a trial yet.")
    if len(data["families"]) < 2:
        return paragraph("One family only: there is nothing to compare it with.")
    note = paragraph(
        "How many times less energy A needs than B at equal accuracy. The median is the number to quote; the "
        "greatest saving is biased upwards."
    )
    return join(
        (
            note,
            by_hardware(data, "iso_accuracy", lambda name, rows: _iso_accuracy(data, name, rows)),
            paragraph("How many points of accuracy A gains over B at equal energy."),
            by_hardware(data, "iso_energy", lambda name, rows: _iso_energy(data, name, rows)),
        )
    )


def _pair(data: Json, row: Json) -> Html:
    return join((named(data, row["a"]), " over ", named(data, row["b"])))


def _iso_accuracy(data: Json, hardware: str, rows: Sequence[Json]) -> Html:
    valid = sorted((row for row in rows if row["saving"]), key=lambda row: -row["saving"]["median"])
    drawn = (Row((_pair(data, row), *_saving_cells(row))) for row in valid)
    caption = f"Energy saved at equal accuracy, {hardware}"
    shown = table(caption, ACCURACY_COLUMNS, drawn, kind="pairs") if valid else Html("")
    return join((shown, _notes(valid), _not_comparable(row for row in rows if not row["saving"])))


def _saving_cells(row: Json) -> tuple[object, ...]:
    saving, interval, attained = row["saving"], row["interval"], row["attained"]
    return (
        Html(f"<strong>{number_text(saving['median'])}x</strong>"),
        _interval(interval["median"]) if interval else "-",
        f"{number_text(saving['max'])}x",
        percent_text(saving["max_at"]),
        _interval(interval["max"]) if interval else "-",
        f"{number_text(attained['median'])}x" if attained else "-",
        f"{number_text(attained['max'])}x" if attained else "-",
        f"{100 * saving['lo']:.1f}-{percent_text(saving['hi'])}",
    )


def _interval(quantiles: Sequence[float]) -> str:
    return f"[{number_text(quantiles[0])}, {number_text(quantiles[2])}]"


def _notes(rows: Sequence[Json]) -> Html:
    """What is to be known of intervals: the pairs with one note together, closed until asked for."""
    noted = [row for row in rows if row["interval"] and row["interval"]["note"]]
    if not noted:
        return Html("")
    items = "".join(
        f"<li>{escape(row['a'])} over {escape(row['b'])}: {escape(row['interval']['note'])}</li>"
        for row in noted
    )
    word = "1 interval leaves" if len(noted) == 1 else f"{len(noted)} intervals leave"
    said = f"{word} out replicates without a common accuracy"
    return Html(f"<details><summary>{said}</summary><ul>{items}</ul></details>")


def _not_comparable(rows: Iterable[Json]) -> Html:
    items = [
        f"<li>{escape(row['a'])} and {escape(row['b'])}: {escape(row['reason'] or 'no reason given')}</li>"
        for row in rows
    ]
    if not items:
        return Html("")
    word = "1 pair has" if len(items) == 1 else f"{len(items)} pairs have"
    return Html(f"<details><summary>{word} nothing in common</summary><ul>{''.join(items)}</ul></details>")


def _iso_energy(data: Json, hardware: str, rows: Sequence[Json]) -> Html:
    valid = sorted((row for row in rows if row["gain"]), key=lambda row: -row["gain"]["median"])
    drawn = (
        Row(
            (
                _pair(data, row),
                Html(f"<strong>{_points(row['gain']['median'])}</strong>"),
                _points(row["gain"]["max"]),
                energy_text(row["gain"]["max_at_pj"]),
                f"{energy_text(row['gain']['lo_pj'])} to {energy_text(row['gain']['hi_pj'])}",
            )
        )
        for row in valid
    )
    caption = f"Accuracy gained at equal energy, {hardware}"
    shown = table(caption, ENERGY_COLUMNS, drawn, kind="pairs") if valid else Html("")
    return join((shown, _not_comparable(row for row in rows if not row["gain"])))


def _points(gain: float) -> str:
    return f"{100 * gain:+.1f} points"
