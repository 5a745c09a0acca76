"""Section 3 without JavaScript: layers and loop nests of the fronts as plain HTML, within bounds."""

from typing import Any

import pytest

from bitjoule.report import layers
from bitjoule.report.layers import static_layers
from tests.report.synthetic import report_data


@pytest.fixture
def data() -> dict[str, Any]:
    return report_data(layers=3)


def with_nests(data: dict[str, Any]) -> list[dict[str, Any]]:
    points = {point["id"]: point for point in data["points"]}
    front = [points[identity] for entry in data["hardware"] for identity in entry["front"]]
    return [point for point in front if point.get("mappings")]


def test_every_front_point_has_its_loop_nests(data: dict[str, Any]) -> None:
    shown = static_layers(data)
    mapped = with_nests(data)
    assert mapped
    assert shown.count('<pre class="nest">') == sum(len(point["mappings"]) for point in mapped)
    mapping = mapped[0]["mappings"][0]
    assert mapping["nest"].splitlines()[0] in shown
    assert f"bound by {mapping['bounding']}, {mapping['certificate']}</summary>" in shown


def test_nests_beyond_the_room_are_said_to_be_left_out(
    data: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = with_nests(data)[0]
    monkeypatch.setattr(layers, "MOST_NEST_TEXT", sum(len(m["nest"]) for m in first["mappings"]))
    shown = static_layers(data)
    assert shown.count('<pre class="nest">') == len(first["mappings"])
    assert shown.count("Its loop nests are left out") == len(with_nests(data)) - 1


def test_names_in_nests_are_text(data: dict[str, Any]) -> None:
    with_nests(data)[0]["mappings"][0]["nest"] = "<script>alert(1)</script>"
    assert "<script>" not in static_layers(data)
