"""Scales: golden dyadic vectors of the specification, snapping, shapes, storage, names."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitjoule.formats import Scaling, dyadic_parts, parse_scaling


# Vectors of the specification: (bits, scale, m, e)
@pytest.mark.parametrize(
    ("bits", "scale", "m", "e"),
    [
        (31, 0.0123, 1690499128, 37),
        (31, 0.5, 1073741824, 31),
        (31, 1.7, 1825361101, 30),
        (31, 0.99999999995, 1073741824, 30),
        (16, 0.0123, 51590, 22),
        (8, 0.0123, 202, 14),
        (8, 1.7, 218, 7),
    ],
)
def test_dyadic_vectors(bits, scale, m, e):
    assert tuple(int(part) for part in dyadic_parts(scale, bits)) == (m, e)
    assert Scaling(kind="dyadic", mantissa_bits=bits).snap(scale) == m * 2.0**-e


scales = st.floats(1e-30, 1e30)


@given(scales, st.integers(2, 31))
def test_dyadic_is_the_nearest_of_its_mantissa(scale, bits):
    m, e = (int(part) for part in dyadic_parts(scale, bits))
    assert 1 << (bits - 1) <= m < 1 << bits
    assert abs(m * 2.0**-e - scale) <= 2.0**-e / 2


@given(scales)
def test_pot_never_shrinks_and_nearest_is_nearest_in_log2(scale):
    up = float(Scaling(kind="pot").snap(scale))
    assert scale <= up < 2 * scale and math.frexp(up)[0] == 0.5
    nearest = float(Scaling(kind="pot").snap(scale, mode="nearest"))
    assert math.frexp(nearest)[0] == 0.5 and abs(math.log2(nearest / scale)) <= 0.5 + 1e-12


def test_pot_keeps_powers_and_stays_in_its_exponents():
    pot = Scaling(kind="pot")
    powers = np.ldexp(1.0, np.arange(-126, 128))
    np.testing.assert_array_equal(pot.snap(powers), powers)
    np.testing.assert_array_equal(pot.snap([1e-300, 1e300]), [2.0**-126, 2.0**127])
    with pytest.raises(ValueError) as error:
        pot.snap(0.5, mode="down")
    assert str(error.value) == "snap: mode must be ceil or nearest, not 'down'"


def test_float_snaps_to_float32():
    np.testing.assert_array_equal(Scaling().snap([0.1, 3.0]), np.float64(np.float32([0.1, 3.0])))
    with pytest.raises(ValueError) as error:
        Scaling().snap([1.0, 1e-60, 1.0])
    assert str(error.value) == "scale must be finite and > 0, not 0.0 (channel 1)"


def test_shapes_and_storage():
    shape = (64, 32, 3, 3)
    assert Scaling().scale_shape(shape) == () and Scaling().overhead_bits(shape) == 32
    assert Scaling("channel").scale_shape(shape) == (64,)
    assert Scaling("channel").scale_shape(shape, axis=1) == (32,)
    assert Scaling("channel", kind="pot").overhead_bits(shape) == 64 * 8
    assert Scaling("channel", kind="dyadic", mantissa_bits=16).overhead_bits(shape, 1) == 32 * 24
    assert Scaling("group", 100).scale_shape(shape) == (64, 3)  # 288 = 100 + 100 + 88
    assert Scaling(zero_point=True).overhead_bits(shape, zero_point_bits=8) == 40
    with pytest.raises(ValueError) as error:
        Scaling(zero_point=True).overhead_bits(shape)
    assert str(error.value) == "overhead_bits: a zero-point has the bits of its Format, not 0"
    with pytest.raises(ValueError) as error:
        Scaling("channel").scale_shape((3,), axis=1)
    assert str(error.value) == "axis 1 is outside a tensor of shape (3,)"


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("group", [1, 3, 4, 7, 100])
def test_group_scales_expand_like_a_loop(axis, group):
    shape = (3, 4, 2)
    scaling = Scaling("group", group)
    scale = np.random.default_rng(3).uniform(1, 2, scaling.scale_shape(shape, axis))
    full = scaling.expand(scale, shape, axis)
    assert full.shape == shape
    rows = np.moveaxis(full, axis, 0).reshape(shape[axis], -1)
    for c, row in enumerate(rows):
        for i, value in enumerate(row):
            assert value == scale[c, i // group]


def test_channel_scales_expand_to_their_axis():
    full = Scaling("channel").expand([1.0, 2.0, 3.0], (5, 3, 2), axis=1)
    np.testing.assert_array_equal(full.reshape(-1), [1, 2, 3])
    assert full.shape == (1, 3, 1) and Scaling().expand(0.5, (2, 2)).shape == ()
    with pytest.raises(ValueError) as error:
        Scaling("channel").expand([1.0], (2, 2))
    assert str(error.value) == "/channel scales of a tensor (2, 2) have the shape (2,), not (1,)"


@given(
    st.one_of(
        st.tuples(st.sampled_from(["tensor", "channel"]), st.just(0)),
        st.tuples(st.just("group"), st.integers(1, 10**6)),
    ),
    st.one_of(
        st.tuples(st.sampled_from(["float", "pot"]), st.just(31)),
        st.tuples(st.just("dyadic"), st.integers(2, 31)),
    ),
    st.booleans(),
)
def test_prints_and_parses(granularity, kind, zero_point):
    scaling = Scaling(*granularity, *kind, zero_point)
    assert parse_scaling(str(scaling)) == parse_scaling(str(scaling).upper()) == scaling


def test_defaults_are_not_printed():
    assert str(parse_scaling("/tensor*float")) == "" and str(parse_scaling("*DYADIC31")) == "*dyadic"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("/row", "granularity is tensor, channel or group<size>, not 'row'"),
        ("/", "granularity is tensor, channel or group<size>, not ''"),
        ("/group", "granularity is tensor, channel or group<size>, not 'group'"),
        ("/group0", "a group holds at least 1 element, not 0; write /group128"),
        ("*log", "scale kind is float, pot or dyadic<bits>, not 'log'"),
        ("*", "scale kind is float, pot or dyadic<bits>, not ''"),
        ("*dyadic1", "dyadic takes 2 to 31 mantissa bits, not 1"),
        ("+zp*pot", "a scaling is [/granularity][*kind][+zp] in this order, not '+zp*pot'"),
    ],
)
def test_a_wrong_suffix_says_what_is_taken(text, reason):
    with pytest.raises(ValueError) as error:
        parse_scaling(text)
    assert str(error.value) == reason


def test_fields_that_do_not_belong_together():
    with pytest.raises(ValueError, match="group_size 4 needs granularity group, not channel"):
        Scaling("channel", 4)
    with pytest.raises(ValueError, match="mantissa_bits 8 needs kind 'dyadic', not 'pot'"):
        Scaling(kind="pot", mantissa_bits=8)
