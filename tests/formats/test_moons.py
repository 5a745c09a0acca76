"""MOONS formats: golden vector M and the published code's formula."""

import numpy as np
import pytest

from bitjoule.formats import moons, parse_format

# Vector M of the specification
W = [-2, -1, -0.9375, -0.5625, -0.0625, 0, 0.0625, 0.1875, 0.3125, 0.9, 0.95, 1, 3]


def test_vector_m():
    np.testing.assert_array_equal(moons(4).quantize(W), [-8, -8, -8, -4, 0, 0, 0, 2, 2, 7, 7, 7, 7])
    np.testing.assert_array_equal(moons(4, relu=True).quantize(W), [0, 0, 0, 0, 0, 0, 0, 2, 2, 7, 7, 7, 7])


def test_moons1_sends_zero_down():
    f = parse_format("MOONS1")
    np.testing.assert_array_equal(f.quantize([-2, -0.0, 0.0, 1e-300]), [-1, -1, -1, 1])
    np.testing.assert_array_equal(f.to_code([-1, 1]), [0, 1])
    assert f.fixed_scale == 1 and f.traits().multiplier == "xnor"


@pytest.mark.parametrize("bits", range(2, 17))
def test_both_formulas_of_the_published_code(bits):
    m = 1 << (bits - 1)
    x = np.arange(-256, 257) / 64
    weights = np.clip(np.round(m * x), -m, m - 1) / m
    hard_sigmoid = np.clip((x + 1) / 2, 0, 1)
    relu = np.clip(2 * np.round(hard_sigmoid * 2**bits) / 2**bits - 1, 0, 1 - 2.0 ** (1 - bits))
    for f, expected in ((moons(bits), weights), (moons(bits, relu=True), relu)):
        np.testing.assert_array_equal(f.dequantize(f.quantize(x)), expected)
        np.testing.assert_array_equal(f.decode(f.encode(x)), expected)


def test_relu_of_two_bits_is_zero_and_a_half():
    f = parse_format("MOONS2_RELU")
    np.testing.assert_array_equal(f.dequantize(f.levels()), [0, 0.5])


def test_another_scale_is_refused():
    text = (
        "MOONS4 has the fixed scale 0.125, not 0.1: "
        "leave scale out, or use an INT format for a scale of your own"
    )
    f = moons(4)
    for call in (f.quantize, f.encode, f.dequantize, f.decode):
        with pytest.raises(ValueError) as error:
            call([1], 0.1)
        assert str(error.value) == text
    np.testing.assert_array_equal(f.quantize([0.5], np.float32([0.125])), [4])
