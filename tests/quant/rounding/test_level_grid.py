"""The grid rounds as the Format does, and knows its neighbours."""

import numpy as np
import pytest
import torch

from bitjoule.formats import parse_format
from bitjoule.quant.rounding import RoundingError, level_grid

FORMATS = ["INT4", "INT8_NARROW", "INT16", "TERNARY", "BIPOLAR", "MIDRISE3", "MOONS1", "MOONS4", "POT4",
           "POT4_ZF", "POT5_INQ_LOG", "APOT5", "SPOT2", "FP8_E4M3"]  # fmt: skip


@pytest.mark.parametrize("name", FORMATS)
def test_nearest_equals_the_format(name):
    fmt = parse_format(name)
    g = torch.Generator().manual_seed(0)
    scale = torch.tensor([0.125, 0.125]) if fmt.fixed_scale is None else torch.full((2,), fmt.fixed_scale)
    w = torch.randn(2, 500, generator=g, dtype=torch.float64) * float(fmt.max_level) * scale[0]
    w[0, :40] = torch.arange(40) * scale[0] / 2  # ties
    grid = level_grid(fmt, scale)
    found = grid.nearest(w)
    expected = fmt.quantize(w.numpy(), scale.double().numpy()[:, None])
    np.testing.assert_array_equal(found.numpy(), expected)
    assert torch.equal(grid.levels[grid.index(found)], found)
    low, high = grid.around(w)
    inside = (w / grid.scale > grid.levels[0]) & (w / grid.scale < grid.levels[-1])
    assert (low <= w / grid.scale)[inside].all()
    assert (high > w / grid.scale)[inside].all()
    assert torch.equal(low[~inside & (w < 0)], high[~inside & (w < 0)])
    assert torch.equal(grid.index(high)[inside], grid.index(low)[inside] + 1)


@pytest.mark.parametrize(
    ("name", "scale", "text"),
    [
        ("MXINT8", torch.ones(1), r"MXINT8 rounds whole blocks; learned rounding takes element-wise formats"),
        ("SVA1", torch.ones(1), r"SVA1 rounds whole vectors"),
        (
            "INT32",
            torch.ones(1),
            r"INT32 has 32 bits; learned rounding takes element-wise formats of at most",
        ),
        ("INT4", torch.zeros(1), r"INT4: scales must be finite and > 0; zero rows get scale 1"),
        (
            "INT4",
            torch.ones(1, 1, 1),
            r"scales have the shape \(\), \(rows,\) or \(rows, n\), not \(1, 1, 1\)",
        ),
    ],
)
def test_refusals(name, scale, text):
    with pytest.raises(RoundingError, match=text):
        level_grid(parse_format(name), scale)
