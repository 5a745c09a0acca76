"""Comparisons in one sentence; forms of search.md section 8."""

import pytest

from bitjoule.search.bootstrap import Interval
from bitjoule.search.compare import Saving
from bitjoule.search.points import Comparison, comparison_text

SAVING = Saving(lo=0.84, hi=0.927, max=1.83, max_at=0.912, min=1.1, min_at=0.84, median=1.52)
INTERVAL = Interval(max=(1.7, 1.83, 1.99), median=(1.41, 1.52, 1.6), n_boot=1000, dropped=0, note="")


def test_comparison_in_one_sentence() -> None:
    # the example line of search.md section 8
    expected = (
        "hpr-w4a4 over int8: up to 1.83x less energy (at 91.2 %), median 1.52x [1.41, 1.60], "
        "overlap 84.0-92.7 %"
    )
    assert comparison_text("hpr-w4a4", "int8", SAVING, INTERVAL) == expected
    assert str(Comparison("hpr-w4a4", "int8", "moons-4mb", False, SAVING, INTERVAL, None)) == expected


def test_what_was_dropped_stands_at_the_end() -> None:
    noted = Interval((1.7, 1.8, 1.9), (1.4, 1.5, 1.6), 100, 7, "7 of 100 replicates were dropped")
    assert comparison_text("a", "b", SAVING, noted).endswith("92.7 %; 7 of 100 replicates were dropped")


def test_comparison_that_saves_nothing() -> None:
    worse = Saving(lo=0.6, hi=0.7, max=0.8, max_at=0.7, min=0.5, min_at=0.6, median=0.6)
    assert comparison_text("int8", "w4a4", worse) == (
        "int8 over w4a4: never less energy, at best 0.80x (at 70.0 %), median 0.60x, overlap 60.0-70.0 %"
    )


def test_comparison_without_overlap_says_why() -> None:
    reason = "no common accuracy: int8 spans 61.0-72.0 %, w2a2 spans 40.0-58.0 %"
    comparison = Comparison("int8", "w2a2", "toy", False, None, None, reason)
    assert str(comparison) == f"int8 over w2a2: {reason}"
    with pytest.raises(ValueError, match="int8 over w2a2: no common accuracy"):
        _ = comparison.median
