"""Formats with scaling: names, storage, thresholds."""

import numpy as np
import pytest

from bitjoule.formats import TRIT_BITS, Scaling, TensorFormat, parse_format, parse_tensor_format


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("INT8/channel*pot", "INT8/channel*pot"),
        ("UINT8+zp", "UINT8+zp"),
        ("int4/GROUP128", "INT4/group128"),
        ("INT8/tensor*float", "INT8"),
        ("INT8_NARROW/channel*dyadic31", "INT8_NARROW/channel*dyadic"),
        ("uint4/channel*dyadic16+ZP", "UINT4/channel*dyadic16+zp"),
        ("fp8_e4m3*pot", "FP8_E4M3*pot"),
        ("fp16_e5m10", "FP16"),
        ("moons4_relu", "MOONS4_RELU"),
    ],
)
def test_prints_canonically_and_parses_back(text, canonical):
    made = parse_tensor_format(text)
    assert str(made) == canonical and parse_tensor_format(canonical) == made
    assert hash(parse_tensor_format(canonical)) == hash(made)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("BIPOLAR+zp", "BIPOLAR has no zero-point, only INT and UINT formats do; drop '+zp'"),
        ("MOONS4/channel", "MOONS4 has the fixed scale 0.125; drop '/channel'"),
        ("INT8/row", "granularity is tensor, channel or group<size>, not 'row'"),
    ],
)
def test_a_wrong_text_says_why(text, error):
    with pytest.raises(ValueError) as raised:
        parse_tensor_format(text)
    assert str(raised.value) == f"unknown tensor format {text!r}: {error}"


def test_the_format_itself_may_be_wrong():
    with pytest.raises(ValueError, match="unknown format 'INT0': INT takes 1 to 16 bits"):
        parse_tensor_format("INT0/channel")
    with pytest.raises(TypeError, match="parse_tensor_format takes a text such as 'INT8/channel', not int"):
        parse_tensor_format(8)


def test_bits_per_element():
    assert parse_tensor_format("INT4/group128").bits_per_element((64, 256)) == 4.25  # of the specification
    assert parse_tensor_format("UINT8+zp").bits_per_element((10,)) == 8 + (32 + 8) / 10
    assert parse_tensor_format("MOONS4").bits_per_element((10,)) == 4
    assert parse_tensor_format("FLOAT32").bits_per_element((10,)) == 32
    assert parse_tensor_format("FP16/channel").overhead_bits((10, 2)) == 320
    assert parse_tensor_format("FP8_E4M3").overhead_bits((10, 2)) == 32
    assert parse_tensor_format("TERNARY").bits_per_element((320,), bits=TRIT_BITS) == pytest.approx(1.7)
    with pytest.raises(ValueError, match=r"INT4: a tensor of shape \(0, 3\) has no elements"):
        parse_tensor_format("INT4").bits_per_element((0, 3))


def test_scale_of_a_threshold():
    assert parse_tensor_format("INT8*pot").scale_of(4.0) == 4 / 128  # TQT: threshold / 2**(b-1)
    assert parse_tensor_format("INT8_NARROW*pot").scale_of(127 / 128) == 2**-7
    assert parse_tensor_format("INT8_NARROW").scale_of(1.0) == np.float32(1 / 127)
    assert parse_tensor_format("UINT4").scale_of(3.0) == np.float32(0.2)
    np.testing.assert_array_equal(parse_tensor_format("MOONS4").scale_of([1.0, 9.0]), [0.125, 0.125])
    with pytest.raises(ValueError, match=r"threshold must be finite and > 0, not 0.0 \(channel 1\)"):
        parse_tensor_format("INT8/channel").scale_of([1.0, 0.0])
    with pytest.raises(ValueError, match="INT1 has no positive level to scale a threshold to; use BIPOLAR"):
        with pytest.warns(UserWarning, match="INT1"):
            one = parse_format("INT1")
        TensorFormat(one, Scaling()).scale_of(1.0)
