"""DS-CNN, the keyword spotting network of MLPerf Tiny (Zhang et al. 2017, arXiv 1711.07128; mlcommons/tiny).

Input is a spectrogram of 49 frames by 10 coefficients, one channel.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from bitjoule.zoo.initialization import he_initialize
from bitjoule.zoo.option_ranges import check_options
from bitjoule.zoo.same_padding import same_padding
from bitjoule.zoo.width import scaled

__all__ = ["DsCnn", "ds_cnn"]

BATCH_NORM_EPS = 1e-3  # the Keras default, as in mlcommons/tiny
KERNEL = (10, 4)


def normalized(conv: nn.Conv2d) -> nn.Sequential:
    """Return `conv`, batch norm and ReLU, named."""
    bn = nn.BatchNorm2d(conv.out_channels, eps=BATCH_NORM_EPS)
    return nn.Sequential(OrderedDict(conv=conv, bn=bn, relu=nn.ReLU()))


class DsCnn(nn.Module):
    """Stem 10x4 stride 2 "same", four depthwise separable blocks, average pool, `classifier`; all with bias.

    Input (N, in_channels, frames, coefficients), output (N, classes). The pool window is (frames // 2,
    coefficients // 2) as in mlcommons/tiny: with 49 frames it leaves out the last of 25 rows.
    """

    def __init__(self, width: float, classes: int, in_channels: int, frames: int, coefficients: int) -> None:
        super().__init__()
        if frames < 4 or coefficients < 4:
            raise ValueError(
                f"ds_cnn: frames and coefficients must be at least 4, not {frames} and {coefficients}"
            )
        channels = scaled(64, width)
        self.pad = nn.ZeroPad2d(same_padding((frames, coefficients), KERNEL, 2))
        self.stem = normalized(nn.Conv2d(in_channels, channels, KERNEL, stride=2))
        self.dropout1 = nn.Dropout(0.2)
        blocks: OrderedDict[str, nn.Module] = OrderedDict()
        for number in range(1, 5):
            depthwise = normalized(nn.Conv2d(channels, channels, 3, padding=1, groups=channels))
            pointwise = normalized(nn.Conv2d(channels, channels, 1))
            blocks[f"block{number}"] = nn.Sequential(OrderedDict(depthwise=depthwise, pointwise=pointwise))
        self.blocks = nn.Sequential(blocks)
        self.dropout2 = nn.Dropout(0.4)
        window = (frames // 2, coefficients // 2)
        self.pool = nn.AvgPool2d(window)
        self.classifier = nn.Linear(channels, classes)
        he_initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.dropout1(self.stem(self.pad(x)))
        x = self.dropout2(self.blocks(x))
        x = torch.flatten(self.pool(x), 1)
        logits: Tensor = self.classifier(x)
        return logits


def ds_cnn(
    *, width: float = 1.0, classes: int = 12, in_channels: int = 1, frames: int = 49, coefficients: int = 10
) -> DsCnn:
    """Return DS-CNN: 2,656,768 MACs at 1x49x10.

    >>> ds_cnn()(torch.zeros(1, 1, 49, 10)).shape
    torch.Size([1, 12])
    """
    check_options(
        "ds_cnn",
        {
            "width": width,
            "classes": classes,
            "in_channels": in_channels,
            "frames": frames,
            "coefficients": coefficients,
        },
    )
    return DsCnn(width, classes, in_channels, frames, coefficients)
