"""The repairs study for people: rows of the terminal's tables, a CSV, and one page with a plot."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from importlib.resources import files

from bitjoule.report.findings import claims_section
from bitjoule.report.markup import Column, Html, Row, code, escape, join, paragraph, table
from bitjoule.report.palette import family_styles
from bitjoule.report.svg import Mark, Series, front_svg
from bitjoule.report.units import energy_text
from bitjoule.search.claims import Checked
from bitjoule.search.core_energies import PricedNetwork
from bitjoule.search.pareto import front
from bitjoule.search.repair_plan import RepairPlan
from bitjoule.search.repair_results import ArmResult, Estimate
from bitjoule.search.repair_study import RepairFindings

__all__ = [
    "ARM_COLUMNS",
    "CLAIM_COLUMNS",
    "ENERGY_COLUMNS",
    "arm_rows",
    "arms_csv",
    "claim_rows",
    "energy_rows",
    "ranking_lines",
    "repairs_page",
]

ARM_COLUMNS: dict[str, str] = {
    "arm": "left",
    "category": "left",
    "accuracy %": "right",
    "gain pp": "right",
    "energy": "right",
    "added": "right",
    "pp per uJ": "right",
}
CLAIM_COLUMNS: dict[str, str] = dict.fromkeys(("claim", "source", "printed", "ours", "verdict"), "left")
ENERGY_COLUMNS: dict[str, str] = {
    "scheme": "left",
    "energy": "right",
    "compute": "right",
    "of it at 8 bits": "right",
    "MMAC": "right",
}

CSV_COLUMNS = (
    *("kind", "repair", "category", "scheme", "against", "accuracy_percent", "accuracy_half", "seeds"),
    *("gain_pp", "gain_half", "energy_pj", "added_pj", "pp_per_uj", "reason"),
)


def arm_rows(rows: Sequence[ArmResult]) -> list[tuple[str, ...]]:
    """Cells under ARM_COLUMNS; an arm without accuracy says why."""
    return [
        (
            row.label,
            row.category,
            _spread(row.accuracy, 1) if row.accuracy else row.reason.splitlines()[0][:60],
            _spread(row.gain, 2, sign=True),
            energy_text(row.energy_pj),
            "-" if row.added_pj is None or row.kind in ("baseline", "reference") else _added(row.added_pj),
            _per_uj(row),
        )
        for row in rows
    ]


def claim_rows(checked: Sequence[Checked]) -> list[tuple[str, ...]]:
    """Cells under CLAIM_COLUMNS."""
    return [tuple(entry.to_json()[column] for column in CLAIM_COLUMNS) for entry in checked]


def energy_rows(rows: Sequence[PricedNetwork]) -> list[tuple[str, ...]]:
    """Cells under ENERGY_COLUMNS."""
    return [
        (
            row.scheme,
            energy_text(row.energy_pj),
            energy_text(row.compute_pj),
            energy_text(row.int8_pj),
            f"{row.macs / 1e6:,.1f}",
        )
        for row in rows
    ]


def ranking_lines(findings: RepairFindings) -> list[str]:
    """The order of categories and what the rank tests say of it."""
    ranking = findings.ranking
    order = ", ".join(f"{category} ({name} {gain:+.2f})" for category, name, gain in ranking.categories)
    lines = [f"categories by the gain of their best repair, pp: {order or 'none finished'}"]
    if ranking.friedman_p is not None and ranking.concordance is not None:
        lines.append(
            f"do the repairs differ: Friedman p = {ranking.friedman_p:.3g}; seeds agree on their order: "
            f"Kendall W = {ranking.concordance:.2f}"
        )
    if ranking.leading_p is not None:
        lines.append(
            f"the claimed categories lead: a share of {ranking.leading_p:.3f} of all choices of as many "
            "categories ranks as well"
        )
    return lines


def arms_csv(findings: RepairFindings) -> str:
    """Every arm and every greedy step, one line each; energies pJ, accuracies percent."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for row in (*findings.rows, *(step.row for step in findings.greedy)):
        accuracy, gain = row.accuracy, row.gain
        writer.writerow(
            [
                *(row.kind, row.subject, row.category, row.scheme, row.against),
                *(("", "", 0) if accuracy is None else (accuracy.mean, accuracy.half, accuracy.values)),
                *(("", "") if gain is None else (gain.mean, gain.half)),
                *(
                    row.energy_pj,
                    row.added_pj,
                    row.pp_per_uj,
                    row.reason.splitlines()[0] if row.reason else "",
                ),
            ]
        )
    return out.getvalue()


