"""Every Format of at most 8 bits rounds every border, and what lies beside it, to the nearest level."""

from fractions import Fraction

import numpy as np
import pytest

from bitjoule.formats import parse_format, registered_formats

NARROW = [
    f
    for f in map(parse_format, registered_formats())
    if f.bits <= 8 and f.kind in ("integer", "levels", "float")
]
NARROW = [f for f in NARROW if getattr(f, "roundings", ("nearest",))[0] == "nearest"]


@pytest.mark.parametrize("f", NARROW, ids=str)
def test_no_level_is_nearer(f):
    levels = f.levels().astype(np.float64)
    scale = 1.0 if f.fixed_scale is None else f.fixed_scale
    middle = (levels[1:] + levels[:-1]) / 2
    points = np.concatenate([levels, middle, (levels[1:] + middle) / 2, levels[[0, -1]] * 1.5])
    for dtype in (np.float32, np.float64):
        x = points.astype(dtype)
        x = np.concatenate([x, np.nextafter(x, dtype(np.inf)), np.nextafter(x, dtype(-np.inf))])
        got = f.quantize(x * dtype(scale), scale)
        # one common denominator: distances are exact integers
        unit = 1 << 200
        whole = [int(Fraction(level) * unit) for level in levels.tolist()]
        for v, q in zip(x.tolist(), got.tolist(), strict=True):
            at = Fraction(v) * unit
            if at.denominator == 1:
                at = at.numerator
            nearest = min(abs(at - level) for level in whole)
            assert abs(at - int(Fraction(q) * unit)) == nearest, (f.name, v, q)
