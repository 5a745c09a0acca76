"""CNV, the CIFAR-10 network of FINN (Umuroglu et al. 2017, arXiv 1612.07119), as in Xilinx/brevitas
`bnn_pynq`.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from bitjoule.zoo.activation import activation as activation_module
from bitjoule.zoo.initialization import he_initialize
from bitjoule.zoo.option_ranges import check_options
from bitjoule.zoo.width import scaled

__all__ = ["Cnv", "cnv"]

BATCH_NORM_EPS = 1e-4
CONVOLUTIONS = (
    (64, False),
    (64, True),
    (128, False),
    (128, True),
    (256, False),
    (256, False),
)  # max pool after?
HIDDEN = (512, 512)


class Cnv(nn.Module):
    """`features` (3x3 convolutions without padding), `hidden` (linear layers), `classifier`; no bias
    anywhere.

    Input (N, in_channels, image_size, image_size), output (N, classes).
    """

    def __init__(
        self, width: float, classes: int, in_channels: int, image_size: int, activation: str
    ) -> None:
        super().__init__()
        previous, side = in_channels, image_size
        features: OrderedDict[str, nn.Module] = OrderedDict()
        for number, (count, pool) in enumerate(CONVOLUTIONS, start=1):
            channels = scaled(count, width)
            features[f"conv{number}"] = nn.Conv2d(previous, channels, 3, bias=False)
            features[f"bn{number}"] = nn.BatchNorm2d(channels, eps=BATCH_NORM_EPS)
            features[f"act{number}"] = activation_module(activation)
            side -= 2
            if pool:
                features[f"pool{number}"] = nn.MaxPool2d(2)
                side //= 2
            previous = channels
        if side < 1:
            raise ValueError(
                f"cnv: image_size {image_size} is too small for six unpadded convolutions: give 32 or more"
            )
        self.features = nn.Sequential(features)
        fan_in = previous * side * side
        hidden: OrderedDict[str, nn.Module] = OrderedDict()
        for number, count in enumerate(HIDDEN, start=1):
            neurons = scaled(count, width)
            hidden[f"linear{number}"] = nn.Linear(fan_in, neurons, bias=False)
            hidden[f"bn{number}"] = nn.BatchNorm1d(neurons, eps=BATCH_NORM_EPS)
            hidden[f"act{number}"] = activation_module(activation)
            fan_in = neurons
        self.hidden = nn.Sequential(hidden)
        self.classifier = nn.Linear(fan_in, classes, bias=False)
        he_initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.flatten(self.features(x), 1)
        logits: Tensor = self.classifier(self.hidden(x))
        return logits


def cnv(
    *,
    width: float = 1.0,
    classes: int = 10,
    in_channels: int = 3,
    image_size: int = 32,
    activation: str = "relu",
) -> Cnv:
    """Return CNV: 59,461,376 MACs at 3x32x32.

    >>> cnv(width=0.25).eval()(torch.zeros(1, 3, 32, 32)).shape
    torch.Size([1, 10])
    """
    check_options(
        "cnv",
        {"width": width, "classes": classes, "in_channels": in_channels, "image_size": image_size},
    )
    return Cnv(width, classes, in_channels, image_size, activation)
