"""Formats as plain data."""

import json

import pytest

from bitjoule.formats import describe, parse_format, registered_formats


@pytest.mark.parametrize("name", registered_formats(self_scaling=True))
def test_is_json(name):
    described = describe(parse_format(name))
    assert json.loads(json.dumps(described)) == described and described["name"] == name


def test_an_integer():
    assert describe(parse_format("INT4_NARROW")) == {
        "name": "INT4_NARROW",
        "bits": 4,
        "levels": 15,
        "min": -7,
        "max": 7,
        "smallest_positive": 1,
        "signed": True,
        "has_zero": True,
        "kind": "integer",
        "fixed_scale": None,
        "unused_codes": 1,
        "special_codes": None,
        "traits": {"multiplier": "integer", "max_terms": 2, "regular": True, "level_bits": 4},
    }


def test_wide_formats_are_counted_without_listing():
    assert describe(parse_format("INT32"))["levels"] == 1 << 32
    assert describe(parse_format("FLOAT32"))["special_codes"] == {
        "nan": 2 * (2**23 - 1),
        "infinite": 2,
        "negative_zero": 1,
    }
