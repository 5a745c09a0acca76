"""Biases: on the grid of 32-bit accumulators behind every layer, corrected by statistics where asked."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from bitjoule.network import Network, capture
from bitjoule.train.ptq import PRESETS, configured, ptq
from bitjoule.train.ptq.trace import quantizer_of
from tests.train.ptq.conftest import noise

SAME = "[first=same,last=same]"


def test_biases_behind_pools_and_flatten_are_rounded(images: Tensor) -> None:
    """Modules as well as functions may stand between a quantizer and the layer that reads it."""
    torch.manual_seed(0)
    convolutions = [nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3), nn.ReLU()]
    model = nn.Sequential(*convolutions, nn.Flatten(), nn.Linear(36, 2))
    net = capture(model.eval(), input_shape=(1, 3, 12, 12)).eval()
    quantized = ptq(net, images, f"w4a4{SAME}")
    before = {"3": "1", "6": "4"}  # layer -> module whose quantized result it reads
    nodes = {str(n.target): quantizer_of(quantized, n) for n in quantized.module.graph.nodes}
    for layer, source in before.items():
        weight, seen = nodes[f"quantizers.{layer}_weight"], nodes[f"quantizers.{source}"]
        assert weight is not None and seen is not None
        step = weight.scale_now().double() * seen.scale_now().double()
        levels = quantized.module.get_parameter(f"{layer}.bias").double() / step
        torch.testing.assert_close(levels, levels.round(), atol=1e-3, rtol=1e-6)
    assert not [note for note in quantized.quantization_report.notes if "stay float" in note]


def test_biases_that_stay_float_are_told(tiny: Network, images: Tensor) -> None:
    notes = ptq(tiny, images, "wSVA1_CSD_STRICTa8").quantization_report.notes
    assert any(note.startswith("the biases of ") and "stay float" in note for note in notes)


def test_analytic_correction_with_images(tiny: Network, images: Tensor) -> None:
    found = {}
    for kind in ("none", "analytic", "empirical"):
        config = configured(PRESETS["fast"], ["rounding=nearest", f"bias_correction={kind}"])
        found[kind] = noise(tiny, ptq(tiny, images, f"w2a8{SAME}", config=config), images)
    assert found["empirical"] < found["analytic"] < found["none"]


@pytest.mark.parametrize("bias_correction", ["none", "empirical", "analytic"])
def test_a_network_without_batch_norm(images: Tensor, bias_correction: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.ReLU(), nn.Conv2d(4, 2, 3))
    net = capture(model.eval(), input_shape=(1, 3, 12, 12)).eval()
    config = configured(PRESETS["fast"], [f"bias_correction={bias_correction}"])
    assert noise(net, ptq(net, images, f"w8a8{SAME}", config=config), images) < 1e-3
