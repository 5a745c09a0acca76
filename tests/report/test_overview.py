"""The sentence at the head of a report: a finding about formats, not about parents or lone points."""

from typing import Any

from bitjoule.report.overview import head, headline
from tests.report.synthetic import report_data


def pair(a: str, b: str, median: float, hardware: str = "moons-4mb") -> dict[str, Any]:
    saving = {"lo": 0.6, "hi": 0.9, "max": 9.0, "max_at": 0.7, "min": 1.0, "min_at": 0.6, "median": median}
    return {"hardware": hardware, "a": a, "b": b, "saving": saving, "attained": None, "interval": None}


def data(pairs: list[dict[str, Any]], **points: int) -> dict[str, Any]:
    """`points` finished per family on moons-4mb; every other family has ten on each hardware."""
    names = {name for row in pairs for name in (row["a"], row["b"])}
    done = [
        {"hardware": row["hardware"], "family": name, "status": status}
        for row in pairs[:1]
        for name in names
        for count in [points.get(name, 10)]
        for status in ["done"] * count + ["failed"] * (10 - count)
    ]
    return {"iso_accuracy": pairs, "points": done}


def said(document: dict[str, Any]) -> str:
    return headline(document, "moons-4mb")


def test_float32_parents_make_no_headline_where_another_pair_does() -> None:
    found = said(data([pair("w4a4", "float32", 30.0), pair("w4a4", "int8", 2.0)]))
    assert found.startswith("Largest median saving, on moons-4mb: w4a4 over int8: up to 9.00x")
    assert "w4a4 over float32" in said(data([pair("w4a4", "float32", 30.0)]))


def test_families_of_one_or_two_points_come_second() -> None:
    pairs = [pair("w2a2", "int8", 5.0), pair("w4a4", "int8", 2.0)]
    assert "w2a2 over int8" in said(data(pairs))
    assert "w4a4 over int8" in said(data(pairs, w2a2=2))
    assert "w2a2 over int8" in said(data(pairs, int8=2))


def test_without_a_comparison_there_is_no_headline() -> None:
    assert said({"iso_accuracy": [{"saving": None, "hardware": "moons-4mb"}], "points": []}) == ""


def test_every_hardware_has_a_headline_of_its_own() -> None:
    both = data([pair("w2a2", "int8", 5.0), pair("w4a4", "int8", 2.0, "eyeriss")])
    both["points"] += [point | {"hardware": "eyeriss"} for point in both["points"]]
    assert "on moons-4mb: w2a2 over int8" in headline(both, "moons-4mb")
    assert "on eyeriss: w4a4 over int8" in headline(both, "eyeriss")
    assert headline(both, "simba") == ""


def test_the_greatest_median_is_quoted_per_hardware() -> None:
    whole = report_data(layers=2)
    shown = head(whole)
    for place, entry in enumerate(whole["hardware"]):
        rows = [row for row in whole["iso_accuracy"] if row["saving"] and row["hardware"] == entry["name"]]
        best = max(rows, key=lambda row: row["saving"]["median"])
        assert f"{best['a']} over {best['b']}: up to" in headline(whole, entry["name"])
        assert f'<p class="finding" data-hardware="{place}">' in shown
