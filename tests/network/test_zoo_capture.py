"""Every network of the zoo is captured as it is, and the real ResNet-20 classifies real images as before."""

import functools
import io
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from bitjoule.network import Network, capture, fold_batch_norm
from bitjoule.zoo import build, input_shape
from tests.network.models import alike

SMALL: dict[str, dict[str, object]] = {
    "moons": {"width": 0.25},
    "resnet8": {},
    "resnet18": {"width": 0.25, "image_size": 32},
    "resnet20": {},
    "resnet32": {"width": 0.5},
    "resnet56": {"width": 0.5},
    "mobilenet_v1": {"width": 0.25, "image_size": 64},
    "mobilenet_v2": {"width": 0.25, "image_size": 64},
    "mobilenet_v2_cifar": {"width": 0.25},
    "ds_cnn": {},
    "cnv": {"width": 0.25},
    "tfc": {"dropout": 0.2},
    "sfc": {},
    "lfc": {"activation": "hardtanh"},
}
MEAN = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
DEVIATION = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)


@functools.cache
def captured(name: str, **options: object) -> tuple[nn.Module, Network]:
    model = build(name, options, seed=0).eval()
    return model, capture(model, input_shape=input_shape(name, options), name=name)


@pytest.mark.parametrize("name", SMALL)
def test_a_zoo_network_is_captured_as_it_is(name: str) -> None:
    options = SMALL[name]
    model, net = captured(name, **options)
    shape = input_shape(name, options)
    assert list(net.state_dict()) == list(model.state_dict())
    assert net.notes == ()
    assert net.workload().parameters == sum(parameter.numel() for parameter in model.parameters())
    with torch.no_grad():
        for batch in (1, 4):
            x = torch.randn(batch, *shape[1:])
            assert alike(net(x), model(x)) < 1e-5


@pytest.mark.parametrize(
    ("name", "options", "macs", "weights", "outputs"),
    # training.md section 4.4, counted by hooks there
    [
        ("resnet20", {}, 40_551_040, 268_336, 188_426),
        ("resnet20", {"option": "B"}, 40_813_184, 270_896, 200_714),
        ("resnet8", {}, 12_501_632, 77_360, 86_026),
        ("ds_cnn", {}, 2_656_768, 22_016, 72_012),
        ("tfc", {}, 59_008, 59_008, 202),
        ("mobilenet_v2_cifar", {"width": 0.25}, 9_481_216, 240_256, 522_634),
    ],
)
def test_golden_counts(name: str, options: dict[str, object], macs: int, weights: int, outputs: int) -> None:
    counted = captured(name, **options)[1].workload()
    assert (counted.macs, counted.weight_elements, counted.output_elements) == (macs, weights, outputs)


def test_mobilenet_v2_has_eleven_adds_at_a_quarter_of_its_width() -> None:
    # training.md section 2: 10 at x1.0, 11 at x0.25
    _, net = captured("mobilenet_v2", **SMALL["mobilenet_v2"])
    assert sum(node.op == "add" for node in net.graph.nodes) == 11


def test_the_option_a_shortcut_is_slices_and_a_pad() -> None:
    _, net = captured("resnet20")
    assert net.graph.node("layer2.0.shortcut.slice").attributes == {
        "dim": 2,
        "start": 0,
        "end": 32,
        "step": 2,
    }
    assert net.graph.node("layer2.0.shortcut.pad").attributes == {"pads": (0, 0, 0, 0, 8, 8), "value": 0.0}
    assert net.graph.node("layer2.0.add").inputs == ("layer2.0.bn2", "layer2.0.shortcut.pad")


def images(folder: Path, count: int) -> tuple[Tensor, Tensor]:
    """The first test images, normalised, and their labels."""
    table = pq.read_table(folder / "cifar10" / "test.parquet").slice(0, count)
    decoded = [Image.open(io.BytesIO(entry["bytes"])).convert("RGB") for entry in table["img"].to_pylist()]
    pixels = torch.from_numpy(np.stack([np.asarray(image) for image in decoded]))
    stacked = pixels.permute(0, 3, 1, 2).float() / 255
    return (stacked - MEAN) / DEVIATION, torch.tensor(table["label"].to_pylist())


def test_real_resnet20_captured_and_folded(bitjoule_data: Path) -> None:
    checkpoint = torch.load(bitjoule_data / "weights" / "resnet20-12fca82f.th", "cpu", weights_only=True)
    state = {key.removeprefix("module."): value for key, value in checkpoint["state_dict"].items()}
    model = build("resnet20", {}, seed=0)
    model.load_state_dict(state)
    model.eval()
    net = capture(model, input_shape=(1, 3, 32, 32))
    flat = fold_batch_norm(net)
    assert flat.notes == () and not any(node.op == "batch_norm" for node in flat.graph.nodes)
    x, labels = images(bitjoule_data, 300)
    with torch.no_grad():
        expected, found, folded = model(x), net(x), flat(x)
    assert alike(found, expected) < 1e-5
    assert alike(folded, expected) < 1e-4
    assert float((folded.argmax(1) == labels).float().mean()) > 0.75  # 81.03 % on all JPEG test images
