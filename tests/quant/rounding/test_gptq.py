"""GPTQ: printed vectors, explicit inverse down-dating, columns, order, masks, groups, failures."""

import numpy as np
import pytest
import torch

from bitjoule.formats import parse_format
from bitjoule.quant.fake_quantizer import QuantizerWarning
from bitjoule.quant.rounding import RoundingError, gptq, level_grid, quadratic_error
from bitjoule.quant.rounding.gptq import inverse_factor
from tests.quant.rounding.layers import GRIDS, clipped_grid, gram_of, relu_inputs

H = (
    torch.tensor([[15, 4, -4, 7], [4, 8, 2, -2], [-4, 2, 11, -4], [7, -2, -4, 11.0]], dtype=torch.float64)[
        None
    ]
    / 3
)
W = torch.tensor([[0.37, -0.58, 0.21, 0.66], [-0.83, 0.12, 0.49, -0.31]], dtype=torch.float64)
VECTORS = [
    ("INT4_NARROW", 0.25, [[1, -2, 1, 3], [-3, 0, 2, -1]], [0.0465, 0.0850333],
     [[1, -2, 1, 3], [-3, 0, 2, -2]], [0.0465, 0.0775333]),
    ("INT3_NARROW", 0.4, [[1, -1, 1, 2], [-2, 0, 1, -1]], [0.255, 0.0657],
     [[1, -2, 1, 2], [-2, 0, 1, -1]], [0.239, 0.0657]),
    ("POT4", 2**-6, [[16, -32, 16, 32], [-64, 8, 32, -16]], [0.304, 0.1108667],
     [[16, -32, 8, 32], [-64, 16, 32, -8]], [0.2179583, 0.0789917]),
    ("SPOT2", 2**-6, [[24, -36, 14, 40], [-56, 8, 31, -20]], [0.0068516, 0.0095223],
     [[24, -36, 14, 40], [-56, 10, 31, -18]], [0.0068516, 0.0044832]),
    ("APOT4", 0.1, [[4, -6, 2, 6], [-8, 1, 4, -3]], [0.007, 0.0477],
     [[4, -6, 2, 6], [-8, 1, 4, -4]], [0.007, 0.0363667]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "scale", "nearest", "before", "levels", "after"), VECTORS)
def test_printed_vectors(name, scale, nearest, before, levels, after):
    grid = level_grid(parse_format(name), torch.tensor(scale, dtype=torch.float64))
    plain = grid.nearest(W)
    assert plain.tolist() == nearest
    assert quadratic_error(grid.values(plain), W, H).tolist() == pytest.approx(before, abs=6e-8)
    found = gptq(W, H / 2, grid, act_order=False)
    assert found.levels.tolist() == levels
    assert quadratic_error(found.values, W, H).tolist() == pytest.approx(after, abs=6e-8)


def test_the_order_of_activations_is_a_heuristic():
    grid = level_grid(parse_format("INT4_NARROW"), torch.tensor(0.25))
    assert gptq(W, H / 2, grid).levels.tolist() == VECTORS[0][2]


def slow(w, a, grid, order, damping=0.01):
    """GPTQ by the formulas of optimal brain quantization: an explicit inverse, down-dated."""
    n = a.shape[0]
    h = 2 * a.numpy().copy()
    rows = w.numpy().copy()
    dead = np.diag(h) == 0
    h[dead, dead] = 1
    rows[:, dead] = 0
    h += damping * np.diag(h).mean() * np.eye(n)
    inverse = np.linalg.inv(h)
    levels = np.zeros_like(rows)
    waiting = list(order)
    while waiting:
        i = waiting.pop(0)
        levels[:, i] = grid.nearest(torch.from_numpy(rows[:, [i]])).numpy()[:, 0]
        error = (rows[:, i] - levels[:, i] * grid.scale.numpy()[:, 0]) / inverse[i, i]
        rows[:, waiting] -= error[:, None] * inverse[i, waiting]
        inverse -= np.outer(inverse[:, i], inverse[i]) / inverse[i, i]
    return levels


@pytest.mark.parametrize("seed", range(100))
def test_equals_the_explicit_inverse(seed):
    g = torch.Generator().manual_seed(seed)
    n = 3 + seed % 12
    a = gram_of(relu_inputs(n, 60, seed))
    w = torch.randn(5, n, generator=g, dtype=torch.float64)
    if seed % 5 == 0:
        a[:, 1], a[:, :, 1] = 0, 0
    grid = clipped_grid(GRIDS[seed % len(GRIDS)], w)
    order = np.argsort(-np.diag(a[0].numpy()), kind="stable") if seed % 2 else np.arange(n)
    found = gptq(w, a, grid, act_order=bool(seed % 2), block=4)
    np.testing.assert_array_equal(found.levels.numpy(), slow(w, a[0], grid, order))


def test_factor_is_the_cholesky_factor_of_the_inverse():
    a = gram_of(relu_inputs(7, 40, 1))
    u, used = inverse_factor(a, 0.01)
    h = 2 * a[0]
    h = h + 0.01 * h.diagonal().mean() * torch.eye(7, dtype=torch.float64)
    expected = torch.linalg.cholesky(torch.linalg.inv(h), upper=True)
    assert torch.allclose(u[0], expected, rtol=0, atol=1e-9)
    assert used.tolist() == [0.01]


