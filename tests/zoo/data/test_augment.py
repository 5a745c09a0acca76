"""Augmentation against a slow loop over images, pixels and shifts."""

import pytest
import torch
from torch import Tensor

from bitjoule.zoo.data.augment import AUGMENTATIONS, augmented
from bitjoule.zoo.data.records import DataError


def candidates(image: Tensor, pad: int, mirror: bool) -> list[Tensor]:
    """Every image that the augmentation may return for `image` (C x H x W)."""
    found = []
    _, height, width = image.shape
    for source in (image, image.flip(2)) if mirror else (image,):
        framed = torch.zeros(image.shape[0], height + 2 * pad, width + 2 * pad, dtype=torch.uint8)
        framed[:, pad : pad + height, pad : pad + width] = source
        for top in range(2 * pad + 1):
            for left in range(2 * pad + 1):
                found.append(framed[:, top : top + height, left : left + width])
    return found


def batch(count: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(1, 256, (count, 3, 6, 7), generator=generator, dtype=torch.uint8)


@pytest.mark.parametrize("kind", ["crop-flip", "crop", "flip", "shift"])
def test_results_are_among_the_possible_ones_and_vary(kind: str) -> None:
    how = AUGMENTATIONS[kind]
    images = batch(1).expand(300, -1, -1, -1).contiguous()
    result = augmented(images, kind, torch.Generator().manual_seed(0))
    assert result.dtype == torch.uint8 and result.shape == images.shape
    possible = {c.numpy().tobytes() for c in candidates(images[0], how.pad, how.mirror)}
    seen = {image.numpy().tobytes() for image in result}
    assert seen <= possible
    assert len(seen) > 0.6 * len(possible)  # 300 draws of at most 162


def test_half_of_the_images_are_mirrored() -> None:
    images = batch(2000)
    result = augmented(images, "flip", torch.Generator().manual_seed(0))
    mirrored = int((result != images).flatten(1).any(1).sum())
    assert 900 < mirrored < 1100
    moved = (result != images).flatten(1).any(1)
    assert torch.equal(result[moved], images[moved].flip(3))


def test_none_changes_nothing_and_the_generator_decides() -> None:
    images = batch(8)
    assert augmented(images, "none", torch.Generator()) is images
    a, b, c = (augmented(images, "crop-flip", torch.Generator().manual_seed(seed)) for seed in (4, 4, 5))
    assert torch.equal(a, b) and not torch.equal(a, c)


def test_unknown_kind() -> None:
    with pytest.raises(
        DataError, match="augment must be one of none, crop-flip, crop, flip, shift, not 'cutout'"
    ):
        augmented(batch(1), "cutout", torch.Generator())
