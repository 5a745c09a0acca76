"""Survivors of a mask against a least-squares solver, and what is refused."""

from __future__ import annotations

import pytest
import torch

from bitjoule.quant.rounding import Gram, RoundingError
from bitjoule.quant.rounding.masked_target import importance, masked_target


def test_equals_least_squares_on_the_survivors() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 500, 6, generator=generator, dtype=torch.float64)
    seen = x + 0.1 * torch.randn(2, 500, 6, generator=generator, dtype=torch.float64)
    gram = Gram(seen.mT @ seen / 500, seen.mT @ x / 500, 500)
    w = torch.randn(8, 6, generator=generator, dtype=torch.float64)
    keep = torch.zeros(8, 6, dtype=torch.bool)
    for row in keep:
        row[torch.randperm(6, generator=generator)[:3]] = True
    found = masked_target(w, gram, keep, damping=0.0)
    assert bool((found[~keep] == 0).all())
    for i in range(8):
        group = i // 4
        s = keep[i]
        best = torch.linalg.lstsq(seen[group][:, s], x[group] @ w[i]).solution
        assert torch.allclose(found[i][s], best, atol=1e-9)


def test_groups_without_input_lose_the_pruned_weights_alone() -> None:
    zero = torch.zeros(1, 2, 2, dtype=torch.float64)
    w, keep = torch.tensor([[2.0, 3.0]]), torch.tensor([[False, True]])
    assert masked_target(w, Gram(zero, zero, 1), keep).tolist() == [[0.0, 3.0]]
    assert importance(w, zero).tolist() == [[0.0, 0.0]]


def test_refusals() -> None:
    one = torch.eye(2)[None]
    with pytest.raises(RoundingError, match=r"a mask has the shape of the weights \(1, 2\), not \(2, 2\)"):
        masked_target(torch.ones(1, 2), Gram(one, one, 1), torch.ones(2, 2, dtype=torch.bool))
    uneven = torch.tensor([[True, False], [True, True]])
    with pytest.raises(RoundingError, match="every row needs the same number of survivors"):
        masked_target(torch.ones(2, 2), Gram(one, one, 1), uneven)
