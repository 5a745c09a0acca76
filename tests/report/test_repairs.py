"""The repairs study as people read it: rows, CSV, and a page that is inert."""

from __future__ import annotations

import csv
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from bitjoule.report.repairs import (
    ARM_COLUMNS,
    CLAIM_COLUMNS,
    arm_rows,
    arms_csv,
    claim_rows,
    ranking_lines,
    repairs_page,
)
from bitjoule.search.claims import check_claim, read_claims
from bitjoule.search.core_energies import PricedNetwork
from bitjoule.search.repair_results import Estimate
from bitjoule.studies import text_of
from tests.search.test_repair_study import run, small

PRICED = (PricedNetwork("w1a1", 4.17e8, 2.29e8, 1.12e8, 1_814_073_344),)


class Words(HTMLParser):
    """Tags and text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_rows_of_the_terminal(tmp_path: Path) -> None:
    findings, _ = run(small(), tmp_path, broken=("pre_bn",))
    rows = {row[0]: row for row in arm_rows(findings.rows)}
    assert all(len(row) == len(ARM_COLUMNS) for row in rows.values())
    assert rows["+ rprelu"][1:] == ("activation", "82.2 ± 3.2", "+2.00 ± 0.00", "6 uJ", "+1 uJ", "+2.00")
    assert rows["+ grad=approx"][-2:] == ("0", "free")
    assert rows["baseline"][3] == rows["baseline"][5] == rows["baseline"][6] == "-"
    assert rows["+ pre_bn"][2:4] == ("error: broken", "-")
    lines = ranking_lines(findings)
    assert "double residual (double_residual +3.00)" in lines[0]
    assert "Kendall W = 1.00" in lines[1]


def test_the_csv_has_every_arm_and_step(tmp_path: Path) -> None:
    findings, _ = run(small(), tmp_path)
    rows = list(csv.DictReader(arms_csv(findings).splitlines()))
    assert len(rows) == len(findings.rows) + len(findings.greedy)
    rprelu = next(row for row in rows if row["kind"] == "one" and row["repair"] == "rprelu")
    assert float(rprelu["gain_pp"]) == pytest.approx(2.0)
    assert float(rprelu["added_pj"]) == pytest.approx(1e6)
    assert rprelu["seeds"] == "2" and rprelu["against"] == "hpr-w1a1"


def test_the_page_draws_the_front_and_runs_nothing(tmp_path: Path) -> None:
    plan = small()
    findings, _ = run(plan, tmp_path)
    hostile = replace(findings.rows[1], label='"><script>alert(1)</script>', gain=Estimate(1.0, None, 1))
    findings = replace(findings, rows=(findings.rows[0], hostile, *findings.rows[2:]))
    claims = read_claims(text_of("S3", "claims.yaml"), "c")
    checked = [check_claim(claim, {}, "minutes") for claim in claims]
    page = Words(repairs_page(plan, findings, PRICED, checked, {"Data": "digits <8x8>"}))
    assert "script" not in page.tags and page.tags.count("svg") == 1
    assert "alert(1)" in page.text and "digits <8x8>" in page.text
    assert "w2a2 (square), w4a4 (diamond), int8 (triangle-up)" in page.text
    assert all(claim.id in page.text for claim in claims)
    assert [len(row) for row in claim_rows(checked)] == [len(CLAIM_COLUMNS)] * len(claims)
