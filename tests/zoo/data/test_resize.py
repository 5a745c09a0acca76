"""Resizing against a slow area average, and padding."""

import numpy as np
import pytest

from bitjoule.zoo.data.resize import to_square

from . import tiny


@pytest.mark.parametrize(("size", "resolution"), [(28, 14), (32, 8), (30, 10)])
def test_shrinking_averages_areas(size: int, resolution: int) -> None:
    image = tiny.images(1, size)[0]
    step = size // resolution
    areas = image.reshape(resolution, step, resolution, step, 3).astype(np.float64).mean(axis=(1, 3))
    # Pillow rounds after each of its two passes: at most one step from the rounded mean
    assert np.abs(to_square(image, resolution).astype(np.float64) - areas).max() <= 1.0


def test_growing_pads_with_zeros_around() -> None:
    image = tiny.images(1, 28, 1)[0]
    grown = to_square(image, 32)
    assert np.array_equal(grown[2:30, 2:30], image)
    assert grown.sum() == image.sum()
    odd = to_square(image, 31)
    assert np.array_equal(odd[1:29, 1:29], image)


def test_oblong_images_keep_their_centre() -> None:
    image = np.zeros((4, 8, 1), np.uint8)
    image[:, 2:6] = 200
    assert to_square(image, 2).tolist() == [[[200], [200]], [[200], [200]]]
    tall = to_square(image.transpose(1, 0, 2), 6)  # 8 rows cropped to 6, 4 columns padded to 6
    assert tall[:, :, 0].tolist() == [[0] * 6, *[[0, 200, 200, 200, 200, 0]] * 4, [0] * 6]


def test_same_size_is_untouched() -> None:
    image = tiny.images(1, 16)[0]
    assert to_square(image, 16) is image
