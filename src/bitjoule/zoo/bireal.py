"""Residual networks made for one bit: Bi-Real nets and ReActNets of ResNet-18 and ResNet-20 shape.

Bi-Real (Liu et al. 2018, arXiv 1808.00278): a shortcut round every 3x3 convolution, sign-conv-BN-add; where
shapes change the shortcut is average pool 2x2, convolution 1x1, batch norm. ReActNet (Liu et al. 2020, arXiv
2003.03488) learns a shift before every sign (RSign) and has a shifted PReLU after every add (RPReLU).

The sign itself comes with the Scheme (`w1a1`): in float each branch has a hardtanh in its place, whose
gradient is that of the clipped sign. Stem and classifier stay as in ResNet, without a ReLU behind the stem.
"""

import torch
from torch import Tensor, nn

from bitjoule.zoo.initialization import he_initialize
from bitjoule.zoo.option_ranges import check_options
from bitjoule.zoo.width import scaled

__all__ = [
    "BinaryResNet",
    "BinaryUnit",
    "RPReLU",
    "Shift",
    "bireal18",
    "bireal20",
    "reactnet18",
    "reactnet20",
]


class Shift(nn.Module):
    """x + b, one learned b per channel, 0 at the start. Shape (N, C, H, W) stays.

    >>> Shift(2)(torch.zeros(1, 2, 3, 3)).shape
    torch.Size([1, 2, 3, 3])
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.shift.view(1, -1, 1, 1)


class RPReLU(nn.Module):
    """PReLU(x + g) + z per channel: slope 0.25, g and z 0 at the start (ReActNet, equation 5)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.before = Shift(channels)
        self.prelu = nn.PReLU(channels)
        self.after = Shift(channels)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.after(self.prelu(self.before(x)))
        return y


class BinaryUnit(nn.Module):
    """[shift] - sign - conv 3x3 - BN - add the shortcut - [RPReLU]; the brackets with `react`."""

    def __init__(self, in_channels: int, channels: int, stride: int, react: bool) -> None:
        super().__init__()
        self.shift: nn.Module = Shift(in_channels) if react else nn.Identity()
        self.activation = nn.Hardtanh()
        self.conv = nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(channels)
        same = stride == 1 and in_channels == channels
        self.downsample: nn.Module = nn.Identity() if same else pooled(in_channels, channels, stride)
        self.rprelu: nn.Module = RPReLU(channels) if react else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn(self.conv(self.activation(self.shift(x))))
        z: Tensor = self.rprelu(y + self.downsample(x))
        return z


def pooled(in_channels: int, channels: int, stride: int) -> nn.Sequential:
    """Return the shortcut of a unit that changes shape: average pool, convolution 1x1, batch norm."""
    return nn.Sequential(
        nn.AvgPool2d(stride, ceil_mode=True, count_include_pad=False) if stride > 1 else nn.Identity(),
        nn.Conv2d(in_channels, channels, 1, bias=False),
        nn.BatchNorm2d(channels),
    )


class BinaryResNet(nn.Module):
    """Stem, one stage of units per entry of `channels`, global average, `fc`.

    `units`: binary convolutions of each stage; the first of every stage but the first has stride 2.
    Input (N, in_channels, H, W), output (N, classes).
    """

    def __init__(
        self,
        channels: tuple[int, ...],
        units: int,
        classes: int,
        in_channels: int,
        stem: str,
        react: bool,
    ) -> None:
        super().__init__()
        if stem not in ("imagenet", "cifar"):
            raise ValueError(
                f"stem must be 'imagenet' (7x7 stride 2, max pool) or 'cifar' (3x3 stride 1), not {stem!r}"
            )
        large = stem == "imagenet"
        self.conv1 = nn.Conv2d(
            in_channels,
            channels[0],
            7 if large else 3,
            stride=2 if large else 1,
            padding=3 if large else 1,
            bias=False,
        )
        self.bn1 = nn.BatchNorm2d(channels[0])
        self.maxpool: nn.Module = nn.MaxPool2d(3, stride=2, padding=1) if large else nn.Identity()
        self.stages = len(channels)
        previous = channels[0]
        for number, count in enumerate(channels, start=1):
            first = BinaryUnit(previous, count, 1 if number == 1 else 2, react)
            rest = [BinaryUnit(count, count, 1, react) for _ in range(units - 1)]
            self.add_module(f"layer{number}", nn.Sequential(first, *rest))
            previous = count
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(previous, classes)
        he_initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.bn1(self.conv1(x)))
        for number in range(1, self.stages + 1):
            x = self.get_submodule(f"layer{number}")(x)
        logits: Tensor = self.fc(torch.flatten(self.avgpool(x), 1))
        return logits


def bireal18(
    *, width: float = 1.0, classes: int = 1000, in_channels: int = 3, stem: str = "imagenet"
) -> BinaryResNet:
    """Return Bi-Real-18: 16 binary convolutions, 1,814,073,344 MACs at 224x224.

    >>> bireal18(width=0.125, classes=10, stem="cifar")(torch.zeros(1, 3, 16, 16)).shape
    torch.Size([1, 10])
    """
    return _network18("bireal18", width, classes, in_channels, stem, react=False)


def reactnet18(
    *, width: float = 1.0, classes: int = 1000, in_channels: int = 3, stem: str = "imagenet"
) -> BinaryResNet:
    """Return ReActNet-18: Bi-Real-18 with RSign and RPReLU, 11,704,424 parameters."""
    return _network18("reactnet18", width, classes, in_channels, stem, react=True)


def bireal20(*, width: float = 1.0, classes: int = 10, in_channels: int = 3) -> BinaryResNet:
    """Return Bi-Real-20 for CIFAR: 18 binary convolutions, 40,813,184 MACs at 32x32."""
    return _network20("bireal20", width, classes, in_channels, react=False)


def reactnet20(*, width: float = 1.0, classes: int = 10, in_channels: int = 3) -> BinaryResNet:
    """Return ReActNet-20 for CIFAR: Bi-Real-20 with RSign and RPReLU, 275,114 parameters."""
    return _network20("reactnet20", width, classes, in_channels, react=True)


def _network18(
    name: str, width: float, classes: int, in_channels: int, stem: str, *, react: bool
) -> BinaryResNet:
    check_options(name, {"width": width, "classes": classes, "in_channels": in_channels})
    channels = tuple(scaled(count, width) for count in (64, 128, 256, 512))
    return BinaryResNet(channels, 4, classes, in_channels, stem, react)


def _network20(name: str, width: float, classes: int, in_channels: int, *, react: bool) -> BinaryResNet:
    check_options(name, {"width": width, "classes": classes, "in_channels": in_channels})
    channels = tuple(scaled(count, width) for count in (16, 32, 64))
    return BinaryResNet(channels, 6, classes, in_channels, "cifar", react)
