"""report.html: one file that needs no network, no server and, for plot and tables, no JavaScript.

The page is page/page.html with its places filled: sections as plain HTML, plotly.js and the page's own
scripts inline, the data as columnar JSON. A content security policy lets it load nothing from anywhere.
Names and texts of users are escaped in HTML (markup.py), kept as JSON strings in the data (columns.py) and
set as text, never as markup, by the scripts.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from bitjoule.report.columns import columnar, json_text
from bitjoule.report.comparisons import comparison_section
from bitjoule.report.findings import (
    claims_section,
    failures_section,
    methods_section,
    proxies_section,
)
from bitjoule.report.front_energy import energy_section
from bitjoule.report.layers import static_layers
from bitjoule.report.marks import sprites
from bitjoule.report.markup import Html, escape
from bitjoule.report.overview import head, legend, points_table, static_plots

__all__ = ["ReportError", "render", "write_report"]

SCHEMA = "bitjoule.report_data/1"
SCRIPTS = ("units.js", "state.js", "plot.js", "points.js", "details.js", "start.js")


class ReportError(ValueError):
    """Data of which no report can be made."""


def write_report(data: Mapping[str, Any], path: str | Path) -> Path:
    """Write the report of a study and return its path; an existing file is replaced at once or not at all.

    Args:
        data: what `Study.report_data()` returns (schema bitjoule.report_data/1).
        path: the HTML file; its folder must exist.

    Raises:
        ReportError: another schema, or a folder that does not exist.
    """
    target = Path(path)
    if not target.parent.is_dir():
        raise ReportError(f"no folder {str(target.parent)!r} to write {target.name} into; make it first")
    text = render(data)
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(text.encode("utf-8", "replace"))
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return target


def render(data: Mapping[str, Any]) -> str:
    """The whole page as text."""
    schema = data.get("schema")
    if schema != SCHEMA:
        raise ReportError(
            f"report data has schema {schema!r}, expected {SCHEMA!r} as Study.report_data() gives it"
        )
    from plotly.offline import get_plotlyjs

    claims = bool(data.get("claims"))
    places = {
        "title": escape(f"{data['header']['name']}: accuracy and energy"),
        "css": Html(_page("page.css")),
        "sprites": sprites(data["families"]),
        "study": escape(data["header"]["name"]),
        "hardware_options": _options(data),
        "head": head(data),
        "legend": legend(data),
        "static_plots": static_plots(data),
        "points": points_table(data),
        "static_layers": static_layers(data),
        "comparisons": comparison_section(data),
        "energy": energy_section(data),
        "proxies": proxies_section(data),
        "claims": _section("claims", "Paper against measured", claims_section(data)) if claims else Html(""),
        "claims_link": Html('<a href="#claims">Paper</a>') if claims else Html(""),
        "failures": failures_section(data),
        "methods": methods_section(data),
        "data": Html(json_text(columnar(data))),
        "plotly": Html(_inline_script(get_plotlyjs())),
        "script": Html(_inline_script("\n".join(_page(name) for name in SCRIPTS))),
    }
    return _fill(_page("page.html"), places)


def _section(name: str, title: str, inside: Html) -> Html:
    return Html(f'<section id="{name}"><h2>{escape(title)}</h2>{inside}</section>')


def _options(data: Mapping[str, Any]) -> Html:
    names = (entry["name"] for entry in data["hardware"])
    return Html("".join(f'<option value="{i}">{escape(name)}</option>' for i, name in enumerate(names)))


def _page(name: str) -> str:
    return files("bitjoule.report").joinpath("page", name).read_text(encoding="utf-8")


def _inline_script(script: str) -> str:
    """A script that does not end the element it stands in."""
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _fill(template: str, places: Mapping[str, Html]) -> str:
    """Each `{{name}}` of the template replaced once; what is put in is not searched again."""
    first, *pieces = template.split("{{")
    parts = [first]
    for piece in pieces:
        name, _, rest = piece.partition("}}")
        parts += [places[name], rest]
    return "".join(parts)
