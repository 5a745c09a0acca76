"""k signed powers of two: counts, vectors, the greedy search against a plain one."""

import itertools

import numpy as np
import pytest

from bitjoule.formats import HardwareTraits, greedy_powers, parse_format, spot

COUNTS = {(1, 4): 9, (2, 4): 17, (2, 5): 29, (2, 7): 65, (2, 8): 89, (3, 7): 121, (3, 8): 209, (4, 8): 257}


@pytest.mark.parametrize(("pair", "count"), COUNTS.items())
def test_level_counts(pair, count):
    k, n = pair
    levels = spot(k, n).levels().tolist()
    assert len(levels) == count
    powers = [0, *(sign << e for e in range(n) for sign in (1, -1))]
    sums = {sum(pick) for pick in itertools.combinations_with_replacement(powers, k)}
    assert set(levels) == {v for v in sums if abs(v) <= 1 << n - 1}


def test_what_is_missing():
    assert set(range(17)) - set(spot(2, 5).levels().tolist()) == {11, 13}
    assert set(range(65)) - set(spot(3, 7).levels().tolist()) == {43, 45, 51, 53}
    assert spot(1).levels().tolist() == parse_format("POT4").levels().tolist()


def test_vector():
    x = [11, 11.5, 13, 13.5, 22, 25, 26, 44, 45, 52, 57, 61, 70, -11.2, 0.5, 0.49]
    expected = [12, 12, 14, 14, 24, 24, 28, 48, 48, 56, 56, 62, 64, -12, 1, 0]
    assert parse_format("SPOT2").quantize(np.array(x, float)).tolist() == expected
    assert parse_format("SPOT2").quantize(13.0, rounding="greedy") == 12


@pytest.mark.parametrize(("k", "n"), [(1, 7), (2, 7), (3, 7), (3, 8)])
def test_greedy_is_as_near_as_nearest_on_quarters(k, n):
    f = spot(k, n)
    x = np.arange(-(1 << n + 1), (1 << n + 1) + 1) / 4
    x = x[np.abs(x) <= 1 << n - 1]
    nearest, greedy = f.quantize(x), f.quantize(x, rounding="greedy")
    np.testing.assert_array_equal(np.abs(x - nearest), np.abs(x - greedy))
    assert np.isin(greedy, f.levels()).all()


def test_greedy_is_the_published_search():
    x = np.random.default_rng(0).normal(0, 30, 2000)
    for k, n in ((1, 7), (2, 7), (3, 9), (4, 8)):
        expected = []
        for v in np.clip(x, -(2.0 ** (n - 1)), 2.0 ** (n - 1)):
            r, total = v, 0
            for _ in range(k):
                if abs(r) < 0.5:
                    break
                e = max(0, min(n - 1, int(np.floor(np.log2(4 * abs(r) / 3)))))
                total += int(np.sign(r)) * 2**e
                r -= np.sign(r) * 2.0**e
            expected.append(total)
        assert greedy_powers(x, k, n).tolist() == expected


def test_code_fields():
    f = spot(2)  # 7 = 8 - 1: the larger exponent in the low field, sign above the index
    assert f.bits == 8 and spot(1).bits == 4 and spot(3, 9).bits == 15
    assert int(f.to_code(7)) == 4 | (0b1001 << 4) and int(f.to_code(-64)) == 0b1111
    with pytest.raises(ValueError, match="code 0x11 is unused"):
        f.to_level(0x11)
    assert f.to_level(0x11, strict=False) == 2


def test_row_scale():
    f = spot(2)
    assert f.row_scale([1.0, 0.51, 0.5, 0.0]).tolist() == [2.0**-6, 2.0**-6, 2.0**-7, 1.0]
    with pytest.raises(ValueError, match=r"SPOT2\.row_scale: the largest magnitudes must be finite and >= 0"):
        f.row_scale([np.nan])


def test_traits_and_names():
    assert parse_format("SPOT2").traits() == HardwareTraits("shift_add", 2, True, 8)
    assert str(parse_format("spot2_7")) == "SPOT2" and str(parse_format("SPOT3_09")) == "SPOT3_9"
    for name in ("SPOT0", "SPOT5", "SPOT2_1", "SPOT2_16", "SPOT", "SPOT2_"):
        with pytest.raises(ValueError) as error:
            parse_format(name)
        assert str(error.value) == (
            f"unknown format {name!r}: SPOT takes 1 to 4 terms and 2 to 15 exponents: SPOT2, SPOT3_9"
        )
