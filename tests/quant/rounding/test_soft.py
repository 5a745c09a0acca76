"""Printed vectors of AdaRound's variable."""

import pytest
import torch

from bitjoule.quant.rounding import beta_at, rectified_sigmoid, regulariser, share_at, soft_start


def test_printed_vectors():
    h = rectified_sigmoid(torch.tensor([-2.5, -0.7, 0.2, 1.3, 4.0], dtype=torch.float64))
    assert h.tolist() == pytest.approx([0, 0.298175, 0.559801, 0.843002, 1], abs=5e-7)
    for beta, value in ((20, 2.9994672), (8, 2.9502481), (2, 2.3521602)):
        assert regulariser(h, beta).item() == pytest.approx(value, abs=5e-8)
    start = soft_start(torch.tensor([0.05, 0.3, 0.75], dtype=torch.float64))
    assert start.tolist() == pytest.approx([-1.945910, -0.693147, 0.887303], abs=5e-7)
    steps = [0, 399, 400, 800, 1200, 1999]
    assert [beta_at(s, 2000) for s in steps] == pytest.approx([20, 20, 20, 15.5, 11, 2.01125])
    assert [share_at(s, 2000) for s in steps] == [0, 0, 1, 1, 1, 1]


def test_start_undoes_the_sigmoid():
    f = torch.linspace(0, 1, 21, dtype=torch.float64)
    assert torch.allclose(rectified_sigmoid(soft_start(f)), f, rtol=0, atol=1e-12)
