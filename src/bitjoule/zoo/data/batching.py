"""From a split of bytes to batches of floats: shuffled, augmented and preprocessed where the images are."""

from collections.abc import Iterator

import torch
from torch import Tensor

from bitjoule.zoo.data.augment import AUGMENTATIONS, augmented
from bitjoule.zoo.data.dataset import Split
from bitjoule.zoo.data.preprocessing import Preprocessing
from bitjoule.zoo.data.records import DataError

__all__ = ["batches"]


def batches(
    split: Split,
    batch: int,
    *,
    preprocessing: Preprocessing,
    generator: torch.Generator | None = None,
    augment: str = "none",
    device: torch.device | str | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (images float32 N x C x H x W, labels) until every image came once; the last batch may be
    smaller.

    With a `generator` the images are shuffled and augmented by it; without one they come in order. `device`
    None leaves them where the split is.

    >>> from bitjoule.zoo.data.dataset import load_dataset
    >>> data = load_dataset("digits")
    >>> [len(labels) for _, labels in batches(data.test, 200, preprocessing=data.preprocessing)]
    [200, 160]
    """
    if batch < 1:
        raise DataError(f"batch must be at least 1 image, not {batch}")
    if augment not in AUGMENTATIONS:
        raise DataError(f"augment must be one of {', '.join(AUGMENTATIONS)}, not {augment!r}")
    if augment != "none" and generator is None:
        raise DataError(f"augment={augment!r} needs a generator to draw from")
    return draw(split, batch, preprocessing, generator, augment, device)


def draw(
    split: Split,
    batch: int,
    preprocessing: Preprocessing,
    generator: torch.Generator | None,
    augment: str,
    device: torch.device | str | None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the batches that `batches` promised."""
    home = split.images.device
    order = None
    if generator is not None:
        order = torch.randperm(len(split), generator=generator, device=generator.device).to(home)
    for start in range(0, len(split), batch):
        chosen = slice(start, start + batch) if order is None else order[start : start + batch]
        images, labels = split.images[chosen], split.labels[chosen]
        if device is not None:
            images, labels = images.to(device), labels.to(device)
        if generator is not None:
            images = augmented(images, augment, generator)
        yield preprocessing.apply(images), labels
