"""Powers of two: the vectors of the specification, names, ranges of INQ."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitjoule.formats import HardwareTraits, inq_exponents, parse_format, power_of_two, unsigned_power_of_two

V = [0, 0.49, 0.5, 0.51, 0.75, 1.41, 1.42, 1.5, 2.9, 3, 5.6, 5.7, 6, 47.9, 48, 64, 90, 1e9, -0.5, -1.5, -24]


def both_signs(*magnitudes):
    return [*(-m for m in reversed(magnitudes) if m), *magnitudes]


# Vectors of the specification, section 6
@pytest.mark.parametrize(
    ("name", "levels"),
    [
        ("POT3", both_signs(0, 1, 2, 4)),
        ("POT4", both_signs(0, 1, 2, 4, 8, 16, 32, 64)),
        ("POT3_INQ", both_signs(0, 1, 2)),
        ("POT5_INQ", both_signs(0, 1, 2, 4, 8, 16, 32, 64, 128)),
        ("POT2_ZF", both_signs(1, 2)),
        ("POT3_ZF", both_signs(1, 2, 4, 8)),
        ("UPOT2", [0, 1, 2, 4]),
    ],
)
def test_levels(name, levels):
    assert parse_format(name).levels().tolist() == levels


@pytest.mark.parametrize(
    ("name", "levels"),
    [
        ("POT4", [0, 0, 1, 1, 1, 1, 1, 2, 2, 4, 4, 4, 8, 32, 64, 64, 64, 64, -1, -2, -32]),
        ("POT4_LOG", [0, 0, 0, 0, 1, 1, 2, 2, 4, 4, 4, 8, 8, 64, 64, 64, 64, 64, 0, -2, -32]),
        ("POT4_DS", [0, 1, 1, 1, 1, 1, 2, 2, 4, 4, 4, 8, 8, 64, 64, 64, 64, 64, -1, -2, -32]),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rounding(name, levels, dtype):
    f = parse_format(name)
    assert f.quantize(np.array(V, dtype)).tolist() == levels
    assert f.to_level(f.encode(np.array(V, dtype))).tolist() == levels


def test_rounding_is_an_option_of_quantize():
    pot, log = parse_format("POT4"), parse_format("POT4_LOG")
    np.testing.assert_array_equal(pot.quantize(V, rounding="log"), log.quantize(V))
    np.testing.assert_array_equal(log.quantize(V, rounding="nearest"), pot.quantize(V))


def test_zero_free():
    x = [0, -0.0, -0.001, 1.49, 1.5, 3, -6, 100]
    assert parse_format("POT3_ZF").quantize(x).tolist() == [1, 1, -1, 1, 2, 4, -8, 8]


@pytest.mark.parametrize(
    ("bits", "n2", "levels"),
    [
        (3, -1, [1, -0.5, 0.5, 0.5, 0, 0, 0, 0, 0, 0]),
        (4, -3, [1, -0.5, 0.5, 0.25, -0.25, 0.125, 0, 0, 0, 0]),
        (5, -7, [1, -0.5, 0.5, 0.25, -0.25, 0.125, 0.0625, -0.03125, 0.015625, 0]),
    ],
)
def test_inq(bits, n2, levels):
    w = np.array([0.83, -0.61, 0.42, 0.27, -0.19, 0.11, 0.06, -0.04, 0.02, 0])
    f, scale = parse_format(f"POT{bits}_INQ"), 2.0**n2
    assert inq_exponents(0.83, bits) == (0, n2)
    assert f.dequantize(f.quantize(w, scale), scale).tolist() == levels


@given(st.floats(1e-30, 1e30), st.integers(2, 7))
def test_the_largest_weight_of_inq_is_below_the_upper_edge(s, bits):
    n1, n2 = inq_exponents(s, bits)
    assert 0.75 * 2.0**n1 <= s < 1.5 * 2.0**n1
    f = parse_format(f"POT{bits}_INQ")
    assert f.max_level * 2.0**n2 == 2.0**n1 and f.quantize(s, 2.0**n2) == f.max_level


def test_names():
    assert str(parse_format("pot4_ds_log")) == "POT4_DS"  # DeepShift always rounds the logarithm
    assert str(parse_format("pot4_zf_log")) == "POT4_ZF_LOG" and str(parse_format("upot3_log")) == "UPOT3_LOG"
    assert power_of_two(4) == parse_format("POT4") and unsigned_power_of_two(2).min_level == 0


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("POT1", "POT takes 2 to 6 bits (7 with _INQ)"),
        ("POT7", "POT takes 2 to 6 bits (7 with _INQ)"),
        ("POT8_INQ", "POT takes 2 to 6 bits (7 with _INQ)"),
        ("POT", "POT takes 2 to 6 bits (7 with _INQ)"),
        ("POT4_XY", "POT knows the flavours _INQ, _DS, _ZF and _LOG, not _XY"),
        ("UPOT6", "UPOT takes 2 to 5 bits"),
    ],
)
def test_names_that_are_wrong(name, reason):
    with pytest.raises(ValueError) as error:
        parse_format(name)
    assert str(error.value) == f"unknown format {name!r}: {reason}"


@pytest.mark.parametrize("bad", [0.0, -1.0, math.inf, math.nan])
def test_inq_needs_a_magnitude(bad):
    with pytest.raises(ValueError, match="inq_exponents: the largest magnitude must be finite and > 0, not"):
        inq_exponents(bad, 4)
    with pytest.raises(ValueError, match=r"inq_exponents: POT with _INQ takes 2 to 7 bits, not 8"):
        inq_exponents(1.0, 8)


def test_deepshift_rounds_no_other_way():
    with pytest.raises(ValueError, match=r"POT4_DS\.quantize: rounding must be log, not 'nearest'"):
        parse_format("POT4_DS").quantize([1.0], rounding="nearest")


def test_traits():
    assert parse_format("POT4").traits() == HardwareTraits("shift", 1, True, 8)
    assert parse_format("POT4_INQ").traits() == HardwareTraits("shift", 1, True, 5)
    assert parse_format("UPOT3").traits() == HardwareTraits("shift", 1, True, 7)
