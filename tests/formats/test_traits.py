"""Hardware traits: vectors and table of the specification; product and accumulator bounds exhaustively."""

import itertools

import numpy as np
import pytest

from bitjoule.formats import (
    HardwareTraits,
    accumulator_bits,
    csd_count,
    parse_format,
    product_bits,
    registered_formats,
)

SMALL = [
    f
    for f in map(parse_format, registered_formats())
    if f.bits <= 4 and f.kind in ("integer", "levels") and not f.name.startswith("MOONS")
]


# Vectors of the specification
@pytest.mark.parametrize(
    ("w", "a", "fan_in", "bits"),
    [("INT8_NARROW", "UINT8", 1152, 27), ("BIPOLAR", "BIPOLAR", 1152, 12), ("TERNARY", "UINT2", 576, 12)],
)
def test_accumulator_vectors(w, a, fan_in, bits):
    assert accumulator_bits(parse_format(w), parse_format(a), fan_in) == bits


# The table of the specification, section 8
@pytest.mark.parametrize(
    ("name", "traits"),
    [
        ("BIPOLAR", HardwareTraits("xnor", 1, True, 2)),
        ("TERNARY", HardwareTraits("gate", 1, True, 2)),
        ("INT8", HardwareTraits("integer", 4, True, 8)),
        ("UINT4", HardwareTraits("integer", 3, True, 4)),  # 11 = 16 - 4 - 1
        ("MIDRISE3", HardwareTraits("integer", 2, True, 4)),
        ("MOONS4", HardwareTraits("integer", 2, True, 4)),
        ("FP8_E4M3", HardwareTraits("float", 0, True, 0)),
    ],
)
def test_traits(name, traits):
    assert parse_format(name).traits() == traits


@pytest.mark.parametrize(("name", "mean"), [("INT8", 2.777), ("INT4", 1.44)])
def test_mean_terms_over_all_codes(name, mean):
    f = parse_format(name)
    assert f.traits().mean_terms(f.levels()) == pytest.approx(mean, abs=0.005)
    with pytest.raises(ValueError, match="mean_terms: needs at least one level, got an empty array"):
        f.traits().mean_terms([])


@pytest.mark.parametrize("w", SMALL, ids=str)
def test_bounds_are_attained_and_never_exceeded(w):
    for a in SMALL:
        products = np.multiply.outer(w.levels(), a.levels())
        low, high = int(products.min()), int(products.max())
        bits = product_bits(w, a)

        def fits(low, high, n):
            return high < 1 << n if low >= 0 else -(1 << n) <= 2 * low and 2 * high < 1 << n

        assert fits(low, high, bits) and (bits == 1 or not fits(low, high, bits - 1))
        for fan_in in (1, 2, 9):
            bound = fan_in * int(abs(products).max())
            bits = accumulator_bits(w, a, fan_in)
            assert fits(-bound, bound, bits) and not fits(-bound, bound, bits - 1)


def test_known_weights_give_the_l1_bound():
    w, a = parse_format("INT4_NARROW"), parse_format("UINT2")
    for row in itertools.product((-7, 0, 3), repeat=3):
        bits = accumulator_bits(w, a, 3, l1_norm=sum(map(abs, row)))
        worst = max(
            abs(sum(p * q for p, q in zip(row, x, strict=True))) for x in itertools.product((0, 3), repeat=3)
        )
        assert worst < 1 << max(bits - 1, 0) and bits <= accumulator_bits(w, a, 3)


def test_errors():
    int8, fp16 = parse_format("INT8"), parse_format("FP16")
    with pytest.raises(
        ValueError, match="product_bits: FP16 has no integer levels; use a fixed-point format"
    ):
        product_bits(int8, fp16)
    with pytest.raises(ValueError, match="accumulator_bits: fan_in must be >= 1, not 0"):
        accumulator_bits(int8, int8, 0)
    with pytest.raises(ValueError, match="accumulator_bits: l1_norm must be >= 0, not -1"):
        accumulator_bits(int8, int8, 1, l1_norm=-1)


def test_csd_counts_of_eight_bits():
    counts = csd_count(np.arange(-128, 128))
    assert counts.max() == 4 and counts.mean() == pytest.approx(2.777, abs=5e-4)
