"""Batches: every image once, in order or shuffled, floats that equal the preprocessed bytes."""

import pytest
import torch

from bitjoule.zoo.data import DataError, Preprocessing, Split, batches

UNIT = Preprocessing("unit")


def numbered(count: int) -> Split:
    """Image i is filled with i."""
    labels = torch.arange(count)
    return Split(labels.to(torch.uint8).reshape(-1, 1, 1, 1).expand(-1, 1, 2, 2).contiguous(), labels)


def test_in_order_without_a_generator() -> None:
    parts = list(batches(numbered(10), 4, preprocessing=UNIT))
    assert [len(labels) for _, labels in parts] == [4, 4, 2]
    assert torch.cat([labels for _, labels in parts]).tolist() == list(range(10))
    assert all(images.dtype == torch.float32 for images, _ in parts)


def test_shuffled_with_one_and_images_keep_their_labels() -> None:
    def run(seed: int) -> list[int]:
        generator = torch.Generator().manual_seed(seed)
        order: list[int] = []
        for images, labels in batches(
            numbered(50), 8, preprocessing=UNIT, generator=generator, augment="flip"
        ):
            assert torch.equal(images[:, 0, 0, 0], labels.float() * (1 / 255))
            order += labels.tolist()
        return order

    assert run(0) == run(0) != run(1)
    assert sorted(run(0)) == list(range(50))


def test_device_is_where_the_batches_go() -> None:
    images, labels = next(batches(numbered(4), 2, preprocessing=UNIT, device="meta"))
    assert images.device.type == labels.device.type == "meta"


def test_faults_come_before_the_first_batch() -> None:
    with pytest.raises(DataError, match="batch must be at least 1 image, not 0"):
        batches(numbered(4), 0, preprocessing=UNIT)
    with pytest.raises(DataError, match="augment='crop' needs a generator to draw from"):
        batches(numbered(4), 2, preprocessing=UNIT, augment="crop")
    with pytest.raises(DataError, match=r"augment must be one of none, .* not 'mixup'"):
        batches(numbered(4), 2, preprocessing=UNIT, augment="mixup")
