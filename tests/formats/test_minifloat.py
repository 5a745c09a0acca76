"""Floats: golden vectors of the specification; NumPy's float16 and torch's casts as references."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitjoule.formats import minifloat, parse_format

INF = np.inf
# value: (code under saturate, code under ieee)
E4M3 = {
    1: (0x38, 0x38), -1: (0xB8, 0xB8), 448: (0x7E, 0x7E), 464: (0x7E, 0x7E), 465: (0x7E, 0x7F),
    1e9: (0x7E, 0x7F), INF: (0x7E, 0x7F), -INF: (0xFE, 0xFF), 2**-9: (1, 1), 2**-10: (0, 0),
    3 * 2**-11: (1, 1), 1.0625: (0x38, 0x38), 1.1875: (0x3A, 0x3A), 17: (0x58, 0x58), -240.5: (0xF7, 0xF7),
}  # fmt: skip
E5M2 = {
    57344: (0x7B, 0x7B), 61439: (0x7B, 0x7B), 61440: (0x7B, 0x7C), INF: (0x7B, 0x7C), 2**-16: (1, 1),
    2**-17: (0, 0), 3 * 2**-18: (1, 1), 1.125: (0x3C, 0x3C), 1.375: (0x3E, 0x3E),
}  # fmt: skip
E2M1 = {0.25: 0, 0.75: 2, 1.25: 2, 1.75: 4, 2.5: 4, 3.5: 6, 5: 6, 7: 7, INF: 7, -0.0: 8, -0.25: 8, -2.6: 0xD}


@pytest.mark.parametrize(("name", "vector"), [("FP8_E4M3", E4M3), ("FP8_E5M2", E5M2)])
@pytest.mark.parametrize("column", [0, 1])
def test_vectors_of_8_bits(name, vector, column):
    f = parse_format(name)
    level = f.quantize(list(vector), overflow=("saturate", "ieee")[column])
    assert f.to_code(level).tolist() == [codes[column] for codes in vector.values()]


def test_vector_of_4_bits():
    assert parse_format("FP4_E2M1").encode(list(E2M1)).tolist() == list(E2M1.values())


# max, min normal exponent, min subnormal exponent, non-negative finite values: the table of the specification
@pytest.mark.parametrize(
    ("name", "largest", "normal", "subnormal", "count"),
    [
        ("FP8_E4M3", 448, -6, -9, 127),
        ("FP8_E5M2", 57344, -14, -16, 124),
        ("FP6_E3M2", 28, -2, -4, 32),
        ("FP6_E2M3", 7.5, 0, -3, 32),
        ("FP4_E2M1", 6, 0, -1, 8),
        ("FP16", 65504, -14, -24, 31 * 1024),
        ("BF16", float.fromhex("0x1.fep127"), -126, -133, 255 * 128),
    ],
)
def test_ranges(name, largest, normal, subnormal, count):
    f = parse_format(name)
    assert f.max_level == largest and f.min_exponent == normal
    assert f.smallest_positive == 2.0**subnormal and (f.levels() >= 0).sum() == count


def test_levels_of_4_bits():
    positive = [0.5, 1, 1.5, 2, 3, 4, 6]
    levels = [-v for v in reversed(positive)] + [0, *positive]
    assert parse_format("FP4_E2M1").levels().tolist() == levels


@pytest.mark.parametrize(
    ("name", "quiet"), [("FP8_E4M3", 0x7F), ("FP8_E5M2", 0x7E), ("FP16", 0x7E00), ("BF16", 0x7FC0)]
)
def test_nan_is_the_quiet_one(name, quiet):
    assert int(parse_format(name).encode(np.nan)) == quiet


def test_default_overflow_follows_the_width():
    modes = {
        name: parse_format(name).overflow for name in ("FP8_E5M2", "FP16", "BF16", "FLOAT32", "FP12_E5M6")
    }
    assert modes == {
        **dict.fromkeys(("FP8_E5M2", "FP12_E5M6"), "saturate"),
        **dict.fromkeys(("FP16", "BF16", "FLOAT32"), "ieee"),
    }
    with pytest.raises(ValueError) as error:
        parse_format("FP16").quantize([1.0], overflow="wrap")
    assert str(error.value) == "FP16.quantize: overflow must be saturate or ieee, not 'wrap'"


@given(st.floats(width=64))
def test_fp16_and_float32_equal_numpy(x):
    with np.errstate(over="ignore"):
        for f, dtype in ((minifloat(5, 10), np.float16), (minifloat(8, 23), np.float32)):
            np.testing.assert_array_equal(f.quantize(x), np.asarray(dtype(x), np.float64))
            if not np.isnan(x):
                assert int(f.encode(x)) == int(dtype(x).view(f"u{f.bits // 8}"))


def test_one_rounding_not_two():
    # just above a tie of FP16, a tie after rounding to float32: two roundings would give 1
    x = 1 + 2**-11 + 2**-40
    assert parse_format("FP16").quantize(x) == 1 + 2**-10


TORCH_NAMES = {
    "FP16": "float16",
    "BF16": "bfloat16",
    "FP8_E4M3": "float8_e4m3fn",
    "FP8_E5M2": "float8_e5m2",
}


@pytest.mark.parametrize("name", TORCH_NAMES)
def test_equals_torch_on_random_values_and_all_codes(name):
    torch = pytest.importorskip("torch")
    dtype = getattr(torch, TORCH_NAMES[name])
    f = parse_format(name)
    rng = np.random.default_rng(15)
    x = (rng.choice([-1, 1], 1500) * 10 ** rng.uniform(-9, 6, 1500)).astype(np.float32)
    mode = "saturate" if name == "FP8_E4M3" else "ieee"  # as torch casts
    expected = torch.from_numpy(x).to(dtype).to(torch.float64).numpy()
    np.testing.assert_array_equal(f.quantize(x, overflow=mode), expected)
    codes = np.arange(1 << f.bits, dtype=f"u{f.bits // 8}")
    values = torch.from_numpy(codes.copy()).view(dtype).to(torch.float64).numpy()
    np.testing.assert_array_equal(f.to_level(codes), values)


def test_a_number_that_is_no_level_has_no_code():
    with pytest.raises(ValueError) as error:
        parse_format("FP4_E2M1").to_code([1.0, 2.5])
    assert str(error.value) == "FP4_E2M1.to_code: 2.5 is not a level of FP4_E2M1; quantize it first"
    for name, bad in (("FP8_E4M3", INF), ("FP4_E2M1", np.nan), ("FP4_E2M1", 8.0), ("FP4_E2M1", 1e-300)):
        with pytest.raises(ValueError, match="is not a level"):
            parse_format(name).to_code(bad)
    with pytest.raises(TypeError, match=r"FP4_E2M1\.to_code: level must hold numbers, not bool"):
        parse_format("FP4_E2M1").to_code([True])
