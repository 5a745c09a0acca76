"""BIPOLAR and MIDRISE."""

import numpy as np
import pytest

from bitjoule.formats import parse_format


def test_bipolar_sends_zero_up():
    f = parse_format("BIPOLAR")
    np.testing.assert_array_equal(f.quantize([-1e-300, -0.0, 0.0, 3, -np.inf]), [-1, 1, 1, 1, -1])
    np.testing.assert_array_equal(f.to_code([-1, 1]), [0, 1])


def test_midrise_codes_and_ties_to_the_larger_magnitude():
    f = parse_format("MIDRISE3")
    np.testing.assert_array_equal(f.levels(), [-7, -5, -3, -1, 1, 3, 5, 7])
    np.testing.assert_array_equal(f.to_level(np.arange(8)), f.levels())
    np.testing.assert_array_equal(f.quantize([0, -0.0, 2, -2, 1.99, 4, -6, 8]), [1, 1, 3, -3, 1, 5, -7, 7])


def test_midrise1_has_the_levels_of_bipolar():
    x = np.linspace(-3, 3, 61)
    one, bipolar = parse_format("MIDRISE1"), parse_format("BIPOLAR")
    np.testing.assert_array_equal(one.encode(x), bipolar.encode(x))
    np.testing.assert_array_equal(one.levels(), bipolar.levels())
    assert one != bipolar


def test_even_levels_are_refused():
    with pytest.raises(ValueError) as error:
        parse_format("MIDRISE2").to_code([1, 2])
    assert str(error.value) == "MIDRISE2.to_code: level 2 is even, the levels are odd (first at index (1,))"
