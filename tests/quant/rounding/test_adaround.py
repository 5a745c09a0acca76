"""AdaRound, on Gram matrices and on images."""

import pytest
import torch
from torch.nn import functional

from bitjoule.formats import parse_format
from bitjoule.quant.rounding import RoundingError, adaround, adaround_data, level_grid, quadratic_error
from tests.quant.rounding.layers import GRIDS, best_of_all, clipped_grid, gram_of, relu_inputs


@pytest.mark.parametrize("name", GRIDS)
def test_takes_neighbours_and_beats_nearest(name):
    a = gram_of(relu_inputs(10, 500, 0))
    w = torch.randn(40, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    grid = clipped_grid(name, w)
    found = adaround(w, a, grid, steps=300)
    low, high = grid.around(w)
    assert ((found.levels == low) | (found.levels == high)).all()
    nearest = quadratic_error(grid.values(grid.nearest(w)), w, a)
    error = quadratic_error(grid.values(found.levels), w, a)
    assert (error <= nearest).all()
    assert error.sum() < 0.9 * nearest.sum()
    assert (error / best_of_all(w, a, grid)).median() < 1.2


def test_variables_end_binary():
    a = gram_of(relu_inputs(10, 500, 1))
    w = torch.randn(20, 10, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    grid = clipped_grid("INT3_NARROW", w)
    assert adaround(w, a, grid, steps=1000).undecided < 1e-3
    assert adaround(w, a, grid, steps=10).undecided > 0.1


def test_groups_masks_and_determinism():
    grams = torch.cat([gram_of(relu_inputs(9, 50, seed)) for seed in range(3)])
    g = torch.Generator().manual_seed(1)
    w = torch.randn(6, 9, generator=g, dtype=torch.float64)
    keep = torch.rand(6, 9, generator=g) > 0.3
    grid = clipped_grid("POT4", w)
    one, two = (adaround(w, grams, grid, steps=60, keep=keep) for _ in range(2))
    assert torch.equal(one.levels, two.levels)
    assert (one.levels[~keep] == 0).all()


def layer_of_images():
    g = torch.Generator().manual_seed(0)
    x = relu_inputs(12, 512, 0).float()
    w = torch.randn(6, 12, generator=g)
    hat = (x * 4).round() / 4
    return w, x, hat


def test_data_form_lowers_the_error_of_the_output():
    w, x, hat = layer_of_images()
    grid = clipped_grid("INT3_NARROW", w)

    def layer(v, inputs):
        return torch.relu(functional.linear(inputs, v))

    wanted = layer(w, x)
    found = adaround_data(w, grid, hat, wanted, layer, steps=150, rate=2e-2)
    errors = [
        (layer(grid.values(v).float(), hat) - wanted).square().sum(1).mean().item()
        for v in (found.levels, grid.nearest(w))
    ]
    assert errors[0] < 0.9 * errors[1]
    low, high = grid.around(w)
    assert ((found.levels == low) | (found.levels == high)).all()
    assert found.kept == 0
    again = adaround_data(w, grid, hat, wanted, layer, steps=150, rate=2e-2)
    assert torch.equal(again.levels, found.levels)


def test_a_worse_end_keeps_nearest():
    w, x, _ = layer_of_images()
    grid = clipped_grid("INT3_NARROW", w)
    nearest = grid.values(grid.nearest(w)).float()

    def layer(v, inputs):
        return functional.linear(inputs, v)

    # the output wanted is that of the nearest weights: nothing can be better, and a large step goes elsewhere
    found = adaround_data(w, grid, x, layer(nearest, x), layer, steps=3, rate=5.0)
    assert torch.equal(found.levels, grid.nearest(w))


def test_refusal():
    grid = level_grid(parse_format("INT4"), torch.tensor(1.0))
    with pytest.raises(RoundingError, match=r"as many inputs as outputs and at least one, not 3 and 2"):
        adaround_data(torch.ones(1, 2), grid, torch.ones(3, 2), torch.ones(2, 1), functional.linear)
