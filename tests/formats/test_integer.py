"""Integer formats: golden vectors I1, I2, I3 of the specification, zero-points, error texts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitjoule.formats import parse_format, signed_integer, ternary, unsigned_integer

# Vector I1, checked against exact rational arithmetic
I1 = [-9, -8.5, -2.5, -1.5, -0.5, -0.4999, 0, 0.5, 1.5, 2.5, 6.5, 7.5, 8, 1e30, np.inf, -np.inf, 1e-310]
I1_LEVELS = {
    "half_even": [-8, -8, -2, -2, 0, 0, 0, 0, 2, 2, 6, 7, 7, 7, 7, -8, 0],
    "half_away": [-8, -8, -3, -2, -1, 0, 0, 1, 2, 3, 7, 7, 7, 7, 7, -8, 0],
    "half_up": [-8, -8, -2, -1, 0, 0, 0, 1, 2, 3, 7, 7, 7, 7, 7, -8, 0],
    "toward_zero": [-8, -8, -2, -1, 0, 0, 0, 0, 1, 2, 6, 7, 7, 7, 7, -8, 0],
    "floor": [-8, -8, -3, -2, -1, -1, 0, 0, 1, 2, 6, 7, 7, 7, 7, -8, 0],
    "ceil": [-8, -8, -2, -1, 0, 0, 0, 1, 2, 3, 7, 7, 7, 7, 7, -8, 1],
}


@pytest.mark.parametrize("rounding", I1_LEVELS)
def test_vector_i1(rounding):
    int4 = parse_format("INT4")
    np.testing.assert_array_equal(int4.quantize(I1, rounding=rounding), I1_LEVELS[rounding])
    np.testing.assert_array_equal(int4.encode(I1, rounding=rounding), np.array(I1_LEVELS[rounding]) & 15)


def test_half_even_is_the_default():
    np.testing.assert_array_equal(parse_format("INT4").quantize(I1), I1_LEVELS["half_even"])


def test_vector_i2_rounds_before_the_zero_point_is_added():
    x = [-2, -0.75, -0.625, -0.125, 0, 0.125, 0.375, 2.9, 3.2, 100]
    levels = [0, 0, 1, 3, 3, 3, 5, 15, 15, 15]
    uint4 = parse_format("UINT4")
    np.testing.assert_array_equal(uint4.quantize(x, 0.25, 3), levels)
    np.testing.assert_array_equal(uint4.encode(x, 0.25, 3), levels)
    np.testing.assert_array_equal(uint4.dequantize([0, 3, 15], 0.25, 3), [-0.75, 0, 3])
    np.testing.assert_array_equal(uint4.decode([0, 3, 15], 0.25, 3), [-0.75, 0, 3])


def test_vector_i3_divides_in_the_precision_of_x():
    x = [0.05, 0.15, 0.25, 0.35, -0.25, 12.75]
    int8 = parse_format("INT8")
    np.testing.assert_array_equal(int8.quantize(np.float32(x), 0.1), [0, 2, 2, 4, -2, 127])
    np.testing.assert_array_equal(int8.quantize(np.float64(x), 0.1), [0, 1, 2, 3, -2, 127])


def test_a_float64_scale_is_cast_to_float32_for_float32_values():
    x = np.float32(np.random.default_rng(0).normal(size=2000))
    int8, scale = parse_format("INT8"), 0.0123456789012345
    expected = np.clip(np.rint(x / np.float32(scale)), -128, 127)
    np.testing.assert_array_equal(int8.quantize(x, scale), expected)


def test_half_even_decides_ternary_like_a_narrow_int2():
    x = np.linspace(-2, 2, 41)
    np.testing.assert_array_equal(ternary().quantize(x), parse_format("INT2_NARROW").quantize(x))
    np.testing.assert_array_equal(ternary().quantize([0.5, -0.5, 0.51]), [0, 0, 1])
    np.testing.assert_array_equal(ternary().to_code([-1, 0, 1]), [3, 0, 1])


def test_wide_integers_saturate_exactly_from_float32():
    for name in ("INT24", "INT32"):
        f = parse_format(name)
        x = np.float32([1e30, -1e30, 2**31, 12345678])
        levels = f.quantize(x)
        np.testing.assert_array_equal(levels[:2], [f.max_level, f.min_level])
        np.testing.assert_array_equal(levels[2:], np.minimum([2**31, 12345678], f.max_level))
        np.testing.assert_array_equal(f.to_level(f.encode(x)), levels)


def test_zero_points_broadcast_per_channel():
    zero_point = np.array([[1], [-2]])
    levels = parse_format("INT4").quantize([[0.0, 1.0], [0.0, -9.0]], 1.0, zero_point)
    np.testing.assert_array_equal(levels, [[1, 2], [-2, -8]])


@pytest.mark.parametrize("zero_point", [16, -1, 2.5, np.nan])
def test_a_zero_point_is_an_integer_of_the_format(zero_point):
    with pytest.raises(ValueError) as error:
        unsigned_integer(4).quantize([0.0], 1.0, zero_point)
    assert str(error.value) == f"UINT4.quantize: zero_point must be an integer in 0 .. 15, not {zero_point}"


def test_to_level_never_aliases_its_input():
    codes = np.array([1, 2, 3])
    levels = unsigned_integer(4).to_level(codes)
    levels[0] = 9
    assert codes[0] == 1


def test_to_code_names_the_first_wrong_level():
    with pytest.raises(ValueError) as error:
        signed_integer(4).to_code([[0, 1], [9, -9]])
    assert str(error.value) == "INT4.to_code: level 9 is outside -8 .. 7 (first at index (1, 0))"
    with pytest.raises(TypeError, match=r"INT4\.to_code: level must hold integers, not float64"):
        signed_integer(4).to_code([1.0])


@given(
    st.integers(1, 16), st.booleans(), st.lists(st.floats(allow_nan=False), max_size=20), st.floats(1e-3, 1e3)
)
def test_quantize_is_round_and_clamp(bits, signed, values, scale):
    f = signed_integer(bits) if signed else unsigned_integer(bits)
    for x, level in zip(values, f.quantize(np.array(values, float), scale).tolist(), strict=True):
        quotient = float(np.float64(x) / np.float64(scale)) if abs(x) < 1e300 else np.sign(x) * 1e300
        assert level == min(max(round(quotient), f.min_level), f.max_level)


@given(st.integers(1, 16).flatmap(lambda b: st.tuples(st.just(b), st.integers(0, 2**b - 1))))
def test_codes_are_twos_complement(case):
    bits, code = case
    level = int(signed_integer(bits).to_level(code))
    assert level % (1 << bits) == code and -(1 << bits) <= 2 * level < 1 << bits
    assert int(unsigned_integer(bits).to_level(code)) == code
