"""Augmentation of a whole batch of bytes at once, on the device the images are on, from an explicit
generator.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from bitjoule.zoo.data.records import DataError

__all__ = ["AUGMENTATIONS", "Augmentation", "augmented"]


@dataclass(frozen=True)
class Augmentation:
    """`pad` zeros around and a random crop of the old size (0: none); a mirror of every second image on
    average.
    """

    pad: int
    mirror: bool


AUGMENTATIONS = {
    "none": Augmentation(0, False),
    "crop-flip": Augmentation(4, True),  # He et al. 2016, section 4.2, for CIFAR
    "crop": Augmentation(4, False),
    "flip": Augmentation(0, True),
    "shift": Augmentation(2, False),  # digits: a mirrored 3 is no 3
}


def augmented(images: Tensor, kind: str, generator: torch.Generator) -> Tensor:
    """Return uint8 images N x C x H x W augmented by `kind`; black (0) comes in at the edges.

    All draws come from `generator`; the same generator state gives the same images on every device.

    >>> images = torch.arange(8, dtype=torch.uint8).reshape(2, 1, 2, 2)
    >>> augmented(images, "flip", torch.Generator().manual_seed(0)).tolist()
    [[[[1, 0], [3, 2]]], [[[4, 5], [6, 7]]]]
    """
    if kind not in AUGMENTATIONS:
        raise DataError(f"augment must be one of {', '.join(AUGMENTATIONS)}, not {kind!r}")
    how = AUGMENTATIONS[kind]
    count, _, height, width = images.shape
    columns = torch.arange(width, device=images.device).expand(count, width)
    if how.mirror:
        mirrored = torch.rand(count, generator=generator, device=generator.device).to(images.device) < 0.5
        columns = torch.where(mirrored[:, None], width - 1 - columns, columns)
    elif how.pad == 0:
        return images
    rows = torch.arange(height, device=images.device).expand(count, height)
    if how.pad:
        shifts = torch.randint(
            0, 2 * how.pad + 1, (2, count, 1), generator=generator, device=generator.device
        )
        shifts = shifts.to(images.device)
        images = torch.nn.functional.pad(images, (how.pad,) * 4)
        rows, columns = rows + shifts[0], columns + shifts[1]
    each = torch.arange(count, device=images.device)
    gathered = images.permute(0, 2, 3, 1)[each[:, None, None], rows[:, :, None], columns[:, None, :]]
    return gathered.permute(0, 3, 1, 2).contiguous()
