"""The VGG-like networks of Moons et al. 2017, "Minimum Energy Quantized Neural Networks" (arXiv 1711.00215).

Blocks of n convolutions 3x3 (with bias, batch norm, activation) of F channels, each block closed by a 2x2
max pool; then a linear classifier without bias. The paper searches n in 1..3 and F in 32..512 for three
blocks.
"""

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bitjoule.zoo.activation import activation as activation_module
from bitjoule.zoo.initialization import he_initialize
from bitjoule.zoo.option_ranges import check_options
from bitjoule.zoo.width import scaled

__all__ = ["Moons", "moons"]

BATCH_NORM_EPS = 1e-4  # the authors' published code


class Moons(nn.Module):
    """`block1` ... `blockB` and `classifier`; use `moons(...)` to build one.

    Input (N, in_channels, image_size, image_size), output (N, classes).
    """

    def __init__(
        self,
        depths: tuple[int, ...],
        filters: tuple[int, ...],
        classes: int,
        in_channels: int,
        image_size: int,
        activation: str,
    ) -> None:
        super().__init__()
        channels, side = in_channels, image_size
        blocks: OrderedDict[str, nn.Module] = OrderedDict()
        for number, (depth, outputs) in enumerate(zip(depths, filters, strict=True), start=1):
            parts: OrderedDict[str, nn.Module] = OrderedDict()
            for layer in range(1, depth + 1):
                parts[f"conv{layer}"] = nn.Conv2d(channels, outputs, 3, padding=1)
                parts[f"bn{layer}"] = nn.BatchNorm2d(outputs, eps=BATCH_NORM_EPS)
                parts[f"act{layer}"] = activation_module(activation)
                channels = outputs
            parts["pool"] = nn.MaxPool2d(2)
            blocks[f"block{number}"] = nn.Sequential(parts)
            side //= 2
        self.blocks = nn.Sequential(blocks)
        self.classifier = nn.Linear(channels * side * side, classes, bias=False)
        he_initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(x)
        x = torch.flatten(x, 1)
        logits: Tensor = self.classifier(x)
        return logits


def moons(
    depths: Sequence[int] = (1, 2, 2),
    filters: Sequence[int] = (64, 128, 256),
    classes: int = 10,
    in_channels: int = 3,
    image_size: int = 32,
    width: float = 1.0,
    activation: str = "relu",
) -> Moons:
    """Return a network of `len(depths)` blocks; block i has `depths[i]` convolutions of `filters[i]`
    channels; the default is 115,056,640 MACs at 3x32x32.

    The paper's "1_64 x3" is `depths=(1, 1, 1), filters=(64, 64, 64)`; the reference network of its energy
    table is `depths=(3, 3, 3), filters=(64, 128, 256)`. Raises ValueError when the two differ in length, a
    number is below 1, or the image is too small for the pools.

    >>> moons(filters=(8, 8, 16), in_channels=1, image_size=8)(torch.zeros(1, 1, 8, 8)).shape
    torch.Size([1, 10])
    """
    check_options(
        "moons",
        {"width": width, "classes": classes, "in_channels": in_channels, "image_size": image_size},
    )
    if len(depths) != len(filters) or not depths:
        raise ValueError(
            f"moons: depths and filters need one number per block, not {tuple(depths)} and {tuple(filters)}"
        )
    if min(*depths, *filters) < 1:
        raise ValueError(f"moons: depths {tuple(depths)} and filters {tuple(filters)} must all be at least 1")
    if image_size < 2 ** len(depths):
        raise ValueError(
            f"moons: image_size {image_size} is too small for {len(depths)} max pools: give at least "
            f"{2 ** len(depths)} or fewer blocks"
        )
    scaled_filters = tuple(scaled(count, width) for count in filters)
    return Moons(tuple(depths), scaled_filters, classes, in_channels, image_size, activation)
