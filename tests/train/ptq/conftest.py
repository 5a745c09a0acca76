"""A small residual network with batch-norm statistics that fit its weights, and images for it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from bitjoule.network import Network, capture


class Tiny(nn.Module):
    """A stem, one residual block, a grouped convolution, a linear head; functional relu, a shared tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(8)
        self.conv1 = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(8)
        self.grouped = nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=4)
        self.bn3 = nn.BatchNorm2d(8)
        self.head = nn.Linear(8, 5, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.bn(self.stem(x)))
        y = torch.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        y += x
        y = torch.relu(self.bn3(self.grouped(torch.relu(y))))
        return self.head(y.mean((2, 3)))


@pytest.fixture(scope="session")
def images() -> Tensor:
    """64 smooth random images (64, 3, 12, 12)."""
    generator = torch.Generator().manual_seed(1)
    small = torch.randn(64, 3, 4, 4, generator=generator)
    return nn.functional.interpolate(small, size=12, mode="bilinear")


@pytest.fixture(scope="session")
def tiny(images: Tensor) -> Network:
    """`Tiny`, captured, with the statistics of the images."""
    torch.manual_seed(0)
    model = Tiny().train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.3, 0.5)
    with torch.no_grad():
        for _ in range(3):
            model(images)
    return capture(model.eval(), input_shape=(1, 3, 12, 12), name="tiny").eval()


def noise(net: Network, other: Network, images: Tensor) -> float:
    """Noise power over signal power of the logits."""
    with torch.no_grad():
        a, b = net(images), other(images)
    return float((a - b).square().sum() / a.square().sum())
