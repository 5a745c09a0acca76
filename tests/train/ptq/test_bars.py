"""Accuracy after quantization: a small network of MNIST in every run, the bars of ptq.md 7 in long ones.

Recipes were chosen on training images; these tests only hold what was reached.
"""

from __future__ import annotations

from pathlib import Path
from statistics import fmean

import pytest
import torch
from torch import Tensor

from bitjoule.network import Network, capture
from bitjoule.train import train_network
from bitjoule.train.ptq import PRESETS, configured, ptq
from bitjoule.train.recipes import recipe
from bitjoule.zoo import batches, build, load_dataset, load_weights
from bitjoule.zoo.data import Preprocessing, Split

IMAGENET = Preprocessing("standard", mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
SAME = "first=same,last=same,preadd=b"
BARS = [
    ("fast", "w8a8", 80.95),
    ("fast", "w6a6", 80.0),
    ("fast", "w4a8", 79.5),
    ("fast", "w4a4", 64.8),
    ("best", "w8a8", 81.0),
    ("best", "w6a6", 80.35),
    ("best", "w4a8", 80.8),
    ("best", "w4a4", 75.6),
    ("data-free", "w8a8", 80.5),
    ("data-free", "w4a8", 78.0),
]


def gathered(split: Split, count: int, preprocessing: Preprocessing) -> tuple[Tensor, Tensor]:
    """The first images and labels of a split."""
    pairs = list(batches(split, 500, preprocessing=preprocessing))
    return torch.cat([x for x, _ in pairs])[:count], torch.cat([y for _, y in pairs])[:count]


@torch.no_grad()
def top1(net: Network, images: Tensor, labels: Tensor) -> float:
    """Percent of images whose greatest logit stands at the label."""
    found = torch.cat([net(part) for part in images.split(500)]).argmax(1)
    return 100 * float((found == labels).double().mean())


def test_mnist(bitjoule_data: Path) -> None:
    data = load_dataset("mnist", bitjoule_data / "mnist", limit_train=3000, limit_test=2000)
    options = {"width": 0.25, "in_channels": 1, "image_size": 28}
    net = capture(build("resnet8", options, 0), input_shape=(1, 1, 28, 28), name="resnet8")
    trained = train_network(
        net, data, "float32", epochs=3, parent_epochs=0, recipe=recipe("smoke", epochs=3)
    ).network.eval()
    images, labels = gathered(data.test, 2000, data.preprocessing)
    calibration, _ = gathered(data.train, 256, data.preprocessing)
    reference = top1(trained, images, labels)
    assert reference > 80
    assert top1(ptq(trained, calibration, f"w4a8[{SAME}]"), images, labels) >= reference - 1
    best = configured(PRESETS["best"], ["iterations=100"])
    fast4 = ptq(trained, calibration, f"w4a4[{SAME}]")
    best4 = ptq(trained, calibration, f"w4a4[{SAME}]", preset="best", config=best)
    assert top1(best4, images, labels) >= top1(fast4, images, labels) - 1  # a standard error of 2,000 images


@pytest.mark.slow
@pytest.mark.parametrize(("preset", "scheme", "bar"), BARS)
def test_resnet20(bitjoule_data: Path, preset: str, scheme: str, bar: float) -> None:
    model = build("resnet20", {}, 0)
    load_weights(model, bitjoule_data / "weights" / "resnet20-12fca82f.th")
    net = capture(model.eval(), input_shape=(1, 3, 32, 32), name="resnet20").eval()
    data = load_dataset("cifar10", bitjoule_data / "cifar10")
    pool, _ = gathered(data.train, 6000, IMAGENET)
    images, labels = gathered(data.test, 10_000, IMAGENET)
    found = []
    for seed in range(3):
        order = torch.randperm(len(pool), generator=torch.Generator().manual_seed(seed))
        calibration = None if preset == "data-free" else pool[order[:512]]
        quantized = ptq(net, calibration, f"{scheme}[{SAME}]", preset=preset, seed=seed)
        found.append(top1(quantized, images, labels))
    assert round(fmean(found), 2) >= bar  # the decimals of the documents' table
