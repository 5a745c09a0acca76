"""Additive powers of two: levels and vectors of the specification, codes that a decoder of wires reads."""

import itertools

import numpy as np
import pytest

from bitjoule.formats import HardwareTraits, apot, parse_format, uapot

LEVELS = {
    "APOT2": [0, 1],
    "APOT3": [0, 1, 2, 4],
    "APOT4": [0, 1, 2, 3, 4, 6, 8, 10],
    "APOT5": [0, 1, 2, 3, 4, 6, 8, 9, 12, 16, 18, 24, 32, 33, 36, 48],
    "APOT6": [*range(9), 10, 12, 14, 16, 17, 20, 21, 24, 28, 32, 34, 36, 38, 48, 52, 64, 65, 68, 69, 72, 76,
              96, 100],
}  # fmt: skip


@pytest.mark.parametrize("name", LEVELS)
def test_levels(name):
    levels = LEVELS[name]
    assert parse_format(name).levels().tolist() == [*(-v for v in levels[:0:-1]), *levels]


def test_unsigned_levels():
    assert parse_format("UAPOT3").levels().tolist() == [0, 1, 2, 3, 4, 6, 8, 10]
    assert uapot(6) == parse_format("uapot6") and apot(7).max_level == uapot(6).max_level == 448


def test_vector():
    x = [0.5, 1.5, 2.5, 5, 7, 9, -5, 11, 3.14159]
    assert parse_format("APOT4").quantize(x).tolist() == [1, 2, 3, 6, 8, 10, -6, 10, 3]
    assert parse_format("UAPOT3").quantize([-5.0, -np.inf, 5.0]).tolist() == [0, 0, 6]


@pytest.mark.parametrize("bits", range(2, 7))
def test_all_magnitudes_differ_and_the_code_is_the_indices(bits):
    f = uapot(bits)
    widths = [len(table).bit_length() - 1 for table in f.tables]
    assert sum(widths) == bits and len(f.levels()) == 1 << bits
    for indices in itertools.product(*(range(len(table)) for table in f.tables)):
        code = sum(i << sum(widths[:place]) for place, i in enumerate(indices))
        level = sum(table[i] for table, i in zip(f.tables, indices, strict=True))
        assert int(f.to_level(code)) == level and int(f.to_code(level)) == code
        assert int(apot(bits + 1).to_code(-level)) == (code | 1 << bits if level else 0)


def test_the_published_sets():
    """Li et al.: every table of B bits in units of 2**-j, divided by its largest sum, is the same set."""
    a, b = [0, 2**0, 2**-2, 2**-4], [0, 2**-1, 2**-3, 2**-5]
    published = sorted(p + q for p in a for q in b)
    f = uapot(4)
    np.testing.assert_array_equal(f.levels() / f.max_level, np.array(published) / max(published))


@pytest.mark.parametrize(
    ("name", "terms", "bits"), [("APOT2", 1, 2), ("APOT3", 1, 4), ("APOT4", 2, 5), ("APOT5", 2, 7),
                                ("APOT6", 3, 8), ("APOT7", 3, 10), ("UAPOT4", 2, 6)],
)  # fmt: skip
def test_traits(name, terms, bits):
    assert parse_format(name).traits() == HardwareTraits("shift_add", terms, True, bits)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("APOT8", "APOT takes 2 to 7 bits"),
        ("APOT1", "APOT takes 2 to 7 bits"),
        ("UAPOT7", "UAPOT takes 2 to 6 bits"),
    ],
)
def test_names_that_are_wrong(name, reason):
    with pytest.raises(ValueError) as error:
        parse_format(name)
    assert str(error.value) == f"unknown format {name!r}: {reason}"
