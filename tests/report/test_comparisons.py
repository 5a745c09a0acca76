"""Section 4: what is to be known of intervals stands together, not a line per pair."""

from typing import Any

from bitjoule.report.comparisons import comparison_section
from tests.report.synthetic import report_data

NOTE = "139 of 1000 replicates had no common accuracy and were dropped"


def noted(count: int) -> dict[str, Any]:
    data = report_data(layers=1)
    first = data["hardware"][0]["name"]
    rows = [row for row in data["iso_accuracy"] if row["hardware"] == first and row["interval"]]
    for row in rows[:count]:
        row["interval"]["note"] = NOTE
    return data


def test_dropped_replicates_are_told_in_one_block() -> None:
    shown = comparison_section(noted(2))
    assert shown.count("<summary>2 intervals leave out replicates without a common accuracy</summary>") == 1
    assert shown.count(NOTE) == shown.count(f": {NOTE}</li>") == 2
    assert "1 interval leaves out replicates" in comparison_section(noted(1))


def test_without_notes_there_is_no_block() -> None:
    assert "leave out replicates" not in comparison_section(noted(0))
