"""ResNet-8, the image classification network of MLPerf Tiny (Banbury et al. 2021, arXiv 2106.07597).

After mlcommons/tiny `keras_model.py`: convolutions with bias, TensorFlow's "same" padding, 1x1 stride-2
shortcuts with bias and without batch norm.
"""

import torch
from torch import Tensor, nn

from bitjoule.zoo.initialization import he_initialize
from bitjoule.zoo.option_ranges import check_options
from bitjoule.zoo.same_padding import same_padding
from bitjoule.zoo.width import scaled

__all__ = ["ResNet8", "SameBlock", "resnet8"]

BATCH_NORM_EPS = 1e-3  # the Keras default, as in mlcommons/tiny


class SameBlock(nn.Module):
    """pad-conv-BN-ReLU-conv-BN, add the shortcut, ReLU; `side` is the height and width of its input."""

    def __init__(self, in_channels: int, channels: int, stride: int, side: int) -> None:
        super().__init__()
        self.pad = nn.ZeroPad2d(same_padding((side, side), (3, 3), stride))
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride=stride)
        self.bn1 = nn.BatchNorm2d(channels, eps=BATCH_NORM_EPS)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(channels, eps=BATCH_NORM_EPS)
        same = stride == 1 and in_channels == channels
        self.shortcut: nn.Module = (
            nn.Identity() if same else nn.Conv2d(in_channels, channels, 1, stride=stride)
        )
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu1(self.bn1(self.conv1(self.pad(x))))
        y = self.bn2(self.conv2(y))
        y = y + self.shortcut(x)
        z: Tensor = self.relu2(y)
        return z


class ResNet8(nn.Module):
    """Stem and three blocks of 16, 32, 64 channels, global average, `linear`.

    Input (N, in_channels, image_size, image_size), output (N, classes). The padding of the strided
    convolutions depends on the parity of the size, so another size needs another ResNet8.
    """

    def __init__(self, width: float, classes: int, in_channels: int, image_size: int) -> None:
        super().__init__()
        if image_size < 4:
            raise ValueError(f"resnet8: image_size must be at least 4, not {image_size}")
        channels = tuple(scaled(count, width) for count in (16, 32, 64))
        half = (image_size + 1) // 2
        self.conv1 = nn.Conv2d(in_channels, channels[0], 3, padding=1)
        self.bn1 = nn.BatchNorm2d(channels[0], eps=BATCH_NORM_EPS)
        self.relu = nn.ReLU()
        self.block1 = SameBlock(channels[0], channels[0], 1, image_size)
        self.block2 = SameBlock(channels[0], channels[1], 2, image_size)
        self.block3 = SameBlock(channels[1], channels[2], 2, half)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(channels[2], classes)
        he_initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.block3(self.block2(self.block1(x)))
        x = torch.flatten(self.pool(x), 1)
        logits: Tensor = self.linear(x)
        return logits


def resnet8(*, width: float = 1.0, classes: int = 10, in_channels: int = 3, image_size: int = 32) -> ResNet8:
    """Return ResNet-8: 12,501,632 MACs and 78,186 trainable parameters at 3x32x32.

    >>> resnet8(in_channels=1, image_size=8)(torch.zeros(1, 1, 8, 8)).shape
    torch.Size([1, 10])
    """
    check_options(
        "resnet8",
        {"width": width, "classes": classes, "in_channels": in_channels, "image_size": image_size},
    )
    return ResNet8(width, classes, in_channels, image_size)
