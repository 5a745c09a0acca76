"""How much worse an output is: printed vectors, and each kind by its formula."""

from __future__ import annotations

import math

import pytest
import torch

from bitjoule.train.ptq.output_loss import compared, divergence


def test_divergence_vector() -> None:
    p, q = torch.tensor([[0.7, 0.2, 0.1]]).log(), torch.tensor([[0.6, 0.3, 0.1]]).log()
    assert float(divergence(p, q)) == pytest.approx(0.0268125, abs=1e-7)


def test_kinds_by_their_formulas() -> None:
    a = torch.tensor([[3.0, 0.0, 4.0], [1.0, 2.0, 0.0]])
    b = a + torch.tensor([[2.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    labels = torch.tensor([2, 1])
    assert compared("accuracy_drop", [a], [b], labels).tolist() == [1.0, 0.0]
    rise = math.log((math.exp(5) + 1 + math.exp(4)) / (math.exp(3) + 1 + math.exp(4)))
    assert compared("loss", [a], [b], labels).tolist() == pytest.approx([rise, 0.0], abs=1e-6)
    assert float(compared("sqnr", [a], [b], None)[0]) == pytest.approx(-10 * math.log10(25 / 4))
    assert float(compared("kl", [a], [b], None)[1]) == pytest.approx(0.0, abs=1e-7)


def test_outputs_are_summed_and_decibels_are_of_all_together() -> None:
    a, b = torch.tensor([[1.0, 2.0]]), torch.tensor([[2.0, 2.0]])
    one = compared("kl", [a], [b], None)
    assert torch.allclose(compared("kl", [a, a], [b, b], None), 2 * one)
    assert float(compared("sqnr", [a, a], [b, a], None)) == pytest.approx(-10 * math.log10(10))
