"""The structure of report.html, read with the HTML parser of the standard library; no browser."""

import json
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from bitjoule.report import ReportError, write_report
from bitjoule.report.html import render
from bitjoule.report.markup import Column, Row, table
from tests.report.synthetic import HOSTILE, report_data

# search.md section 7
POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"


class Page(HTMLParser):
    """Elements, texts and scripts of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "script":
            self.scripts.append(data)
        elif self._open and self._open[-1] != "style":
            self.words.append(data)

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def data() -> dict[str, Any]:
    return report_data(layers=6)


@pytest.fixture(scope="module")
def page(data: dict[str, Any]) -> Page:
    return Page(render(data))


def test_sections_in_order(page: Page) -> None:
    names = [attributes["id"] for attributes in page.of("section")]
    assert names == ["front", "details", "comparisons", "energy", "proxies", "failures", "methods"]


def test_paper_section_stands_between_proxies_and_failures(data: dict[str, Any]) -> None:
    claim = {
        "claim": "w4a4 saves",
        "source": "table 2",
        "printed": "1.8x",
        "ours": "1.83x",
        "verdict": "in band",
    }
    page = Page(render(data | {"claims": [claim]}))
    names = [attributes["id"] for attributes in page.of("section")]
    assert names == ["front", "details", "comparisons", "energy", "proxies", "claims", "failures", "methods"]
    assert "w4a4 saves table 2 1.8x 1.83x in band" in page.text


def test_nothing_is_loaded_from_anywhere(page: Page) -> None:
    assert {"http-equiv": "Content-Security-Policy", "content": POLICY} in page.of("meta")
    for _, attributes in page.elements:
        assert "src" not in attributes
        assert (attributes.get("href") or "#").startswith("#")
    assert not page.of("link")


def test_head_says_what_was_asked_found_and_how_to_repeat_it(page: Page) -> None:
    for words in (
        "Which number format gives mobilenet_v2 on cifar10 the most accuracy per joule on moons-4mb, ",
        "77 done of 80, 2 failed, 1 do not fit",
        "bitjoule search poq.yaml",
        "seed 0",
        "bitjoule 0.1.0",
        "cd34cd34cd34",
        "ab12ab12ab12",
        "Largest median saving, on ",
    ):
        assert words in page.text


def test_sizes_of_the_splits_may_stand_in_the_card_itself(data: dict[str, Any]) -> None:
    card = {
        "name": "digits",
        "manifest_hash": None,
        "train": 1150,
        "validation": 287,
        "test": 360,
        "lossy": True,
    }
    page = Page(render(data | {"header": data["header"] | {"data": card}}))
    assert "digits no hash train 1,150, validation 287, test 360; images stored with loss" in page.text


def test_every_point_is_a_row_and_is_in_the_data(data: dict[str, Any], page: Page) -> None:
    rows = sorted(int(attributes["data-p"] or "") for attributes in page.of("tr") if "data-p" in attributes)
    assert rows == list(range(len(data["points"])))
    stored = json.loads(next(s for s in page.scripts if s.startswith("{")))
    assert stored["points"]["label"] == [point["label"] for point in data["points"]]
    assert stored["hardware"] == ["moons-4mb", "braintta22"]


def test_every_pair_of_families_is_shown_or_explained(data: dict[str, Any], page: Page) -> None:
    for row in data["iso_accuracy"]:
        if row["saving"]:
            assert f"{row['a']} over" in page.text
        else:
            assert f"{row['a']} and {row['b']}: {row['reason']}" in page.text


def test_without_scripts_there_are_plots_and_layers(data: dict[str, Any], page: Page) -> None:
    drawings = [attributes for attributes in page.of("svg") if attributes.get("class") == "front"]
    assert [d["aria-label"] for d in drawings] == [
        "Accuracy against energy on moons-4mb",
        "Accuracy against energy on braintta22",
    ]
    assert len(page.of("noscript")) == 1
    assert "Layers of " in page.text


def test_a_duplicate_of_a_front_point_is_not_on_the_front(data: dict[str, Any]) -> None:
    first, second = data["hardware"][0]["front"][:2]
    points = [dict(point) for point in data["points"]]
    points[second] |= {key: points[first][key] for key in ("energy_pj", "validation", "rank")}
    hardware = [dict(entry) for entry in data["hardware"]]
    hardware[0]["front"] = [place for place in hardware[0]["front"] if place != second]
    page = Page(render(data | {"points": points, "hardware": hardware}))
    rows = {a["data-p"]: a.get("class") for a in page.of("tr") if "data-p" in a}
    assert rows[str(first)] == "front"
    assert rows[str(second)] is None
    stored = json.loads(next(s for s in page.scripts if s.startswith("{")))
    assert second not in stored["fronts"][0]


def test_failures_and_assumptions_are_listed(page: Page) -> None:
    assert "out of memory: 2" in page.text
    assert "out of memory at epoch 1" in page.text
    assert "layer features.1 needs 9 Mb, main has 4 Mb; use fewer bits" in page.text
    assert "pooling is free" in page.text


def test_hostile_names_are_text_everywhere() -> None:
    hostile = Page(render(report_data(layers=3, hostile=True)))
    assert hostile.of("script") == [{"type": "application/json", "id": "report-data"}, {}, {}]
    assert not hostile.of("img")
    assert not hostile.of("b")
    assert not any(name.startswith("on") for _, attributes in hostile.elements for name in attributes)
    for name in HOSTILE:
        assert name in hostile.text


def test_a_study_without_results_says_so() -> None:
    data = report_data(layers=2)
    for point in data["points"]:
        point |= {"status": "failed", "reason": "diverged", "validation": None, "test": None, "rank": None}
        point |= {"cost": None, "formats": [], "energy_pj": None, "dram_share": None}
    empty: dict[str, Any] = {"iso_accuracy": [], "iso_energy": [], "dram": [], "proxies": [], "failures": []}
    for entry in data["hardware"]:
        entry |= {
            "front": [],
            "hypervolume": None,
            "hash": None,
            "reference": {"energy_pj": None, "accuracy": 0.1},
        }
    page = Page(render(data | empty))
    assert "No trial on moons-4mb has an accuracy and an energy yet." in page.text
    assert "Nothing to show on braintta22." in page.text
    assert "no front yet" in page.text
    nothing = Page(render(data | empty | {"points": [], "families": []}))
    assert "One family only: there is nothing to compare it with." not in nothing.text
    assert "No family has a trial yet." in nothing.text


def test_sizes_and_times_of_large_studies(tmp_path: Path) -> None:
    # targets of search.md section 7; plotly.js alone is 4.8 MB
    one = ("moons-4mb",)
    for widths, limit_mb in ((40, 6.0), (200, 8.0)):
        data = report_data(widths=widths, layers=53, hardware=one)
        assert len(data["points"]) == 5 * widths
        start = time.perf_counter()
        path = write_report(data, tmp_path / "report.html")
        assert time.perf_counter() - start < 5
        assert path.stat().st_size <= limit_mb * 1e6


def test_the_same_data_gives_the_same_bytes(tmp_path: Path) -> None:
    first = write_report(report_data(layers=2), tmp_path / "one.html")
    second = write_report(report_data(layers=2), tmp_path / "two.html")
    assert first.read_bytes() == second.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["one.html", "two.html"]


def test_lone_surrogates_do_not_stop_the_report(tmp_path: Path) -> None:
    data = report_data(layers=2)
    data["header"]["name"] = "broken \ud800 name"
    assert b"broken ? name" in write_report(data, tmp_path / "r.html").read_bytes()


def test_other_data_are_refused(tmp_path: Path) -> None:
    expected = r"^report data has schema 'other/2', expected 'bitjoule\.report_data/1' as Study\.report_data"
    with pytest.raises(ReportError, match=expected):
        write_report({"schema": "other/2"}, tmp_path / "r.html")
    with pytest.raises(ReportError, match=r"^no folder '.*missing' to write r\.html into; make it first$"):
        write_report(report_data(layers=1), tmp_path / "missing" / "r.html")
    assert not list(tmp_path.iterdir())


def test_a_row_must_fit_its_table() -> None:
    with pytest.raises(ValueError, match=r"^a row has 1 cells, the table 2 columns$"):
        table("t", (Column("a"), Column("b")), [Row(("x",))])
