"""Images that do not look like the training data are told so."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from bitjoule.network import Network
from bitjoule.network.statistics import EdgeStatistics
from bitjoule.train.ptq import PtqWarning, ptq
from bitjoule.train.ptq.drift import Drift


def test_images_of_another_scale_warn(tiny: Network, images: Tensor) -> None:
    text = (
        r"ptq: calibration images look unlike the training data: mean or deviation of \d+ of 32 channels is "
        r"more than 0\.5 deviations from what batch norm stored \(most in '\w+'\); check their normalisation"
    )
    with pytest.warns(PtqWarning, match=text):
        found = ptq(tiny, 5 * images + 3, "w8a8")
    assert any("look unlike" in note for note in found.quantization_report.notes)


def test_a_quarter_is_not_yet_told() -> None:
    stored = EdgeStatistics(torch.zeros(4), torch.ones(4))
    x = torch.randn(4000, 4, generator=torch.Generator().manual_seed(0))
    drift = Drift()
    drift.see("a", [x + torch.tensor([0.0, 0.0, 0.0, 0.7])], stored)
    assert (drift.far, drift.channels, drift.warning) == (1, 4, "")
    drift.see("b", [x * torch.tensor([1.0, 1.0, 0.3, 1.7])], stored)
    assert (drift.far, drift.worst) == (3, "b") and "3 of 8" in drift.warning
    drift.see("dead", [0 * x], EdgeStatistics(torch.zeros(4), torch.zeros(4)))
    assert drift.channels == 8
