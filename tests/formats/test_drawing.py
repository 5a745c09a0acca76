"""Levels as text."""

import pytest

from bitjoule.formats import parse_format, registered_formats
from bitjoule.formats.drawing import level_rows, number_line


def test_a_line_by_hand():
    assert number_line(parse_format("POT3"), 17) == ("|---|-|-|-|-|---|", "-4      0       4")
    assert number_line(parse_format("UINT2"), 10) == ("|--|--|--|", "0        3")
    assert number_line(parse_format("INT4"), 9)[0] == "|2222222|"  # cells of 15/8 levels
    with pytest.raises(ValueError, match="number_line: width must be at least 9 characters, not 8"):
        number_line(parse_format("POT3"), 8)


@pytest.mark.parametrize("name", registered_formats(self_scaling=True))
def test_lines_and_rows_hold_every_level(name):
    f = parse_format(name)
    rows, (line, labels) = level_rows(f), number_line(f, 73)
    if f.kind == "vector" or (f.bits > 8 and (f.kind != "levels" or len(f.levels()) > 256)):
        assert rows == () and (line, labels) == ("", "")
        return
    assert [row.level for row in rows] == f.levels().tolist()
    assert len(line) == len(labels) == 73 and line[0] != "-" and line[-1] != "-"
    assert sum(int(c) if c.isdigit() else c == "|" for c in line) + 9 * line.count("#") <= len(rows)
    for row in rows:
        assert f.to_level(int(row.code, 2)) == row.level and len(row.code) == f.bits
        if f.kind not in ("float", "block"):
            assert eval(row.terms or "0") == row.level  # the terms add up


def test_terms_of_apot_are_entries_of_its_tables():
    rows = {row.level: row.terms for row in level_rows(parse_format("APOT4"))}
    assert rows[6] == "4 + 2" and rows[-3] == "-(1 + 2)" and rows[-8] == "-8" and rows[0] == ""
    assert {row.level: row.terms for row in level_rows(parse_format("SPOT2"))}[7] == "+8 -1"
