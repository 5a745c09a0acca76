"""Flips and the other roundings against the proven optimum of tiny layers."""

import pytest
import torch

from bitjoule.formats import parse_format
from bitjoule.quant.rounding import adaround, flips, gptq, level_grid, quadratic_error
from tests.quant.rounding.layers import GRIDS, best_of_all, clipped_grid, gram_of, relu_inputs


def layer(n, rows, seed, name):
    a = gram_of(relu_inputs(n, 500, seed))
    w = torch.randn(rows, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return w, a, clipped_grid(name, w)


def ratios(levels, w, a, grid, best):
    error = quadratic_error(grid.values(levels), w, a)
    return error / best.clamp_min(1e-30)


@pytest.mark.parametrize("name", GRIDS)
def test_against_all_roundings_of_ten_weights(name):
    found, of_gptq = [], []
    for seed in range(8):  # 25 rows of each of eight matrices
        w, a, grid = layer(10, 25, seed, name)
        best = best_of_all(w, a, grid)
        start = grid.nearest(w)
        end = flips(start, w, a, grid)
        assert (quadratic_error(grid.values(end), w, a) <= quadratic_error(grid.values(start), w, a)).all()
        low, high = grid.around(w)
        assert ((end == low) | (end == high)).all()
        found.append(ratios(end, w, a, grid, best))
        of_gptq.append(ratios(gptq(w, a, grid).levels, w, a, grid, best))
    ratio = torch.cat(found)
    assert (ratio >= 1 - 1e-9).all()
    assert (ratio <= 1 + 1e-9).double().mean() >= 0.8
    assert ratio.median() <= 1.001
    assert ratio.quantile(0.95) <= 1.15
    assert torch.cat(of_gptq).median() <= 1.25


@pytest.mark.parametrize("name", GRIDS)
def test_few_weights_are_optimal(name):
    for seed in range(4):
        for n in (1, 2, 4, 9):
            w, a, grid = layer(n, 10, seed, name)
            end = flips(grid.nearest(w), w, a, grid)
            assert ratios(end, w, a, grid, best_of_all(w, a, grid)).max() <= 1 + 1e-9


@pytest.mark.parametrize("name", ["INT3_NARROW", "POT4", "SPOT2", "MIDRISE3"])
def test_from_gptq_it_never_rises(name):
    for seed in range(5):
        w, a, grid = layer(40, 12, seed, name)
        start = gptq(w, a, grid).levels
        end = flips(start, w, a, grid)
        before, after = (quadratic_error(grid.values(x), w, a) for x in (start, end))
        assert (after <= before).all()
        assert after.sum() < before.sum()
        assert torch.isin(end, grid.levels).all()


@pytest.mark.parametrize("name", [*GRIDS, "BIPOLAR"])
@pytest.mark.parametrize("n", [1, 6])
def test_uncorrelated_inputs_leave_nearest(name, n):
    g = torch.Generator().manual_seed(1)
    a = torch.diag(torch.rand(n, generator=g, dtype=torch.float64) + 0.1)[None]
    w = torch.randn(30, n, generator=g, dtype=torch.float64)
    grid = clipped_grid(name, w)
    nearest = grid.nearest(w)
    assert torch.equal(flips(nearest, w, a, grid), nearest)
    assert torch.equal(gptq(w, a, grid).levels, nearest)
    assert torch.equal(adaround(w, a, grid, steps=50).levels, nearest)


def test_double_changes_escape_where_single_ones_do_not():
    a = torch.tensor([[[1.0, 0.99], [0.99, 1.0]]], dtype=torch.float64)
    grid = level_grid(parse_format("INT4"), torch.tensor(1.0))
    w = torch.tensor([[1.45, 2.48]], dtype=torch.float64)
    start = torch.tensor([[2.0, 2.0]], dtype=torch.float64)
    end = flips(start, w, a, grid)
    assert end.tolist() == [[1.0, 3.0]]
    for single in ([1.0, 2.0], [2.0, 3.0]):
        worse = torch.tensor([single], dtype=torch.float64)
        assert quadratic_error(worse, w, a) > quadratic_error(start, w, a)


def test_wide_layers_pair_only_the_best():
    w, a, grid = layer(300, 4, 0, "INT3_NARROW")
    nearest = grid.nearest(w)
    end = flips(nearest, w, a, grid)
    before, after = (quadratic_error(grid.values(x), w, a) for x in (nearest, end))
    assert (after < before).all()
    for i in range(0, 300, 7):  # no single change lowers the error any more
        low, high = grid.around(w)
        other = end.clone()
        other[:, i] = low[:, i] + high[:, i] - end[:, i]
        assert (quadratic_error(grid.values(other), w, a) >= after * (1 - 1e-9)).all()


def test_masks_and_scales_per_weight():
    w, a, _ = layer(8, 10, 0, "INT4_NARROW")
    keep = torch.rand(10, 8, generator=torch.Generator().manual_seed(0)) > 0.3
    scale = (w.abs().amax(1, keepdim=True) / 7).repeat(1, 8) * torch.tensor([1.0, 0.5]).repeat(4)
    grid = level_grid(parse_format("INT4"), scale)
    start = torch.where(keep, grid.nearest(w), 0.0)
    end = flips(start, w, a, grid, keep=keep)
    assert (end[~keep] == 0).all()
    assert quadratic_error(grid.values(end), w, a).sum() < quadratic_error(grid.values(start), w, a).sum()
