"""Microscaling: vectors of the specification, storage, names."""

import numpy as np
import pytest

from bitjoule.formats import parse_format, parse_tensor_format, registered_formats


@pytest.mark.parametrize(
    ("name", "x", "k", "levels"),
    [
        ("MXFP4_E2M1", [0.1, -3, 7, 0.3, 100, 0], 4, [0, -0.0, 0.5, 0, 6, 0]),
        ("MXFP8_E4M3", [0.1, -3, 7, 0.3, 1000, 0], 1, [0.05078125, -1.5, 3.5, 0.15625, 448, 0]),
        ("MXINT8", [1.0, -0.5, 1.99, 0.01], 0, [1.0, -0.5, 127 / 64, 1 / 64]),
    ],
)
def test_vectors(name, x, k, levels):
    f = parse_format(name)
    assert f.block_exponents(x).tolist() == [k]
    got = f.quantize(np.array(x, float))
    assert got.tolist() == levels and np.signbit(got).tolist() == np.signbit(levels).tolist()


def test_storage():
    assert parse_format("MXFP4_E2M1").bits_per_element == 4.25
    four = parse_tensor_format("MXFP4_E2M1")
    assert four.bits_per_element((16, 64)) == 4.25 and four.overhead_bits((16, 3, 3, 3)) == 16 * 8
    with pytest.raises(ValueError, match="MXINT8 has a scale of its own per block; drop '/channel'"):
        parse_tensor_format("MXINT8/channel")
    with pytest.raises(ValueError, match="blocks choose their own scale"):
        four.scale_of(1.0)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("MXFP4", "MX is MXINT8 or MXFP<bits>_E<exponent bits>M<mantissa bits>, such as MXFP4_E2M1"),
        ("MXFP5_E2M1", "1 sign, 2 exponent and 1 mantissa bits are 4 bits, MX takes up to 8"),
        ("MXFP9_E4M4", "1 sign, 4 exponent and 4 mantissa bits are 9 bits, MX takes up to 8"),
    ],
)
def test_names_that_are_wrong(name, reason):
    with pytest.raises(ValueError) as error:
        parse_format(name)
    assert str(error.value) == f"unknown format {name!r}: {reason}"


def test_schemes_attach_scales_and_do_not_name_blocks():
    assert "MXINT8" not in registered_formats() and "MXINT8" in registered_formats(self_scaling=True)
