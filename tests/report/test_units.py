"""Numbers for people, in Python and (test_page.py) in the browser alike."""

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

import bitjoule.report.columns
import bitjoule.report.front_energy
import bitjoule.report.markup
import bitjoule.report.palette
import bitjoule.report.progress
import bitjoule.report.select
import bitjoule.report.tables
import bitjoule.report.ticks
import bitjoule.report.units
from bitjoule.report.units import accuracy_text, count_text, energy_text, percent_text, size_text


@pytest.mark.parametrize(
    ("energy_pj", "text"),
    [
        (0.0, "0 pJ"),
        (0.003, "0.003 pJ"),
        (123.0, "123 pJ"),
        (999.4, "999 pJ"),
        (999.6, "0.001 uJ"),
        (1.25e6, "1.25 uJ"),
        (999.7e6, "1 mJ"),
        (3.4e9, "3.4 mJ"),
        (12.25e6, "12.3 uJ"),
        (5e12, "5 J"),
        (7.5e15, "7500 J"),
        (None, "-"),
    ],
)
def test_energy(energy_pj: float | None, text: str) -> None:
    assert energy_text(energy_pj) == text


@given(st.floats(1e-3, 1e14))
def test_energy_keeps_three_digits(energy_pj: float) -> None:
    number, unit = energy_text(energy_pj).split()
    scale = {"pJ": 1.0, "uJ": 1e6, "mJ": 1e9, "J": 1e12}[unit]
    assert float(number) * scale == pytest.approx(energy_pj, rel=5.1e-3)


def test_other_units() -> None:
    assert percent_text(0.912) == "91.2 %"
    assert accuracy_text(0.925, 0.004) == "92.5 ± 0.4 %"
    assert size_text(8 * 1024**3) == "1 GiB"
    assert size_text(8 * 5 * 1024**4) == "5120 GiB"
    assert count_text(2.5e12) == "2.5 T"
    assert {percent_text(None), accuracy_text(None), size_text(None), count_text(None)} == {"-"}


@pytest.mark.parametrize(
    "module",
    [
        bitjoule.report.columns,
        bitjoule.report.front_energy,
        bitjoule.report.markup,
        bitjoule.report.palette,
        bitjoule.report.progress,
        bitjoule.report.select,
        bitjoule.report.tables,
        bitjoule.report.ticks,
        bitjoule.report.units,
    ],
    ids=lambda module: module.__name__,
)
def test_examples_in_docstrings(module: object) -> None:
    failures, tried = doctest.testmod(module)  # type: ignore[arg-type]
    assert tried
    assert not failures
