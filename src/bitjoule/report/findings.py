"""Sections 6 to 9 of the report: proxies, paper against measured, failures, methods and assumptions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bitjoule.report.marks import by_hardware
from bitjoule.report.markup import Column, Html, Row, code, escape, join, paragraph, table
from bitjoule.report.units import energy_text, number_text, percent_text

__all__ = [
    "claims_section",
    "failures_section",
    "methods_section",
    "proxies_section",
]

Json = Mapping[str, Any]

PROXY_COLUMNS = (
    Column("Proxy"),
    Column("Spearman rho", True, "rank correlation with energy over all candidates; 1 is perfect"),
    Column("Kendall tau-b", True),
    Column("Regret, max", True, "energy of what the proxy picks over the least energy at that accuracy"),
    Column("Regret, median", True),
)


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
    return join((paragraph(note), by_hardware(data, "proxies", draw)))


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
