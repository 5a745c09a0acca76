"""The contract of a Format as checks; every registered format runs through all of them.

The numbers are those of the specification's conformance list. Oracles are slow and obvious: exact rationals,
loops, dictionaries.
"""

from fractions import Fraction
from functools import cache

import numpy as np
import pytest

from bitjoule.formats import (
    ROUNDINGS,
    approximate,
    csd_count,
    csd_terms,
    describe,
    pack,
    parse_format,
    unpack,
)

LISTED_BITS = 16


def listable(f):
    """Whether ``levels()`` lists: a set of levels is short, however wide its codes."""
    return f.kind == "levels" or f.bits <= LISTED_BITS


def roundings(f):
    """The names of roundings of a set of levels, its default first."""
    return getattr(f, "roundings", ("nearest",))


@cache
def listed(f):
    """``f.levels()``, computed once."""
    return f.levels()


def scales(f, *others):
    """The scales a format can be tried at: its fixed one, or those given."""
    return (f.fixed_scale,) if f.fixed_scale is not None else others


def some_levels(f):
    """All levels of a format, or 4,096 of a format too wide to list."""
    if listable(f):
        return listed(f)
    codes = np.random.default_rng(f.bits).integers(0, 1 << f.bits, 4096)
    levels = np.append(f.to_level(codes, strict=False), [f.min_level, 0, f.max_level])
    return np.unique(levels[np.isfinite(levels)])


