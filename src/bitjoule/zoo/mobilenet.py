"""MobileNetV1 (Howard et al. 2017, arXiv 1704.04861) and MobileNetV2 (Sandler et al. 2018, arXiv 1801.04381).

MobileNetV2 has the module names of torchvision's `mobilenet_v2`, so its weights load.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from bitjoule.zoo.initialization import he_initialize
from bitjoule.zoo.option_ranges import check_options
from bitjoule.zoo.width import scaled

__all__ = [
    "InvertedResidual",
    "MobileNetV1",
    "MobileNetV2",
    "mobilenet_v1",
    "mobilenet_v2",
    "mobilenet_v2_cifar",
]

# channels and stride of the 13 separable blocks (V1, table 1)
V1_BLOCKS = (
    *((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)),
    *((512, 1), (512, 1), (512, 1), (512, 1), (512, 1), (1024, 2), (1024, 1)),
)
# expansion t, channels c, repeats n, stride s (V2, table 2)
V2_BLOCKS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
# the CIFAR variant keeps 32x32 through the 24-channel blocks
V2_CIFAR_BLOCKS = (
    *((1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2)),
    *((6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)),
)


def convolution(
    in_channels: int, channels: int, kernel: int, stride: int, groups: int, activation: nn.Module
) -> nn.Sequential:
    """Return conv (no bias, padding kernel // 2), batch norm, activation: indices 0, 1, 2 as in
    torchvision.
    """
    conv = nn.Conv2d(in_channels, channels, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(channels), activation)


class MobileNetV1(nn.Module):
    """Stem, 13 depthwise separable blocks, global average, `classifier`; ReLU.

    Input (N, in_channels, H, W), output (N, classes).
    """

    def __init__(self, width: float, classes: int, in_channels: int) -> None:
        super().__init__()
        previous = scaled(32, width)
        self.stem = convolution(in_channels, previous, 3, 2, 1, nn.ReLU())
        blocks: OrderedDict[str, nn.Module] = OrderedDict()
        for number, (count, stride) in enumerate(V1_BLOCKS, start=1):
            channels = scaled(count, width)
            depthwise = convolution(previous, previous, 3, stride, previous, nn.ReLU())
            pointwise = convolution(previous, channels, 1, 1, 1, nn.ReLU())
            blocks[f"block{number}"] = nn.Sequential(OrderedDict(depthwise=depthwise, pointwise=pointwise))
            previous = channels
        self.blocks = nn.Sequential(blocks)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(previous, classes)
        he_initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(self.stem(x))
        x = torch.flatten(self.pool(x), 1)
        logits: Tensor = self.classifier(x)
        return logits


class InvertedResidual(nn.Module):
    """Expand 1x1 (none for t = 1), depthwise 3x3, project 1x1 without activation; `residual` adds the
    input.
    """

    def __init__(self, in_channels: int, channels: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = in_channels * expansion
        layers: list[nn.Module] = []
        if expansion != 1:
            layers.append(convolution(in_channels, hidden, 1, 1, 1, nn.ReLU6()))
        layers.append(convolution(hidden, hidden, 3, stride, hidden, nn.ReLU6()))
        layers += [nn.Conv2d(hidden, channels, 1, bias=False), nn.BatchNorm2d(channels)]
        self.conv = nn.Sequential(*layers)
        self.residual = stride == 1 and in_channels == channels

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        return x + y if self.residual else y


class MobileNetV2(nn.Module):
    """`features` (stem, inverted residuals, last 1x1), global average, `classifier`; ReLU6.

    Input (N, in_channels, H, W), output (N, classes). The number of shortcuts depends on the width: 10 at
    1.0 but 11 at 0.25, where the rounded widths of stem and first block agree (12 in the CIFAR variant).
    """

    def __init__(
        self,
        blocks: tuple[tuple[int, int, int, int], ...],
        stem_stride: int,
        width: float,
        classes: int,
        in_channels: int,
        dropout: float,
    ) -> None:
        super().__init__()
        previous = scaled(32, width)
        features: list[nn.Module] = [convolution(in_channels, previous, 3, stem_stride, 1, nn.ReLU6())]
        for expansion, count, repeats, stride in blocks:
            channels = scaled(count, width)
            for repeat in range(repeats):
                features.append(InvertedResidual(previous, channels, stride if repeat == 0 else 1, expansion))
                previous = channels
        last = scaled(1280, max(1.0, width))
        features.append(convolution(previous, last, 1, 1, 1, nn.ReLU6()))
        self.features = nn.Sequential(*features)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(last, classes))
        he_initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)
        x = torch.flatten(self.pool(x), 1)
        logits: Tensor = self.classifier(x)
        return logits


def mobilenet_v1(*, width: float = 1.0, classes: int = 1000, in_channels: int = 3) -> MobileNetV1:
    """Return MobileNetV1: 568,740,352 MACs at 224x224. Width 0.25, 2 classes, 96x96 is MLPerf Tiny's person
    detector (there with "same" padding; the counts agree).

    >>> mobilenet_v1(width=0.25, classes=2).eval()(torch.zeros(1, 3, 32, 32)).shape
    torch.Size([1, 2])
    """
    check_options("mobilenet_v1", {"width": width, "classes": classes, "in_channels": in_channels})
    return MobileNetV1(width, classes, in_channels)


def mobilenet_v2(
    *, width: float = 1.0, classes: int = 1000, in_channels: int = 3, dropout: float = 0.2
) -> MobileNetV2:
    """Return MobileNetV2: 300,774,272 MACs at 224x224.

    >>> sum(getattr(m, "residual", False) for m in mobilenet_v2(width=0.25).modules())
    11
    """
    check_options(
        "mobilenet_v2",
        {"width": width, "classes": classes, "in_channels": in_channels, "dropout": dropout},
    )
    return MobileNetV2(V2_BLOCKS, 2, width, classes, in_channels, dropout)


def mobilenet_v2_cifar(
    *, width: float = 1.0, classes: int = 10, in_channels: int = 3, dropout: float = 0.2
) -> MobileNetV2:
    """Return the variant for small images, stem and 24-channel blocks at stride 1: 87,976,448 MACs at 32x32.

    >>> mobilenet_v2_cifar(width=0.25, in_channels=1).eval()(torch.zeros(1, 1, 8, 8)).shape
    torch.Size([1, 10])
    """
    check_options(
        "mobilenet_v2_cifar",
        {"width": width, "classes": classes, "in_channels": in_channels, "dropout": dropout},
    )
    return MobileNetV2(V2_CIFAR_BLOCKS, 1, width, classes, in_channels, dropout)
