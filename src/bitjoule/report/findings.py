"""Sections 4 to 9 of the report: comparisons, energy of the front, proxies, claims, failures, methods."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from bitjoule.report.markup import Column, Html, Row, code, escape, join, paragraph, table
from bitjoule.report.overview import swatch
from bitjoule.report.palette import component_colors, tensor_colors
from bitjoule.report.units import energy_text, number_text, percent_text

__all__ = [
    "claims_section",
    "comparison_section",
    "energy_section",
    "failures_section",
    "methods_section",
    "proxies_section",
]

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
PROXY_COLUMNS = (
    Column("Proxy"),
    Column("Spearman rho", True, "rank correlation with energy over all candidates; 1 is perfect"),
    Column("Kendall tau-b", True),
    Column("Regret, max", True, "energy of what the proxy picks over the least energy at that accuracy"),
    Column("Regret, median", True),
)
VERDICTS = ("in band", "ordering holds", "differs")


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
            _by_hardware(data, "iso_accuracy", lambda name, rows: _iso_accuracy(data, name, rows)),
            paragraph("How many points of accuracy A gains over B at equal energy."),
            _by_hardware(data, "iso_energy", lambda name, rows: _iso_energy(data, name, rows)),
        )
    )


def _by_hardware(data: Json, field: str, draw: Callable[[str, Sequence[Json]], Html]) -> Html:
    """`draw` of the rows of each hardware, in a block that the hardware selector shows or hides."""
    blocks = []
    for place, entry in enumerate(data["hardware"]):
        rows = [row for row in data[field] if row["hardware"] == entry["name"]]
        nothing = paragraph(f"Nothing to show on {entry['name']}.", "soft")
        inside = draw(entry["name"], rows) if rows else nothing
        blocks.append(Html(f'<div data-hardware="{place}">{inside}</div>'))
    return join(blocks)


def _pair(data: Json, row: Json) -> Html:
    return join((_named(data, row["a"]), " over ", _named(data, row["b"])))


def _named(data: Json, family: str, name: str | None = None) -> Html:
    """A name behind its marker, held together by a space that does not break."""
    return join((swatch(data, family), "\u00a0", family if name is None else name))


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
    noted = [row for row in rows if row["interval"] and row["interval"]["note"]]
    return join(paragraph(f"{row['a']} over {row['b']}: {row['interval']['note']}", "soft") for row in noted)


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


def energy_section(data: Json) -> Html:
    """The front of each hardware: where its energy goes, and what DRAM takes of it."""
    return _by_hardware(data, "dram", lambda name, rows: join((_stacks(data, name), _dram(data, name, rows))))


def _stacks(data: Json, hardware: str) -> Html:
    entry = next(one for one in data["hardware"] if one["name"] == hardware)
    points = {point["id"]: point for point in data["points"]}
    front = [points[identity] for identity in entry["front"]]
    sums = [_by_component(point) for point in front]
    names = sorted({name for one in sums for name in one})
    if not names:
        return paragraph("No breakdown of the energy is stored for these points.", "soft")
    names.sort(key=lambda name: -sum(one.get(name, 0.0) for one in sums))
    colors = dict(zip(sorted(names), component_colors(sorted(names)), strict=True))
    most = max(point["energy_pj"] for point in front)
    rows = (
        Row(
            (
                _named(data, point["family"], point["label"]),
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
                _named(data, points[row["point"]]["family"], points[row["point"]]["label"]),
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


def proxies_section(data: Json) -> Html:
    """How well cheap numbers stand in for energy."""

    def draw(hardware: str, rows: Sequence[Json]) -> Html:
        drawn = (
            Row(
                (
                    row["proxy"],
                    number_text(row["spearman"], 3),
                    number_text(row["kendall"], 3),
                    f"{number_text(row['regret_max'])}x" if row["regret_max"] is not None else "-",
                    f"{number_text(row['regret_median'])}x" if row["regret_median"] is not None else "-",
                )
            )
            for row in sorted(rows, key=_best_rank_first)
        )
        return table(f"Proxies against energy, {hardware}", PROXY_COLUMNS, drawn)

    note = (
        "If the search had minimised the proxy instead of the energy: regret is the energy of the point it "
        "picks over the least energy at that accuracy, over the accuracies of the front."
    )
    return join((paragraph(note), _by_hardware(data, "proxies", draw)))


def _best_rank_first(row: Json) -> float:
    return -row["spearman"] if row["spearman"] is not None else 2.0


def claims_section(data: Json) -> Html:
    """Paper against measured, for studies that carry claims."""
    columns = tuple(Column(name) for name in ("Claim", "Source", "Printed", "Ours", "Verdict"))
    rows = (
        Row(
            (
                claim["claim"],
                claim["source"],
                claim["printed"],
                claim["ours"],
                Html(f'<span class="{_verdict_kind(claim["verdict"])}">{escape(claim["verdict"])}</span>'),
            )
        )
        for claim in data["claims"]
    )
    return table("What the paper says and what was measured", columns, rows)


def _verdict_kind(verdict: str) -> str:
    return {"in band": "good", "ordering holds": "good", "differs": "bad"}.get(verdict, "soft")


def failures_section(data: Json) -> Html:
    """Each kind of failure with its trials."""
    if not data["failures"]:
        return paragraph("No trial failed and every candidate fits its hardware.")
    return join(_failure(failure) for failure in data["failures"])


def _failure(failure: Json) -> Html:
    columns = (Column("Trial"), Column("Candidate"), Column("Hardware"), Column("What happened"))
    rows = (
        Row((_number(item["number"]), item["label"], item["hardware"] or "any", item["text"]))
        for item in failure["items"]
    )
    kind = str(failure["kind"]).replace("_", " ")
    shown = len(failure["items"])
    more = f", {shown} shown" if shown < failure["count"] else ""
    inside = table(f"Trials that ended as: {kind}", columns, rows, kind="failures")
    title = f"{kind}: {failure['count']}{more}"
    return Html(f"<details open><summary>{escape(title)}</summary>{inside}</details>")


def _number(trial: int | None) -> str:
    """Measurements on the test split belong to no trial."""
    return "-" if trial is None else f"#{trial}"


def methods_section(data: Json) -> Html:
    """What the numbers rest on; the same words for every study, then those of this one."""
    header = data["header"]
    references = "; ".join(
        f"{entry['name']}: {energy_text(entry['reference']['energy_pj'])} "
        f"and {percent_text(entry['reference']['accuracy'])}"
        for entry in data["hardware"]
        if entry["reference"] is not None
    )
    fixed = (
        "Front: no other point of that hardware has at most its energy and at least its accuracy. Failed "
        "trials and candidates that do not fit are no points.",
        "Median saving: over 1,001 equally spaced common accuracies. Attained: without interpolation, from "
        "the least energy of a real point with at least that accuracy.",
        "Error bars are one standard deviation over training seeds; points with one seed have none.",
        "Hypervolume is in decades of energy times accuracy; reference point "
        f"{references or 'not known yet'}.",
    )
    items = (*fixed, *data["assumptions"])
    hashes = join(
        (join((entry["name"], " ", code(entry["hash"]))) for entry in data["hardware"]), Html("<br>")
    )
    return Html(
        f'<ul class="methods">{"".join(f"<li>{escape(item)}</li>" for item in items)}</ul>'
        f'<dl class="facts"><div><dt>Hardware hashes</dt><dd>{hashes}</dd></div>'
        f"<div><dt>Data manifest</dt><dd>{escape(header['data']['name'])} "
        f"{code(header['data'].get('manifest_hash'))}</dd></div></dl>"
    )
