"""The words of the terminal; forms of search.md section 8."""

import pytest

from bitjoule.report.tables import FRONT_COLUMNS, comparison_text, front_lines, front_rows
from bitjoule.search.bootstrap import Interval
from bitjoule.search.compare import NoOverlap, Saving
from tests.report.synthetic import report_data

SAVING = Saving(lo=0.84, hi=0.927, max=1.83, max_at=0.912, min=1.1, min_at=0.84, median=1.52)
INTERVAL = Interval(max=(1.7, 1.83, 1.99), median=(1.41, 1.52, 1.6), n_boot=1000, dropped=0, note="")


def test_comparison_in_one_sentence() -> None:
    # the example line of search.md section 8
    assert comparison_text("hpr-w4a4", "int8", SAVING, INTERVAL) == (
        "hpr-w4a4 over int8: up to 1.83x less energy (at 91.2 %), median 1.52x [1.41, 1.60], "
        "overlap 84.0-92.7 %"
    )


def test_comparison_that_saves_nothing() -> None:
    worse = Saving(lo=0.6, hi=0.7, max=0.8, max_at=0.7, min=0.5, min_at=0.6, median=0.6)
    assert comparison_text("int8", "w4a4", worse) == (
        "int8 over w4a4: never less energy, at best 0.80x (at 70.0 %), median 0.60x, overlap 60.0-70.0 %"
    )


def test_comparison_without_overlap_says_why() -> None:
    reason = "no common accuracy: int8 spans 0.61-0.72, w2a2 spans 0.40-0.58"
    assert comparison_text("int8", "w2a2", NoOverlap(reason)) == f"int8 over w2a2: {reason}"


def test_front_rows_fit_their_columns() -> None:
    data = report_data(layers=2)
    lines = front_lines(data)
    assert [line.energy_pj for line in lines] == sorted(line.energy_pj for line in lines)
    rows = front_rows(lines)
    assert len(rows) == len(data["hardware"][0]["front"])
    assert all(len(row) == len(FRONT_COLUMNS) for row in rows)
    assert {line.family for line in front_lines(data, hardware="braintta22", family="int8")} <= {"int8"}


def test_unknown_names_are_answered_with_the_known() -> None:
    data = report_data(layers=2)
    with pytest.raises(
        ValueError, match=r"^no hardware 'tpu' in this study; hardware: moons-4mb, braintta22$"
    ):
        front_lines(data, hardware="tpu")
    with pytest.raises(
        ValueError, match=r"^no family 'int9' in this study; families: fp16, hpr-w4a4, int8, w2a2, w4a4$"
    ):
        front_lines(data, family="int9")
