"""Residual networks (He et al. 2016, arXiv 1512.03385) of basic blocks.

`resnet20`, `resnet32`, `resnet56` are the CIFAR networks of the paper's section 4.2, with module names of
akamaster/pytorch_resnet_cifar10; `resnet18` has the module names of torchvision. `resnet8`, the MLPerf Tiny
network, stands in `resnet8.py`.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bitjoule.zoo.initialization import he_initialize
from bitjoule.zoo.option_ranges import check_options
from bitjoule.zoo.width import scaled

__all__ = [
    "BasicBlock",
    "CifarResNet",
    "DownsampleBlock",
    "OptionAShortcut",
    "ResNet18",
    "resnet18",
    "resnet20",
    "resnet32",
    "resnet56",
]


class OptionAShortcut(nn.Module):
    """The shortcut without parameters: every `stride`-th pixel, zero channels half before and half after."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.before = (channels - in_channels) // 2
        self.after = channels - in_channels - self.before

    def forward(self, x: Tensor) -> Tensor:
        if self.stride != 1:
            x = x[:, :, :: self.stride, :: self.stride]
        if self.before + self.after:
            x = F.pad(x, (0, 0, 0, 0, self.before, self.after))
        return x


def projection(in_channels: int, channels: int, stride: int) -> nn.Sequential:
    """Return the option B shortcut: convolution 1x1 and batch norm."""
    return nn.Sequential(
        nn.Conv2d(in_channels, channels, 1, stride=stride, bias=False), nn.BatchNorm2d(channels)
    )


class BasicBlock(nn.Module):
    """conv-BN-ReLU-conv-BN, add `shortcut(x)`, ReLU."""

    def __init__(self, in_channels: int, channels: int, stride: int, option: str) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shortcut: nn.Module
        if stride == 1 and in_channels == channels:
            self.shortcut = nn.Identity()
        elif option == "A":
            self.shortcut = OptionAShortcut(in_channels, channels, stride)
        else:
            self.shortcut = projection(in_channels, channels, stride)
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu1(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        y = y + self.shortcut(x)
        z: Tensor = self.relu2(y)
        return z


class CifarResNet(nn.Module):
    """Stem 3x3, `layer1..3` of `depth` blocks at 1/1, 1/2, 1/4 resolution, global average, `linear`.

    Input (N, in_channels, H, W) with H, W >= 4, output (N, classes).
    """

    def __init__(self, depth: int, option: str, width: float, classes: int, in_channels: int) -> None:
        super().__init__()
        if option not in ("A", "B"):
            raise ValueError(
                f"the shortcut option must be 'A' (slice and zero-pad) or 'B' (1x1 conv), not {option!r}"
            )
        stages = tuple(scaled(count, width) for count in (16, 32, 64))
        self.conv1 = nn.Conv2d(in_channels, stages[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(stages[0])
        self.relu = nn.ReLU()
        self.layer1 = stage(stages[0], stages[0], depth, 1, option)
        self.layer2 = stage(stages[0], stages[1], depth, 2, option)
        self.layer3 = stage(stages[1], stages[2], depth, 2, option)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(stages[2], classes)
        he_initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        x = torch.flatten(self.pool(x), 1)
        logits: Tensor = self.linear(x)
        return logits


def stage(in_channels: int, channels: int, depth: int, stride: int, option: str) -> nn.Sequential:
    """Return `depth` basic blocks, the first with `stride`."""
    blocks = [BasicBlock(in_channels, channels, stride, option)]
    blocks += [BasicBlock(channels, channels, 1, option) for _ in range(depth - 1)]
    return nn.Sequential(*blocks)


def resnet20(
    *, option: str = "A", width: float = 1.0, classes: int = 10, in_channels: int = 3
) -> CifarResNet:
    """Return ResNet-20: 40,551,040 MACs at 32x32 with shortcut option A.

    >>> resnet20(in_channels=1)(torch.zeros(1, 1, 8, 8)).shape
    torch.Size([1, 10])
    """
    check_options("resnet20", {"width": width, "classes": classes, "in_channels": in_channels})
    return CifarResNet(3, option, width, classes, in_channels)


def resnet32(
    *, option: str = "A", width: float = 1.0, classes: int = 10, in_channels: int = 3
) -> CifarResNet:
    """Return ResNet-32: 68,862,592 MACs at 32x32 with shortcut option A."""
    check_options("resnet32", {"width": width, "classes": classes, "in_channels": in_channels})
    return CifarResNet(5, option, width, classes, in_channels)


def resnet56(
    *, option: str = "A", width: float = 1.0, classes: int = 10, in_channels: int = 3
) -> CifarResNet:
    """Return ResNet-56: 125,485,696 MACs at 32x32 with shortcut option A."""
    check_options("resnet56", {"width": width, "classes": classes, "in_channels": in_channels})
    return CifarResNet(9, option, width, classes, in_channels)


class DownsampleBlock(nn.Module):
    """The basic block with torchvision's names: the shortcut is `downsample`, a 1x1 convolution where shapes
    differ.
    """

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        same = stride == 1 and in_channels == channels
        self.downsample: nn.Module = nn.Identity() if same else projection(in_channels, channels, stride)
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu1(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        y = y + self.downsample(x)
        z: Tensor = self.relu2(y)
        return z


class ResNet18(nn.Module):
    """Stem, `layer1..4` of two blocks, global average, `fc`; state-dict keys of torchvision's `resnet18`."""

    def __init__(self, width: float, classes: int, in_channels: int, stem: str) -> None:
        super().__init__()
        if stem not in ("imagenet", "cifar"):
            raise ValueError(
                f"stem must be 'imagenet' (7x7 stride 2, max pool) or 'cifar' (3x3 stride 1), not {stem!r}"
            )
        channels = tuple(scaled(count, width) for count in (64, 128, 256, 512))
        self.stem = stem
        if stem == "imagenet":
            self.conv1 = nn.Conv2d(in_channels, channels[0], 7, stride=2, padding=3, bias=False)
        else:
            self.conv1 = nn.Conv2d(in_channels, channels[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels[0])
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1) if stem == "imagenet" else nn.Identity()
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        previous = channels[0]
        for number, count in enumerate(channels, start=1):
            first = DownsampleBlock(previous, count, 1 if number == 1 else 2)
            layers[f"layer{number}"] = nn.Sequential(first, DownsampleBlock(count, count, 1))
            previous = count
        self.layer1, self.layer2, self.layer3, self.layer4 = layers.values()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(previous, classes)
        he_initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        x = torch.flatten(self.avgpool(x), 1)
        logits: Tensor = self.fc(x)
        return logits


def resnet18(
    *, width: float = 1.0, classes: int = 1000, in_channels: int = 3, stem: str = "imagenet"
) -> ResNet18:
    """Return ResNet-18: 1,814,073,344 MACs at 224x224. `stem="cifar"` has a 3x3 stem and no max pool.

    >>> resnet18(width=0.25, classes=100, stem="cifar")(torch.zeros(1, 3, 32, 32)).shape
    torch.Size([1, 100])
    """
    check_options("resnet18", {"width": width, "classes": classes, "in_channels": in_channels})
    return ResNet18(width, classes, in_channels, stem)