def test_blocks_change_nothing():
    a = gram_of(relu_inputs(30, 400, 2))
    w = torch.randn(6, 30, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    grid = clipped_grid("INT3_NARROW", w)
    one, many = (gptq(w, a, grid, block=block).levels for block in (1, 128))
    assert torch.equal(one, many)
    assert (
        quadratic_error(grid.values(many), w, a).sum()
        < quadratic_error(grid.values(grid.nearest(w)), w, a).sum()
    )


def test_groups_are_layers_of_their_own():
    grams = torch.cat([gram_of(relu_inputs(9, 50, seed)) for seed in range(4)])
    w = torch.randn(8, 9, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    grid = clipped_grid("POT3", w)
    together = gptq(w, grams, grid).levels
    for i in range(4):
        part = slice(2 * i, 2 * i + 2)
        alone = gptq(w[part], grams[i : i + 1], clipped_grid("POT3", w[part])).levels
        assert torch.equal(together[part], alone)


def test_columns_without_input_give_zeros():
    a = gram_of(relu_inputs(6, 50, 3))
    a[:, 2], a[:, :, 2] = 0, 0
    w = torch.ones(2, 6, dtype=torch.float64)
    levels = gptq(w, a, level_grid(parse_format("INT4"), torch.tensor(0.3))).levels
    assert levels[:, 2].tolist() == [0, 0]
    assert (levels[:, [0, 1, 3, 4, 5]] != 0).all()


@pytest.mark.parametrize("act_order", [False, True])
def test_quantized_weights_stay(act_order):
    a = gram_of(relu_inputs(12, 50, 4))
    g = torch.Generator().manual_seed(0)
    grid = level_grid(parse_format("APOT4"), torch.rand(5, generator=g, dtype=torch.float64) + 0.1)
    levels = grid.levels[torch.randint(len(grid.levels), (5, 12), generator=g)]
    assert torch.equal(gptq(grid.values(levels), a, grid, act_order=act_order).levels, levels)


def test_pruned_weights_stay_zero_and_are_made_up_for():
    a = gram_of(relu_inputs(10, 80, 5))
    g = torch.Generator().manual_seed(0)
    w = torch.randn(40, 10, generator=g, dtype=torch.float64)
    keep = torch.rand(40, 10, generator=g) > 0.4
    grid = level_grid(parse_format("INT6"), w.abs().amax(1) / 31)
    found = gptq(w, a, grid, keep=keep)
    assert (found.levels[~keep] == 0).all()
    plain = torch.where(keep, grid.nearest(w), 0.0)
    assert quadratic_error(found.values, w, a).sum() < 0.8 * quadratic_error(grid.values(plain), w, a).sum()
    text = r"POT4_ZF has no zero to prune with; drop the mask or take another format"
    with pytest.raises(RoundingError, match=text):
        gptq(w, a, level_grid(parse_format("POT4_ZF"), torch.ones(40)), keep=keep)


@pytest.mark.parametrize("block", [1, 3, 4, 128])
def test_scales_of_groups_follow_the_weights(block):
    a = gram_of(relu_inputs(10, 80, 6))
    w = torch.randn(4, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    seen = []

    def rescale(rows):
        seen.append(rows.clone())
        return rows.abs().amax(1) / 7

    grid = level_grid(parse_format("INT4"), torch.ones(4))
    found = gptq(w, a, grid, act_order=False, block=block, group_size=4, rescale=rescale)
    assert [r.shape[1] for r in seen] == [4, 4, 2]
    assert torch.equal(seen[0], w[:, :4])
    assert not torch.allclose(seen[1], w[:, 4:8])
    for place, rows in zip((0, 4, 8), seen, strict=True):
        assert torch.equal(found.grid.scale[:, place], rows.abs().amax(1) / 7)
    reference = gptq(w, a, found.grid, act_order=False).levels
    assert torch.equal(found.levels, reference)


def test_not_positive_definite():
    a = torch.tensor([[[1.0, 100.0], [100.0, 1.0]]], dtype=torch.float64)
    grid = level_grid(parse_format("INT4"), torch.tensor(1.0))
    w = torch.tensor([[1.4, 2.6]])
    with pytest.warns(
        QuantizerWarning, match=r"fc: the Gram matrix of 1 of 1 groups is not positive definite"
    ):
        found = gptq(w, a, grid, name="fc")
    assert found.levels.tolist() == [[1, 3]]
    assert found.damping.tolist() == [float("inf")]
    slightly = torch.tensor([[[1.0, 1.05], [1.05, 1.0]]], dtype=torch.float64)
    assert gptq(w, slightly, grid).damping.tolist() == pytest.approx([0.1])


def test_refusals():
    w, a = torch.ones(2, 3), torch.eye(3)[None]
    grid = level_grid(parse_format("INT4"), torch.tensor(1.0))
    for bad, text in (
        ({"keep": torch.ones(2, 2, dtype=torch.bool)}, r"a mask has the shape of the weights \(2, 3\)"),
        ({"group_size": 2}, r"group_size and rescale go together"),
        ({"group_size": 2, "rescale": lambda r: r[:, 0]}, r"need the natural order; set act_order=False"),
    ):
        with pytest.raises(RoundingError, match=text):
            gptq(w, a, grid, **bad)
    with pytest.raises(RoundingError, match=r"weights of 1 groups with 3 columns have the shape \(rows, 3\)"):
        gptq(torch.ones(2, 4), a, grid)
    with pytest.raises(RoundingError, match=r"Gram matrices have the shape \(groups, n, n\), not \(3, 3\)"):
        gptq(w, torch.eye(3), grid)
