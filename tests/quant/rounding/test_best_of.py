"""The best of several roundings, row by row."""

import pytest
import torch

from bitjoule.quant.rounding import RoundingError, best_of, quadratic_error, round_layer
from tests.quant.rounding.layers import clipped_grid, gram_of, relu_inputs


@pytest.mark.parametrize("name", ["INT3_NARROW", "APOT4", "FP4_E2M1", "BIPOLAR"])
def test_never_above_any_of_them(name):
    a = gram_of(relu_inputs(16, 300, 0))
    w = torch.randn(30, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    grid = clipped_grid(name, w)
    alone = {m: round_layer(w, a, grid, m, steps=60) for m in ("nearest", "gptq", "adaround")}
    best = round_layer(w, a, grid, "best_of", steps=60)
    lowest = torch.stack([r.error for r in alone.values()]).amin(0)
    assert torch.equal(best.error, lowest)
    assert sum(best.chosen.values()) == 30
    assert best.chosen["gptq"] + best.chosen["adaround"] > 0
    refined = round_layer(w, a, grid, "best_of", steps=60, refine=True)
    assert (refined.error <= best.error).all()
    assert torch.allclose(refined.error, quadratic_error(grid.values(refined.levels), w, a))


def test_masks():
    a = gram_of(relu_inputs(8, 300, 0))
    g = torch.Generator().manual_seed(0)
    w, keep = torch.randn(10, 8, generator=g), torch.rand(10, 8, generator=g) > 0.5
    grid = clipped_grid("INT4", w.double())
    found = round_layer(w, a, grid, "best_of", steps=20, refine=True, keep=keep)
    assert (found.levels[~keep] == 0).all()


def test_nothing_to_choose_from():
    a = gram_of(relu_inputs(2, 10, 0))
    w = torch.ones(1, 2)
    with pytest.raises(RoundingError, match=r"best_of: no roundings were given"):
        best_of({}, w, a, clipped_grid("INT4", w.double()))