def repairs_page(
    plan: RepairPlan,
    findings: RepairFindings,
    priced: Sequence[PricedNetwork],
    checked: Sequence[Checked],
    about: Mapping[str, str],
) -> str:
    """One HTML file that needs nothing else: plot, tables, claims. `about`: what stands in the header.

    Raises:
        ValueError: nothing is trained, so there is nothing to draw.
    """
    header = join(
        (Html(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>") for name, text in about.items()), ""
    )
    kinds = {
        "One repair at a time": ("baseline", "one"),
        "All repairs, and all but one": ("together", "without"),
        "More bits": ("reference",),
    }
    sections = [
        _section(
            "Front", join((front_svg(_title(plan), _series(findings)), paragraph(_front_text(findings))))
        ),
        *(
            _section(title, _table(title, [row for row in findings.rows if row.kind in names]))
            for title, names in kinds.items()
        ),
        _section("Greedy selection by gain per joule", _greedy(findings)),
        _section("Order", join(paragraph(line) for line in ranking_lines(findings))),
        _section(f"{plan.energies.network} without training", _energies(priced)),
        _section("Claims", claims_section({"claims": [entry.to_json() for entry in checked]})),
        _section("How to read this", join(paragraph(line) for line in NOTES)),
    ]
    style = files("bitjoule.report").joinpath("page", "page.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "style-src 'unsafe-inline'; img-src data:\">"
        '<meta name="viewport" content="width=device-width">'
        f"<title>{escape(_title(plan))}</title><style>{style}</style></head><body><main>"
        f"<h1>{escape(_title(plan))}</h1>{paragraph(plan.question)}<dl>{header}</dl>"
        f"{join(sections)}</main></body></html>\n"
    )


NOTES = (
    "Accuracy is of the validation split, mean over seeds with the 95 % t-interval; seeds are shared by all "
    "arms, so a gain is the mean of paired differences. With two seeds an interval is 12.7 standard errors.",
    "Energy is of one inference of the trained network; a repair without cost at inference is free. "
    "`all - x` says what x brings, and costs, when everything else is there.",
    "Greedy selection tries the repairs that helped alone, takes gains that cost nothing first and then the "
    "greatest gain per joule, and stops when nothing helps.",
)


def _title(plan: RepairPlan) -> str:
    return f"{plan.id}: repairs of binary networks"


def _series(findings: RepairFindings) -> list[Series]:
    """Repaired binary networks as one family, each reference as another."""
    references = [row.scheme for row in findings.rows if row.kind == "reference"]
    names = ["binary", *references]
    members: dict[str, list[str]] = {name: [] for name in names}
    for scheme, entry in findings.found.items():
        if entry.energy_pj is not None and entry.mean is not None and scheme != "float32":
            members[scheme if scheme in references else "binary"].append(scheme)
    series = []
    for name, style in zip(names, family_styles(names), strict=True):
        marks = [_mark(findings, scheme) for scheme in members[name]]
        best = front([(mark.energy_pj, mark.accuracy) for mark in marks])
        others = tuple(mark for index, mark in enumerate(marks) if index not in best)
        series.append(Series(name, style, others, tuple(marks[index] for index in best)))
    return [one for one in series if one.front]


def _mark(findings: RepairFindings, scheme: str) -> Mark:
    entry = findings.found[scheme]
    assert entry.energy_pj is not None and entry.mean is not None
    text = f"{scheme}: {100 * entry.mean:.1f} %, {energy_text(entry.energy_pj)}"
    return Mark(entry.energy_pj, entry.mean, None, text)


def _front_text(findings: RepairFindings) -> str:
    listed = "; ".join(findings.front) or "no point"
    named = (
        "float parent" if findings.float_percent is None else f"float parent {findings.float_percent:.1f} %"
    )
    legend = ", ".join(f"{s.name} ({s.style.marker})" for s in _series(findings))
    return f"On {findings.hardware}, {named}. Families: {legend}. On the front of all: {listed}."


def _section(title: str, inside: Html) -> Html:
    return Html(f"<section><h2>{escape(title)}</h2>{inside}</section>")


def _table(title: str, rows: Sequence[ArmResult]) -> Html:
    columns = tuple(Column(name, side == "right") for name, side in ARM_COLUMNS.items())
    drawn = zip(rows, arm_rows(rows), strict=True)
    return table(title, columns, (Row((code(cells[0]), *cells[1:])) for _, cells in drawn))


def _greedy(findings: RepairFindings) -> Html:
    if not findings.greedy:
        return paragraph("No repair helped, or none was asked for.")
    columns = tuple(
        Column(name) for name in ("Step", "Added", "Gain pp", "Added energy", "Accuracy %", "Scheme")
    )
    rows = (
        Row(
            (
                str(number),
                step.chosen[-1],
                _spread(step.row.gain, 2, sign=True),
                "-" if step.row.added_pj is None else _added(step.row.added_pj),
                _spread(step.row.accuracy, 1),
                code(step.row.scheme),
            )
        )
        for number, step in enumerate(findings.greedy, start=1)
    )
    return table("Repairs added one after another", columns, rows)


def _energies(priced: Sequence[PricedNetwork]) -> Html:
    columns = tuple(Column(name, side == "right") for name, side in ENERGY_COLUMNS.items())
    rows = (Row((code(cells[0]), *cells[1:])) for cells in energy_rows(priced))
    caption = (
        "Energy of one inference; compute is two operations per MAC at the published energy, no epilogue"
    )
    return table(caption, columns, rows)


def _spread(value: Estimate | None, digits: int, *, sign: bool = False) -> str:
    if value is None:
        return "-"
    mean = f"{value.mean:+.{digits}f}" if sign else f"{value.mean:.{digits}f}"
    return mean if value.half is None else f"{mean} ± {value.half:.{digits}f}"


def _added(added_pj: float) -> str:
    if added_pj == 0:
        return "0"
    return f"{'+' if added_pj > 0 else '-'}{energy_text(abs(added_pj))}"


def _per_uj(row: ArmResult) -> str:
    if row.pp_per_uj is not None:
        return f"{row.pp_per_uj:+.2f}"
    return "free" if row.gain is not None and row.added_pj == 0 else "-"
