"""Layers called more than once: one rounding for all inputs, learned in no unit, every call measured."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from bitjoule.network import Network, capture
from bitjoule.scheme import parse_scheme
from bitjoule.train.ptq import PRESETS, configured, ptq
from bitjoule.train.ptq.layerwise import LayerPass
from bitjoule.train.ptq.output_loss import divergence
from bitjoule.train.ptq.place import placed
from bitjoule.train.ptq.sensitivity import sensitivities
from bitjoule.train.ptq.shared import shared_grams
from bitjoule.train.ptq.trace import Trace
from tests.train.ptq.conftest import noise

SAME = "[first=same,last=same]"


class Twice(nn.Module):
    """One convolution on the image and, much larger, on what it made; in a row or side by side."""

    def __init__(self, parallel: bool) -> None:
        super().__init__()
        self.conv, self.head, self.parallel = nn.Conv2d(3, 3, 3, padding=1), nn.Linear(3, 4), parallel

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.conv(x))
        z = torch.relu(self.conv(-4 * x)) if self.parallel else torch.relu(self.conv(4 * y))
        return self.head((y + z if self.parallel else z).mean((2, 3)))


def twice(parallel: bool = False) -> Network:
    torch.manual_seed(0)
    return capture(Twice(parallel).eval(), input_shape=(1, 3, 12, 12)).eval()


def test_moments_are_those_of_all_calls(images: Tensor) -> None:
    net = twice()
    quantized = placed(net, parse_scheme(f"w4a8{SAME}"), asymmetric_below_bits=5, image_signed=True)
    work = LayerPass(Trace(quantized, [images]), PRESETS["best"], 0, len(images))
    ((quantizer, gram),) = shared_grams(work).items()
    assert quantizer.name == "conv.weight"
    conv = net.module.get_submodule("conv")
    with torch.no_grad():
        calls = torch.cat([images, 4 * torch.relu(conv(images))])
        columns = nn.functional.unfold(calls, 3, padding=1).transpose(1, 2).reshape(-1, 27).double()
    torch.testing.assert_close(gram.a[0], columns.T @ columns / len(columns), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("settings", [["rounding=gptq"], ["rounding=best_of", "refine=flips"]])
def test_rounding_for_all_calls_beats_nearest(images: Tensor, settings: list[str]) -> None:
    net = twice()
    config = configured(PRESETS["fast"], settings)
    nearest = configured(config, ["rounding=nearest", "refine=none"])
    found = [noise(net, ptq(net, images, f"w3a8{SAME}", config=c), images) for c in (config, nearest)]
    assert found[0] < found[1]


def test_a_shared_weight_is_not_learned_in_the_unit_of_one_call(
    images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = twice()
    config = configured(PRESETS["best"], ["iterations=5"])
    monkeypatch.setattr("bitjoule.train.ptq.reconstruct.clearly_worse", lambda before, after: False)
    report = ptq(net, images, f"w4a4{SAME}", config=config).quantization_report
    methods = {row.name: row.method for row in report.rows}
    assert "best_of" in methods["conv.weight"] and methods["head.weight"] == "block reconstruction"
    assert any("no bias correction, the layer is called more than once" in note for note in report.notes)


def test_sensitivity_counts_every_call(images: Tensor) -> None:
    """Also of calls side by side, the later of which does not depend on the earlier."""
    net = twice(parallel=True)
    found = sensitivities(net, images, weights=("2",), activations=(), scheme=f"int8{SAME}")
    measured = found.of("weight")["conv"]["2"]
    alone = ptq(net, images, f"w2a16{SAME}", config=configured(PRESETS["fast"], ["rounding=nearest"]))
    other = net.clone()
    with torch.no_grad():
        weight = other.module.get_submodule("conv").weight
        weight.copy_(alone.module.get_submodule("conv").weight)
        wanted = divergence(net(images), other(images)).mean()
    assert measured == pytest.approx(float(wanted), rel=1e-4)
