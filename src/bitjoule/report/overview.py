"""Sections 1 and 2 of the report: what was asked, by which study; the plot and the table of all points."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from bitjoule.report.marks import named, swatch
from bitjoule.report.markup import Column, Html, Row, code, escape, join, paragraph, table
from bitjoule.report.palette import family_styles
from bitjoule.report.select import family_fronts, plotted
from bitjoule.report.svg import Mark, Series, front_svg
from bitjoule.report.units import accuracy_text, count_text, energy_text, percent_text, size_text
from bitjoule.search.bootstrap import Interval
from bitjoule.search.compare import Saving
from bitjoule.search.points import comparison_text

__all__ = ["head", "headline", "legend", "points_table", "static_plots"]

Json = Mapping[str, Any]

POINT_COLUMNS = (
    Column("Point", key="label"),
    Column("Width", True, key="width"),
    Column(
        "Validation", True, "accuracy on the validation split, which chooses the front", "validation_mean"
    ),
    Column("Test", True, "accuracy on the test split", "test_mean"),
    Column("Energy", True, "of one inference", "energy_pj"),
    Column("DRAM", True, "share of the energy spent on DRAM", "dram_share"),
    Column("Weights", True, "storage of the weights", "weight_bits"),
    Column("Cycles", True, "latency of one inference", "latency_cycles"),
    Column("Rank", True, "0: on the Pareto front of this hardware", "rank"),
)
SPLITS = ("train", "validation", "test")
STATIC_POINTS = 500
"""The static plot shows at most this many points off the fronts."""

HEADLINE_POINTS = 3
"""A finding is no accident of one point: families with so many are preferred."""


def head(data: Json) -> Html:
    """Question, finding, and the facts that pin the study down."""
    header = data["header"]
    names = ", ".join(entry["name"] for entry in data["hardware"])
    question = header.get("question") or (
        f"Which number format gives {header['network']} on {header['data']['name']} "
        f"the most accuracy per joule on {names}?"
    )
    findings = (
        Html(f'<p class="finding" data-hardware="{place}">{escape(found)}</p>')
        for place, entry in enumerate(data["hardware"])
        if (found := headline(data, entry["name"]))
    )
    return join(
        (
            Html(f'<p class="over">bitjoule study</p><h1>{escape(header["name"])}</h1>'),
            paragraph(question, "question"),
            *findings,
            _facts(data),
        )
    )


def headline(data: Json, hardware: str) -> str:
    """The greatest median saving on one hardware, in the words of `bitjoule compare`; "" without any.

    Of the pairs that can be compared, those without the float32 parents where there are any, and of these
    those of families with at least HEADLINE_POINTS points where there are any.
    """
    rows = [row for row in data["iso_accuracy"] if row["saving"] and row["hardware"] == hardware]
    if not rows:
        return ""
    quantized = [row for row in rows if "float32" not in (row["a"], row["b"])] or rows
    counts = Counter((p["hardware"], p["family"]) for p in data["points"] if p["status"] == "done")
    solid = [row for row in quantized if _least(counts, row) >= HEADLINE_POINTS] or quantized
    best = max(solid, key=lambda row: row["saving"]["median"])
    interval = Interval(**best["interval"]) if best["interval"] else None
    sentence = comparison_text(best["a"], best["b"], Saving(**best["saving"]), interval)
    return f"Largest median saving, on {hardware}: {sentence}."


def _least(counts: Counter[tuple[str, str]], row: Json) -> int:
    return min(counts[row["hardware"], row[side]] for side in ("a", "b"))


def _facts(data: Json) -> Html:
    header, counts, card = data["header"], data["header"]["counts"], data["header"]["data"]
    trials = f"{counts['done']} done of {counts['trials']}"
    if counts["failed"]:
        trials += f", {counts['failed']} failed"
    if counts["infeasible"]:
        trials += f", {counts['infeasible']} do not fit"
    hardware = (
        join(
            (
                entry["name"],
                " ",
                code(_hash(entry["hash"])),
                _small(
                    "no front yet"
                    if entry["hypervolume"] is None
                    else f"hypervolume {entry['hypervolume']:.3f}"
                ),
            )
        )
        for entry in data["hardware"]
    )
    sizes = card.get("sizes", card)
    images = ", ".join(f"{name} {sizes[name]:,}" for name in SPLITS if name in sizes)
    if card.get("lossy"):
        images += "; images stored with loss"
    facts = (
        ("Trials", trials),
        ("Network", header["network"]),
        ("Method", f"{header['method']}, seed {header['seed']}"),
        (
            "Seeds",
            f"{header['seeds_search']} while searching, {header['seeds_front']} on the front; "
            f"chosen on {header['selection']}",
        ),
        ("Hardware", join(hardware, "<br>")),
        (
            "Data",
            join((card["name"], " ", code(_hash(card.get("manifest_hash"))), _small(images))),
        ),
        ("Made by", join((f"bitjoule {header['code_version']}", _small(header["created_utc"])))),
        ("Run again", code(header["command"])),
    )
    return Html(
        '<dl class="facts">'
        + "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts)
        + "</dl>"
    )


def _small(text: object) -> Html:
    """A second, quieter line."""
    return Html(f"<br><small>{escape(text)}</small>")


def legend(data: Json) -> Html:
    """The families; page/plot.js makes each a switch."""
    items = (
        f'<li><button type="button" data-family="{i}" aria-pressed="true">{swatch(data, name)}'
        f"<span>{escape(name)}</span></button></li>"
        for i, name in enumerate(data["families"])
    )
    return Html(f'<ul class="legend" aria-label="Families">{"".join(items)}</ul>')


def static_plots(data: Json) -> Html:
    """One SVG per hardware; the page hides them once the interactive plot stands."""
    return join(_static_plot(data, place, entry["name"]) for place, entry in enumerate(data["hardware"]))


def _static_plot(data: Json, place: int, hardware: str) -> Html:
    points = data["points"]
    here = [i for i in plotted(points) if points[i]["hardware"] == hardware]
    opening = f'<figure class="static" data-hardware="{place}">'
    if not here:
        nothing = paragraph(f"No trial on {hardware} has an accuracy and an energy yet.")
        return Html(f"{opening}{nothing}</figure>")
    fronts = family_fronts(points)
    on_front = {i for members in fronts.values() for i in members}
    off = sorted((i for i in here if i not in on_front), key=lambda i: (points[i]["rank"] or 0, i))
    shown = set(off[:STATIC_POINTS])
    series = [
        Series(
            family,
            style,
            tuple(_mark(points[i]) for i in here if i in shown and points[i]["family"] == family),
            tuple(_mark(points[i]) for i in fronts.get((hardware, family), ())),
        )
        for family, style in zip(data["families"], family_styles(data["families"]), strict=True)
    ]
    drawing = front_svg(f"Accuracy against energy on {hardware}", series)
    missing = len(off) - len(shown)
    left_out = f" {missing} points far from the front are not drawn." if missing else ""
    caption = f"{hardware}: validation accuracy against energy; lines join the front of each family."
    return Html(f"{opening}{drawing}<figcaption>{escape(caption + left_out)}</figcaption></figure>")


def _mark(point: Json) -> Mark:
    validation = point["validation"]
    accuracy = accuracy_text(validation["mean"], validation["sd"])
    text = f"{point['label']}: {accuracy}, {energy_text(point['energy_pj'])}"
    return Mark(float(point["energy_pj"]), float(validation["mean"]), validation["sd"], text)


def points_table(data: Json) -> Html:
    """Every point of every hardware, the front first."""
    points = data["points"]
    order = sorted(
        range(len(points)),
        key=lambda i: (
            points[i]["hardware"] != data["hardware"][0]["name"],
            points[i]["hardware"],
            points[i]["rank"] is None,
            points[i]["rank"] or 0,
            points[i]["energy_pj"] or 0.0,
        ),
    )
    names = [entry["name"] for entry in data["hardware"]]
    several = len(names) > 1
    rows = (_point_row(data, i, names.index(points[i]["hardware"]), several) for i in order)
    return table("All points", POINT_COLUMNS, rows, kind="points")


def _point_row(data: Json, index: int, hardware: int, several: bool) -> Row:
    point = data["points"][index]
    name = named(data, point["family"], point["label"])
    if several:
        name = join((name, Html('<small class="on"> on '), point["hardware"], Html("</small>")))
    validation: object = _accuracy(point["validation"])
    if point["status"] != "done":
        word = "does not fit" if point["status"] == "infeasible" else point["status"]
        validation = Html(f'<span class="bad" title="{escape(point["reason"] or "")}">{escape(word)}</span>')
    cells = (
        name,
        "-" if point["width"] is None else f"{point['width']:g}",
        validation,
        _accuracy(point["test"]),
        energy_text(point["energy_pj"]),
        percent_text(point["dram_share"], 0),
        size_text(point["weight_bits"]),
        count_text(point["latency_cycles"]),
        "-" if point["rank"] is None else str(point["rank"]),
    )
    kind = ' class="front"' if point["id"] in data["hardware"][hardware]["front"] else ""
    return Row(cells, Html(f' data-p="{index}" data-hardware="{hardware}"{kind}'))


def _accuracy(split: Json | None) -> str:
    return accuracy_text(split["mean"], split["sd"]) if split else "-"


def _hash(text: str | None) -> str:
    """The first twelve digits: enough to tell two descriptions apart."""
    return "no hash" if text is None else text.removeprefix("sha256:")[:12]
