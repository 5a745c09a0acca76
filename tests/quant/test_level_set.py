"""Rounding in torch equals the Formats in NumPy, for every element-wise Format of fixed point."""

import numpy as np
import pytest
import torch

from bitjoule.formats import parse_format
from bitjoule.quant.level_set import LevelSet, staircase

NAMES = [
    "POT4",
    "POT6",
    "POT4_LOG",
    "POT5_INQ",
    "POT4_DS",
    "POT4_ZF",
    "POT4_ZF_LOG",
    "UPOT4",
    "UPOT3_LOG",
    "APOT2",
    "APOT4",
    "APOT7",
    "UAPOT4",
    "UAPOT6",
    "SPOT1",
    "SPOT2",
    "SPOT3_5",
    "MIDRISE4",
    "BIPOLAR",
    "TERNARY",
    "INT4",
    "UINT4",
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equals_the_format(name, dtype):
    fmt = parse_format(name)
    rounding, top = LevelSet(fmt), float(fmt.max_level)
    generator = torch.Generator().manual_seed(0)
    levels = torch.from_numpy(np.asarray(fmt.levels(), dtype=np.float64)).to(dtype)
    middles = (levels[1:] + levels[:-1]) / 2
    begins = torch.from_numpy(staircase(fmt, str(dtype).removeprefix("torch.")).begins.copy())
    special = torch.tensor([1e30, -1e30, torch.inf, -torch.inf, 0.0, -0.0, 1e-40, -1e-40], dtype=dtype)
    u = torch.cat(
        [
            torch.randn(1000, generator=generator, dtype=dtype) * top / 2,
            torch.linspace(-1.5 * top, 1.5 * top, 1001, dtype=dtype),
            levels,
            middles,
            begins,
            torch.nextafter(begins, -torch.ones_like(begins) * torch.inf),
            special,
        ]
    )
    np.testing.assert_array_equal(rounding.nearest(u).numpy(), fmt.quantize(u.numpy()))
    assert rounding.nearest(torch.tensor([torch.nan], dtype=dtype)).isnan().all()


def test_unsigned_sums_are_looked_up_in_a_table():
    assert LevelSet(parse_format("UAPOT4")).tabled
    assert not LevelSet(parse_format("UPOT3_LOG")).tabled
    assert not LevelSet(parse_format("APOT4")).tabled


def test_keeps_the_layout():
    u = torch.rand(2, 3, 4, 5).contiguous(memory_format=torch.channels_last) * 50
    for name in ("UAPOT4", "APOT4"):
        out = LevelSet(parse_format(name)).nearest(u)
        assert out.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(out, LevelSet(parse_format(name)).nearest(u.contiguous()))