def some_values(f, count=400):
    """Unscaled values: levels, midpoints, their neighbours in float64, random ones; within the range."""
    rng = np.random.default_rng(count + f.bits)
    levels = some_levels(f).astype(np.float64)
    levels = rng.choice(levels, min(len(levels), count), replace=False)
    halves = (np.sort(levels)[1:] + np.sort(levels)[:-1]) / 2
    wide = rng.uniform(-1.2, 1.2, count) * min(f.max_level + 1.0, 1e5)
    tiny = rng.uniform(-3, 3, count) * max(f.smallest_positive, 1e-300)
    near = levels[: count // 4] + 0.5 * (1 if f.kind != "float" else f.smallest_positive)
    x = np.concatenate([levels, halves, near, wide, tiny])
    x = np.concatenate([x, np.nextafter(x, np.inf), np.nextafter(x, -np.inf)])
    if f.kind == "float" and f.overflow == "ieee":
        x = x[np.abs(x) <= f.max_level]
    return x


def neighbours(f, level):
    """The levels just below and above a level, itself at the ends."""
    if listable(f):
        levels = listed(f)
        i = np.searchsorted(levels, level)
        return levels[max(i - 1, 0)], levels[min(i + 1, len(levels) - 1)]
    if f.kind == "integer":
        return max(level - 1, f.min_level), min(level + 1, f.max_level)
    code, sign = int(f.to_code(abs(level))), -1 if level < 0 else 1
    inner = -f.smallest_positive if level == 0 else sign * float(f.to_level(max(code - 1, 0)))
    outer = sign * float(f.to_level(min(code + 1, int(f.to_code(f.max_level)))))
    return min(inner, outer), max(inner, outer)


def tie_winner(f, a, b):
    """Which of two equally near levels the stated rule of the family picks."""
    if f.name == "MOONS1":
        return -1
    if f.kind == "levels":  # larger magnitude, the positive one of -m and +m
        return max(a, b, key=lambda level: (abs(level), level))
    if f.kind == "integer":
        return a if a % 2 == 0 else b
    if f.mantissa_bits == 0:  # significands 1 and 2, or 0 and 1
        return max(a, b, key=abs) if a and b else 0.0
    return a if int(f.to_code(abs(a))) % 2 == 0 else b


def check_01_name(f):
    assert str(f) == f.name
    again = parse_format(str(f).lower())
    assert again == f and hash(again) == hash(f) and str(again) == f.name
    assert f != "INT8" and len({f, again}) == 1
    with pytest.raises(AttributeError):
        f.name = "other"


def check_02_levels(f):
    if not listable(f):
        with pytest.raises(
            ValueError, match=rf"{f.name}\.levels: {f.bits} bits are too many to list \(16 at most\)"
        ):
            f.levels()
        return
    levels = f.levels()
    assert (np.diff(levels) > 0).all() and len(levels) <= 1 << f.bits
    assert levels[0] == f.min_level and levels[-1] == f.max_level
    assert (0 in levels) == f.has_zero and (levels[0] < 0) == f.signed
    assert levels.dtype == (np.float64 if f.kind == "float" else np.int64)
    positive = levels[levels > 0]
    assert f.smallest_positive == (positive[0] if len(positive) else 0)


def check_03_round_trip(f):
    levels = some_levels(f)
    codes = f.to_code(levels)
    assert codes.dtype.kind == "u" and codes.max() < 1 << f.bits and len(np.unique(codes)) == len(levels)
    np.testing.assert_array_equal(f.to_level(codes), levels)
    for k in range(-20, 21) if f.fixed_scale is None else ():
        np.testing.assert_array_equal(f.quantize(levels * 2.0**k, 2.0**k), levels)
    if f.name == "FLOAT32":
        return
    for scale in scales(f, *np.random.default_rng(1).uniform(1e-3, 10, 3).astype(np.float32)):
        values = f.dequantize(levels, scale)
        np.testing.assert_array_equal(f.quantize(values, scale), levels)
        np.testing.assert_array_equal(f.encode(values, scale), codes)
        np.testing.assert_array_equal(f.decode(codes, scale), values)


def check_04_nearest(f):
    if roundings(f)[0] == "log":
        check_log(f)
        return
    for scale in scales(f, 1.0, 0.25, 0.3):
        x = some_values(f) * scale
        quotient = x / scale
        for v, q in zip(quotient, f.quantize(x, scale).tolist(), strict=True):
            distance = abs(Fraction(float(v)) - Fraction(q))
            for other in neighbours(f, q):
                far = abs(Fraction(float(v)) - Fraction(float(other)))
                assert distance <= far, (f.name, v, q, other)
                if distance == far and other != q:
                    assert q == tie_winner(f, q, other.item() if hasattr(other, "item") else other), (
                        f.name,
                        v,
                        q,
                    )


def check_log(f):
    """The logarithm is nearest: v**2 lies between the products of the level and its neighbours."""
    for scale in (1.0, 0.25, np.float32(0.3)):
        x = (some_values(f) * scale).astype(np.asarray(scale).dtype)
        x = x[(x != 0) & (f.signed | (x > 0))]
        for v, q in zip(x / scale, f.quantize(x, scale).tolist(), strict=True):
            square, m = Fraction(float(v)) ** 2, abs(q)
            assert (v < 0) == (q < 0) or q == 0
            if m < f.max_level:
                assert square < 2 * m * m if m else square < Fraction(1, 2), (f.name, v, q)
            if m > 1 or (m == 1 and f.has_zero and not f.never_zero):
                assert square > Fraction(m * m, 2), (f.name, v, q)


def check_05_monotone_and_odd(f):
    for scale in scales(f, 1.0, 0.3):
        x = np.sort(np.append(some_values(f) * scale, [-1e300, 1e300]))
        x = x if f.name != "FP16_E5M10_FN" else x[1:-1]  # overflow gives NaN there
        assert (np.diff(np.clip(f.quantize(x, scale), f.min_level, f.max_level)) >= 0).all()
        if f.signed:
            inside = x[(np.abs(x) < f.max_level * scale) & (x != 0)]
            np.testing.assert_array_equal(f.quantize(-inside, scale), -f.quantize(inside, scale))


def check_06_shapes_and_dtypes(f):
    rng = np.random.default_rng(6)
    (scale,) = scales(f, 0.37)
    x = rng.normal(0, 2, (3, 4, 5)) * scale
    whole = f.quantize(x, scale)
    for k in (-7, 9) if f.fixed_scale is None else ():
        np.testing.assert_array_equal(f.quantize(x * 2.0**k, scale * 2.0**k), whole)
    if f.fixed_scale is None:
        per_channel = rng.uniform(0.1, 1, (1, 4, 1)).astype(np.float32)
        together = f.quantize(x, per_channel)
        for c in range(4):
            np.testing.assert_array_equal(together[:, c], f.quantize(x[:, c], per_channel[0, c, 0]))
    strided = np.asfortranarray(x)[::2, :, ::-1]
    np.testing.assert_array_equal(f.quantize(strided, scale), whole[::2, :, ::-1])
    np.testing.assert_array_equal(f.to_code(whole[::2, :, ::-1]), f.to_code(whole)[::2, :, ::-1])
    assert f.quantize(np.empty((0, 3)), scale).shape == (0, 3)
    assert f.encode(np.empty((0, 3)), scale).shape == (0, 3)
    scalar = f.quantize(x[0, 0, 0], scale)
    assert isinstance(scalar, np.ndarray) and scalar.shape == () and scalar == whole[0, 0, 0]
    assert f.decode(f.encode(x[0, 0, 0], scale), scale).shape == ()
    half = x.astype(np.float16)
    np.testing.assert_array_equal(f.quantize(half, scale), f.quantize(half.astype(np.float32), scale))
    integers = np.arange(-5, 6)
    np.testing.assert_array_equal(f.quantize(integers, scale), f.quantize(integers.astype(float), scale))
    for bad in (np.array([True]), np.array([1j]), np.array([None]), np.array(["1"])):
        with pytest.raises(
            TypeError, match=rf"{f.name}\.quantize: x must hold float16, float32, float64 or integ"
        ):
            f.quantize(bad, scale)


def check_07_special_values(f):
    (scale,) = scales(f, 1.0)
    x = np.array([np.inf, -np.inf, -0.0, 0.0, 5e-324, -1e-310, 1e300])
    kept = x.copy()
    level = f.quantize(x, scale)
    np.testing.assert_array_equal(x, kept)
    zero = 0 if f.has_zero else (-1 if f.name == "MOONS1" else f.smallest_positive)
    assert level[2] == level[3] == zero
    if f.kind == "float" and f.overflow == "ieee":
        beyond = np.inf if f.flavour == "IEEE" else np.nan
        np.testing.assert_array_equal(level[[0, 1, 6]], [beyond, -beyond, beyond])
    else:
        assert level[0] == level[6] == f.max_level and level[1] == f.min_level
    if f.has_zero and not getattr(f, "never_zero", False):
        assert level[4] == level[5] == 0
    else:
        assert level[4] == 1 and level[5] == -1
    if f.kind == "float" and f.flavour != "FINITE":
        quiet = f.encode([np.nan, -np.nan], scale)
        assert quiet[0] == quiet[1] and np.isnan(f.to_level(quiet)).all()
    else:
        bad = np.zeros((2, 18))
        bad[0, 17] = bad[1, 3:5] = np.nan
        with pytest.raises(ValueError) as error:
            f.quantize(bad, scale)
        assert str(error.value) == (
            f"{f.name}.quantize: x holds 3 NaN (first at index (0, 17)); "
            "quantize needs finite or infinite values"
        )
    for wrong in (0.0, -1.0, np.inf, np.nan):
        with pytest.raises(ValueError) as error:
            f.quantize(x, wrong)
        assert str(error.value) == f"scale must be finite and > 0, not {wrong}"
    with pytest.raises(ValueError) as error:
        f.quantize(np.zeros(7), np.float32([1, 1, 1, 1, 1, 0, 1]))
    assert str(error.value) == "scale must be finite and > 0, not 0.0 (channel 5)"
    if not f.affine:
        with pytest.raises(ValueError) as error:
            f.quantize(x, scale, 3)
        assert str(error.value) == (
            f"{f.name}.quantize: zero_point must be 0, not 3; only INT and UINT formats have one"
        )


def as_hardware(f, code):
    """What the decoder of each family makes of a code that no level has."""
    if f.kind == "integer":
        return code - (1 << f.bits)  # two's complement
    if f.name.startswith("SPOT"):
        width = 1 + f.exponents.bit_length()
        total = 0
        for place in range(f.terms):
            term = code >> width * place & (1 << width) - 1
            index = term & (1 << width - 1) - 1
            total += (-1 if term >> width - 1 else 1) * (1 << index - 1 if index else 0)
        return total
    magnitude = code & (1 << f.bits - 1) - 1  # a second zero, or an exponent beyond the last
    return (-1 if code >> f.bits - 1 else 1) * (1 << magnitude - 1 if magnitude else 0)


def check_08_unused_codes(f):
    described = describe(f)
    with pytest.raises(
        ValueError, match=rf"{f.name}\.to_level: code {1 << f.bits} is not in 0 .. 2\*\*{f.bits} - 1"
    ):
        f.to_level([1 << f.bits])
    with pytest.raises(TypeError, match=rf"{f.name}\.to_level: code must hold integers, not float64"):
        f.to_level([0.5])
    if not listable(f):
        return
    codes = np.arange(1 << f.bits)
    unused = np.setdiff1d(codes, f.to_code(f.levels()))
    if f.kind == "float":
        level = f.to_level(codes)
        special = {
            "nan": int(np.isnan(level).sum()),
            "infinite": int(np.isinf(level).sum()),
            "negative_zero": int(((level == 0) & np.signbit(level)).sum()),
        }
        assert described["special_codes"] == special and described["unused_codes"] == 0
        assert len(f.levels()) + sum(special.values()) == 1 << f.bits
        return
    assert described["unused_codes"] == len(unused) == (1 << f.bits) - len(f.levels())
    for code in unused[:20]:
        with pytest.raises(ValueError) as error:
            f.to_level(code)
        assert str(error.value) == (
            f"{f.name}.to_level: code {code:#x} is unused (first at index ()); "
            "strict=False decodes it as the hardware would"
        )
        assert f.to_level(code, strict=False) == as_hardware(f, int(code))
    missing = np.setdiff1d(np.arange(max(int(f.min_level), -500), min(int(f.max_level), 500)), f.levels())[:5]
    for level in missing if f.kind == "levels" and hasattr(f, "magnitudes") else ():
        with pytest.raises(ValueError) as error:
            f.to_code([level])
        assert str(error.value) == (
            f"{f.name}.to_code: {level} is no level of {f.name} (first at index (0,)); quantize it first"
        )
    for level in (int(f.min_level) - 1, int(f.max_level) + 1):
        with pytest.raises(ValueError, match=rf"{f.name}\.to_code: level {level} is outside"):
            f.to_code(level)


def check_09_rounding_modes(f):
    (scale,) = scales(f, 1.0)
    if f.kind == "levels":
        with pytest.raises(ValueError) as error:
            f.quantize([0.3], scale, rounding="stochastic")
        known = {("nearest",): "nearest", ("log",): "log", ("nearest", "greedy"): "nearest or greedy"}
        names = known.get(roundings(f), "nearest or log")
        assert str(error.value) == f"{f.name}.quantize: rounding must be {names}, not 'stochastic'"
        x = some_values(f, 100) * scale
        np.testing.assert_array_equal(f.quantize(x, scale), f.quantize(x, scale, rounding=roundings(f)[0]))
        np.testing.assert_array_equal(f.encode(x, scale), f.to_code(f.quantize(x, scale)))
        for name in roundings(f)[1:]:
            other = f.quantize(x, scale, rounding=name)
            np.testing.assert_array_equal(f.encode(x, scale, rounding=name), f.to_code(other))
        return
    step = f.smallest_positive or -1  # INT1 has no positive level
    x = np.full(20_000, 0.3 * step * scale)
    first = f.quantize(x, scale, rounding="stochastic", rng=np.random.default_rng(9))
    again = f.quantize(x, scale, rounding="stochastic", rng=np.random.default_rng(9))
    np.testing.assert_array_equal(first, again)
    if f.max_level > 0 or step < 0:
        assert abs(first.mean() / step - 0.3) <= 4 * np.sqrt(0.3 * 0.7 / 20_000)
    with pytest.raises(ValueError, match=rf"{f.name}\.quantize: stochastic rounding needs rng"):
        f.quantize(x, scale, rounding="stochastic")
    with pytest.raises(ValueError) as error:
        f.quantize(x, scale, rounding="up")
    assert str(error.value) == f"{f.name}.quantize: rounding must be one of {', '.join(ROUNDINGS)}, not 'up'"
    values = some_values(f, 50) * scale
    levels = np.sort(some_levels(f))
    down, up = f.quantize(values, scale, rounding="floor"), f.quantize(values, scale, rounding="ceil")
    for rounding in ROUNDINGS[:-1]:
        q = f.quantize(values, scale, rounding=rounding)
        assert ((down <= q) & (q <= up)).all()
    inside = (values / scale >= f.min_level) & (values / scale <= f.max_level)
    assert (down[inside] <= (values / scale)[inside]).all() and ((values / scale)[inside] <= up[inside]).all()
    if f.bits <= LISTED_BITS:
        assert np.isin(down, levels).all() and np.isin(up, levels).all()
        gap = np.searchsorted(levels, up) - np.searchsorted(levels, down)
        assert gap.max() <= 1


def check_10_traits(f):
    traits = f.traits()
    if f.kind == "float":
        assert (traits.multiplier, traits.max_terms, traits.level_bits) == ("float", 0, 0)
        with pytest.raises(ValueError, match="mean_terms: a float format has no integer levels"):
            traits.mean_terms([1.0])
        return
    levels = some_levels(f)
    most = csd_count(levels).max()
    if f.kind == "integer" and listable(f):
        assert traits.max_terms == most
    assert traits.max_terms >= most and traits.regular
    assert traits.mean_terms(levels) == np.mean([len(csd_terms(int(level))) for level in levels])
    low, high = int(f.min_level), int(f.max_level)
    room = 1 << traits.level_bits
    assert (-room // 2 <= low and high < room // 2) if low < 0 else high < room


def check_12_packing(f):
    rng = np.random.default_rng(12)
    for count in (1, 7, 65):
        codes = f.to_code(rng.choice(some_levels(f), count))
        for word_bits in (8, 32):
            words = pack(codes, f.bits, word_bits)
            assert len(words) == -(-count * f.bits // word_bits)
            stream = sum(int(word) << word_bits * i for i, word in enumerate(words))
            assert [stream >> f.bits * i & (1 << f.bits) - 1 for i in range(count)] == codes.tolist()
            np.testing.assert_array_equal(unpack(words, f.bits, count), codes)


CHECKS = tuple(
    check for name, check in sorted(globals().items()) if name.startswith("check_") and name[6:8].isdigit()
)


def some_rows(count=6, length=49, seed=11):
    """Rows of normal numbers whose magnitudes differ pairwise."""
    rows = np.random.default_rng(seed).normal(size=(count, length)).astype(np.float32)
    assert all(len(np.unique(np.abs(row))) == length for row in rows)
    return rows


def vector_11_steps(f):
    """The row is the sum of its steps, terms are counted again, the residual falls as fast as derived."""
    for row in some_rows():
        done = approximate(row, f.ratio, count=f.count, strict=f.strict)
        unit = row.astype(np.float64) / 2.0**done.normaliser_exponent
        assert 0.5 < np.abs(unit).max() <= 1
        total = np.zeros_like(unit)
        for step in done.steps:
            power, rest = 2.0**step.exponent, unit - total
            order = sorted(range(len(row)), key=lambda i, rest=rest: (-abs(rest[i]), i))
            assert sorted(order[: len(step.members)]) == sorted(step.members.tolist())
            assert (step.signs == np.where(rest[step.members] >= 0, 1, -1)).all()
            ip = np.abs(rest[step.members]).mean()
            assert power <= 4 * ip / 3 < 2 * power
            before = (rest**2).sum()
            total[step.members] += step.signs * power
            fall = before - ((unit - total) ** 2).sum()
            assert fall >= len(step.members) * power * power / 2 * (1 - 1e-9) > 0
        np.testing.assert_array_equal(done.values(), total * 2.0**done.normaliser_exponent)
        whole = [abs(int(y)) for y in total * 2**24]
        counted = sum(len(csd_terms(y)) if f.count == "csd" else y.bit_count() for y in whole)
        assert done.terms == counted
        assert not f.strict or counted <= int(f.ratio * len(row))


def vector_11_permutation_and_scale(f):
    row = some_rows(1)[0]
    done = approximate(row, f.ratio, count=f.count, strict=f.strict).values()
    order = np.random.default_rng(3).permutation(len(row))
    again = approximate(row[order], f.ratio, count=f.count, strict=f.strict)
    np.testing.assert_array_equal(again.values(), done[order])
    for k in (-30, 1, 40):
        scaled = approximate(row * 2.0**k, f.ratio, count=f.count, strict=f.strict)
        np.testing.assert_array_equal(scaled.values(), done * 2.0**k)


def vector_tensors(f):
    """A tensor is its rows; shapes, dtypes, layouts in memory and special values as in other formats."""
    x = np.append(some_rows(), np.zeros((1, 49), np.float32), axis=0).reshape(7, 7, 7)
    kept, scale = x.copy(), f.row_scale(x)
    assert scale.shape == (7, 1, 1)
    level = f.quantize(x, scale)
    assert level.dtype == np.int64 and level.shape == x.shape and not level[6].any()
    rows = f.rows(x)
    for i, row in enumerate(rows):
        values = f.dequantize(level[i], scale[i, 0, 0])
        np.testing.assert_array_equal(values.reshape(-1), row.values())
        np.testing.assert_array_equal(f.quantize(x[i].reshape(-1), scale[i, 0, 0]), level[i].reshape(-1))
        assert row.storage_bits() == min(row.layouts().values()) >= 8
    np.testing.assert_array_equal(f.quantize(np.asfortranarray(x), scale), level)
    np.testing.assert_array_equal(x, kept)
    codes = f.encode(x, scale)
    assert codes.dtype == np.uint32 and codes.max() < 1 << f.bits
    np.testing.assert_array_equal(f.decode(codes, scale), f.dequantize(level, scale))
    half = x.astype(np.float16)
    np.testing.assert_array_equal(f.quantize(half, scale), f.quantize(half.astype(np.float32), scale))
    for shape in ((0, 3), (3, 0), (0,)):
        assert f.quantize(np.empty(shape)).shape == shape
    assert not f.quantize(np.full((2, 3), 0.3)).any()  # scale 1: no step is as small as this
    assert f.quantize([np.inf, 1.0]).max() == 1 << 24


def vector_errors(f):
    with pytest.raises(ValueError, match=rf"{f.name}\.levels: a vector format has no levels of its own"):
        f.levels()
    for bad, text in (
        (lambda: f.quantize([[0.0, np.nan]]), r"quantize: x holds 1 NaN \(first at index \(0, 1\)\)"),
        (lambda: f.quantize([1.0], 0.0), r"scale must be finite and > 0, not 0.0"),
        (lambda: f.quantize([1.0], 1.0, 3), r"zero_point must be 0, not 3"),
        (lambda: f.quantize([1.0], rounding="floor"), r"rounding must be nearest, not 'floor'"),
        (lambda: f.quantize(1.0), r"x must be rows, not a single number"),
        (lambda: f.to_level([1 << f.bits]), r"to_level: code"),
        (lambda: f.to_code([1 << f.bits]), r"to_code: level"),
        (lambda: f.row_scale([np.inf]), r"row_scale: x must be finite"),
    ):
        with pytest.raises(ValueError, match=text):
            bad()
    with pytest.raises(TypeError, match=rf"{f.name}\.quantize: x must hold float16, float32"):
        f.quantize([True])


def vector_10_traits(f):
    traits = f.traits()
    assert (traits.multiplier, traits.regular, traits.level_bits) == ("shift_add", False, f.bits)
    assert traits.max_terms == 13  # every other one of 26 bits
    x = some_rows()
    levels = f.quantize(x, f.row_scale(x))
    assert traits.mean_terms(levels) <= f.ratio + 7 / 49  # the last step may pass the budget


VECTOR_CHECKS = (
    check_01_name,
    *(check for name, check in sorted(globals().items()) if name[:7] == "vector_"),
)


def block_levels_and_codes(f):
    levels = f.levels()
    assert (np.diff(levels) > 0).all() and levels[0] == f.min_level and levels[-1] == f.max_level
    codes = f.to_code(levels)
    assert codes.max() < 1 << f.bits
    np.testing.assert_array_equal(f.to_level(codes), levels)
    np.testing.assert_array_equal(f.quantize(levels, 1.0), levels)
    np.testing.assert_array_equal(f.quantize(levels * 0.25, 0.25), levels)


def block_scales(f):
    """The largest of a block shares the binade of the largest element; elements are nearest at that scale."""
    rng = np.random.default_rng(4)
    x = rng.normal(size=(3, 70)).astype(np.float32) * np.float32([[1e-30], [1], [1e30]])
    kept, k, scale = x.copy(), f.block_exponents(x), f.block_scale(x)
    assert k.shape == (3, 3) and scale.shape == x.shape  # blocks of 32, 32 and 6
    top = int(np.floor(np.log2(f.max_level)))
    for row in range(3):
        for block in range(3):
            part = x[row, 32 * block : 32 * block + 32]
            assert 2.0 ** (k[row, block] + top) <= np.abs(part).max() < 2.0 ** (k[row, block] + top + 1)
            level = f.quantize(x)[row, 32 * block : 32 * block + 32]
            unit = part.astype(np.float64) / 2.0 ** k[row, block]
            nearest = np.abs(unit[:, None] - f.levels()).min(axis=1)
            np.testing.assert_array_equal(np.abs(unit - level), nearest)
    codes, scale_codes = f.encode(x), f.scale_codes(x)
    np.testing.assert_array_equal(f.decode_blocks(codes, scale_codes), f.quantize(x) * scale)
    np.testing.assert_array_equal(f.quantize(x * 2.0**5), f.quantize(x))
    np.testing.assert_array_equal(x, kept)
    assert f.quantize(np.empty((0, 3))).shape == (0, 3) and f.quantize(np.empty((2, 0))).shape == (2, 0)


def block_special_values(f):
    x = np.zeros((2, 64))
    x[0, 5], x[1, 0], x[1, 40] = np.nan, 1e300, np.inf
    level = f.quantize(x)
    assert np.isnan(level[0, :32]).all() and not np.isnan(level[0, 32:]).any()
    assert f.scale_codes(x).tolist() == [[0xFF, 0], [0xFE, 0xFE]]
    assert level[1, 0] == level[1, 40] == f.max_level
    assert np.isnan(f.decode_blocks(f.encode(x), f.scale_codes(x))[0, :32]).all()
    for bad, text in (
        (lambda: f.quantize(1.0), "blocks lie along an axis"),
        (lambda: f.quantize([1.0], None, 3), "zero_point must be 0, not 3"),
        (lambda: f.decode_blocks([0, 0], [0, 0]), "have a scale per 32 along the last axis"),
        (lambda: f.quantize([1.0], 0.0), "scale must be finite and > 0"),
        (lambda: f.to_code([f.max_level * 0.99]), "to_code"),
    ):
        with pytest.raises(ValueError, match=text):
            bad()


BLOCK_CHECKS = (check_01_name, *(check for name, check in sorted(globals().items()) if name[:6] == "block_"))
