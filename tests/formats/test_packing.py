"""Packing against a loop over bits; five trits to a byte."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitjoule.formats import pack, pack_trits, parse_format, unpack, unpack_trits


@pytest.mark.parametrize("word_bits", [8, 16, 32, 64])
@pytest.mark.parametrize("bits", range(1, 33))
def test_round_trip_and_bit_order(bits, word_bits):
    for count in (0, 1, 7, 67):
        codes = np.random.default_rng(count).integers(0, 1 << bits, count)
        words = pack(codes, bits, word_bits)
        stream = sum(int(code) << (i * bits) for i, code in enumerate(codes))  # element 0 lowest
        assert words.dtype == f"u{word_bits // 8}" and len(words) == -(-count * bits // word_bits)
        assert sum(int(word) << (i * word_bits) for i, word in enumerate(words)) == stream
        np.testing.assert_array_equal(unpack(words, bits, count), codes)


@pytest.mark.parametrize("name", ["BIPOLAR", "TERNARY", "INT4_NARROW", "FP6_E3M2", "INT24", "FLOAT32"])
def test_codes_of_a_format_survive(name):
    f = parse_format(name)
    codes = f.encode(np.random.default_rng(0).normal(0, 2, (5, 3)))
    np.testing.assert_array_equal(unpack(pack(codes, f.bits, 32), f.bits, 15).reshape(5, 3), codes)
    assert unpack(pack(codes, f.bits), f.bits, 15).dtype == codes.dtype


@given(st.lists(st.integers(-1, 1), max_size=40))
def test_trits(levels):
    packed = pack_trits(levels)
    assert len(packed) == -(-len(levels) // 5)
    np.testing.assert_array_equal(unpack_trits(packed, len(levels)), levels)


def test_errors():
    with pytest.raises(ValueError, match=r"pack: code 4 is not in 0 .. 2\*\*2 - 1 \(first at index \(1,\)\)"):
        pack([0, 4], 2)
    with pytest.raises(ValueError, match="pack: a code has 1 to 32 bits, not 33"):
        pack([0], 33)
    with pytest.raises(ValueError, match="pack: a word has 8, 16, 32, 64 bits, not 12"):
        pack([0], 3, 12)
    with pytest.raises(ValueError, match="unpack: 3 codes of 3 bits need 9 bits, the words hold 8"):
        unpack(np.array([1], np.uint8), 3, 3)
    with pytest.raises(TypeError, match="unpack: words must be unsigned integers as pack gives them, not i"):
        unpack([1], 3, 1)
    with pytest.raises(ValueError, match=r"unpack_trits: byte 243 holds no five trits \(0 .. 242\)"):
        unpack_trits([243], 5)
    with pytest.raises(ValueError, match="unpack_trits: 1 bytes hold 5 trits, not 6"):
        unpack_trits([0], 6)
    with pytest.raises(ValueError, match=r"pack_trits: level 2 is outside -1 .. 1"):
        pack_trits([2])
