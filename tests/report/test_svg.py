"""The static plot is well-formed XML that shows every point and hides every hostile name."""

from xml.etree import ElementTree

import pytest

from bitjoule.report.palette import Style
from bitjoule.report.svg import Mark, Series, front_svg
from tests.report.synthetic import HOSTILE


def series(name: str = "w4a4") -> Series:
    front = (Mark(1e6, 0.90, 0.004, name), Mark(3e6, 0.93, None, name))
    return Series(name, Style("#0072B2", "circle"), (Mark(4e6, 0.92, None, name),), front)


def test_every_point_is_drawn_and_told() -> None:
    drawing = ElementTree.fromstring(front_svg("front", [series()]))
    titles = [title.text for title in drawing.iter("title")]
    assert titles == ["front", "w4a4", "w4a4", "w4a4"]
    lines = [path for path in drawing.iter("path") if path.get("fill") == "none"]
    assert len(lines) == 1
    labels = [text.text for text in drawing.iter("text")]
    assert "2 uJ" in labels
    assert "92 %" in labels


def test_cheaper_is_left_and_better_is_up() -> None:
    drawing = ElementTree.fromstring(front_svg("front", [series()]))
    places = [group.get("transform", "")[10:-1].split() for group in drawing.iter("g")]
    (_, _), (x1, y1), (x2, y2) = [(float(x), float(y)) for x, y in places]
    assert x1 < x2
    assert y1 > y2


@pytest.mark.parametrize("name", HOSTILE)
def test_names_are_text(name: str) -> None:
    drawing = ElementTree.fromstring(front_svg(name, [series(name)]))
    assert {title.text for title in drawing.iter("title")} == {name}
    assert not list(drawing.iter("script"))


def test_a_single_point_has_axes_too() -> None:
    one = Series("int8", Style("#0072B2", "circle"), (), (Mark(2e6, 0.9, None, "int8"),))
    assert "<circle" not in front_svg("one", [one])
    assert len(list(ElementTree.fromstring(front_svg("one", [one])).iter("g"))) == 1


def test_nothing_to_draw_is_an_error() -> None:
    with pytest.raises(
        ValueError, match=r"^nothing to draw in 'front': no point has an energy and an accuracy$"
    ):
        front_svg("front", [])
