"""Every network of the zoo through every preset: all is quantized, no tensor has more values than claimed."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from bitjoule.network import Network, capture
from bitjoule.train.ptq import PRESETS, PtqError, configured, ptq, verify_widths
from bitjoule.zoo import build, input_shape, networks
from bitjoule.zoo.registry import network_card

SMALL = {"width": 0.25}
SETTINGS = {
    "fast": [],
    "best": ["iterations=2", "rounding=gptq"],
    "data-free": ["synthetic_level=1"],
}
NO_RANGE = {
    "resnet8": "layer 'block2.shortcut' has none",
    "reactnet18": "behind max_pool 'maxpool'",
    "reactnet20": "behind add 'layer1.0.shift.add'",
}
LONG = {"resnet18", "resnet32", "resnet56", "bireal18", "reactnet18", "mobilenet_v1", "mobilenet_v2"}


def cases() -> list[object]:
    """Every network; the large ones only in long runs."""
    names = [card.name for card in networks()]
    return [pytest.param(name, marks=pytest.mark.slow if name in LONG else ()) for name in names]


def network(name: str) -> tuple[Network, Tensor]:
    """The captured network with the statistics of its images, and those images."""
    options = {key: SMALL[key] for key in SMALL if key in network_card(name).options}
    shape = input_shape(name, options)
    if shape[-1] > 64:
        shape = (*shape[:2], 64, 64)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(16, *shape[1:], generator=generator)
    model = build(name, options, 0).train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        model(images)
    return capture(model.eval(), input_shape=shape, name=name).eval(), images


@pytest.mark.filterwarnings("ignore::bitjoule.train.ptq.PtqWarning")
@pytest.mark.parametrize("preset", SETTINGS)
@pytest.mark.parametrize("name", cases())
def test_every_network_is_quantized_whole(name: str, preset: str) -> None:
    net, images = network(name)
    config = configured(PRESETS[preset], SETTINGS[preset])
    scheme = "w4a4[first=same,last=same,preadd=b]"
    given = None if preset == "data-free" else images
    if given is None and name in NO_RANGE:
        with pytest.raises(PtqError, match=f"{NO_RANGE[name]}.*give calibration images"):
            ptq(net, given, scheme, preset=preset, config=config)
        return
    quantized = ptq(net, given, scheme, preset=preset, config=config)
    assert verify_widths(quantized, images) == len(quantized.quantization_report.rows)
    roles = [row.role for row in quantized.quantization_report.rows]
    assert roles.count("weight") >= len(net.graph.mac_nodes())
    with torch.no_grad():
        assert quantized(images).isfinite().all()
