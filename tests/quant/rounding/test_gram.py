"""Columns against `unfold`, sums over batches, sampling, groups."""

import pytest
import torch
from torch.nn import functional

from bitjoule.quant.rounding import GramAccumulator, RoundingError, Window, columns_of, pooled

WINDOWS = [
    Window((3, 3), (1, 1), (1, 1)),
    Window((3, 2), (2, 1), (1, 0), (2, 1)),
    Window((1, 1), (2, 2)),
    Window((3, 3), (1, 1), (1, 1), groups=2),
    Window((3, 3), (2, 2), (1, 1), groups=4),
]


@pytest.mark.parametrize("window", WINDOWS)
def test_columns_times_weights_are_the_convolution(window):
    g = torch.Generator().manual_seed(0)
    x = torch.randn(3, 4, 9, 8, generator=g, dtype=torch.float64)
    w = torch.randn(8, 4 // window.groups, *window.kernel, generator=g, dtype=torch.float64)
    y = functional.conv2d(x, w, None, window.stride, window.padding, window.dilation, window.groups)
    columns = columns_of(x, window)
    rows = w.reshape(window.groups, 8 // window.groups, -1)
    found = (columns @ rows.mT).permute(1, 0, 2).reshape(3, *y.shape[2:], 8).permute(0, 3, 1, 2)
    assert torch.allclose(found, y, rtol=0, atol=1e-12)


def test_padding_has_its_value():
    columns = columns_of(torch.ones(1, 1, 1, 1), Window((3, 1), padding=(1, 0), padding_value=-2.0))
    assert columns.tolist() == [[[-2.0, 1.0, -2.0]]]


@pytest.mark.parametrize("window", [*WINDOWS, Window()])
def test_means_over_batches(window):
    g = torch.Generator().manual_seed(0)
    shape = (5, 7, 4) if window.kernel is None else (5, 4, 9, 8)
    x, y = (torch.randn(shape, generator=g, dtype=torch.float64) for _ in range(2))
    found = GramAccumulator(window, images=5)
    for part in (slice(0, 2), slice(2, 5)):
        found.update(x[part], y[part])
    gram = found.gram()
    cx, cy = columns_of(x, window), columns_of(y, window)
    assert gram.columns == cx.shape[1]
    assert torch.allclose(gram.a, cx.mT @ cx / gram.columns, rtol=0, atol=1e-12)
    assert torch.allclose(gram.b, cx.mT @ cy / gram.columns, rtol=0, atol=1e-12)
    alone = GramAccumulator(window, images=5)
    alone.update(x)
    assert torch.equal(alone.gram().a, alone.gram().b)


def test_many_columns_are_sampled():
    window = Window((3, 3), padding=(1, 1))
    x = torch.randn(128, 2, 32, 32, generator=torch.Generator().manual_seed(0))
    grams = []
    for seed in (0, 0, 1):
        found = GramAccumulator(window, images=128, seed=seed)
        found.update(x[:50], x[:50] * 2)
        found.update(x[50:], x[50:] * 2)
        grams.append(found.gram())
    assert grams[0].columns == 65_536
    assert torch.equal(grams[0].a, grams[1].a)
    assert not torch.equal(grams[0].a, grams[2].a)
    assert torch.allclose(grams[0].b, 2 * grams[0].a, rtol=1e-5, atol=1e-5)  # the same positions of both
    columns = columns_of(x, window)[0]
    everything = columns.T @ columns / len(columns)
    assert (grams[0].a[0] - everything).abs().max() < 0.03


def test_pooled_calls_of_one_module():
    x = torch.randn(6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    parts, whole = [], GramAccumulator(Window(), images=6)
    for part in (x[:2], x[2:]):
        one = GramAccumulator(Window(), images=6)
        one.update(part)
        parts.append(one.gram())
    whole.update(x)
    assert torch.allclose(pooled(parts).a, whole.gram().a, rtol=0, atol=1e-12)


def test_refusals():
    with pytest.raises(RoundingError, match=r"no column was seen; run calibration images through the layer"):
        GramAccumulator(Window(), images=1).gram()
    with pytest.raises(RoundingError, match=r"input has the shape \(N, C, H, W\), not \(2, 3\)"):
        columns_of(torch.ones(2, 3), Window((1, 1)))
    with pytest.raises(RoundingError, match=r"a kernel of 3 x 3 does not fit in an input of 2 x 2"):
        columns_of(torch.ones(1, 1, 2, 2), Window((3, 3)))
    with pytest.raises(RoundingError, match=r"columns of 3 numbers cannot be cut into 2 groups"):
        columns_of(torch.ones(1, 3, 2, 2), Window((1, 1), groups=2))
    found = GramAccumulator(Window(), images=1)
    with pytest.raises(RoundingError, match=r"reads \(1, 2\) in the quantized network but \(1, 3\)"):
        found.update(torch.ones(1, 2), torch.ones(1, 3))
    with pytest.raises(RoundingError, match=r"a layer's input holds NaN or infinite values"):
        found.update(torch.full((1, 2), float("nan")))
    with pytest.raises(RoundingError, match=r"pooled: no Gram matrices were given"):
        pooled([])
