"""Bringing images to one size, deterministically: integer arithmetic of Pillow's box filter, or zeros
around.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["to_square"]


def to_square(image: NDArray[np.uint8], resolution: int) -> NDArray[np.uint8]:
    """Return an H x W x C image as resolution x resolution x C.

    A larger image is cropped to its central square and area-averaged (box filter); a smaller one is kept as
    it is and centred in zeros (28 to 32 pads 2 on each side; the odd row of zeros goes below and right).

    >>> to_square(np.full((4, 6, 1), 7, np.uint8), 2).tolist()
    [[[7], [7]], [[7], [7]]]
    """
    rows, columns, channels = image.shape
    if (rows, columns) == (resolution, resolution):
        return image
    side = min(rows, columns)
    if side > resolution:
        top, left = (rows - side) // 2, (columns - side) // 2
        square = np.ascontiguousarray(image[top : top + side, left : left + side])
        planes = [
            Image.fromarray(square[:, :, c]).resize((resolution, resolution), Image.Resampling.BOX)
            for c in range(channels)
        ]
        return np.stack([np.asarray(plane, dtype=np.uint8) for plane in planes], axis=2)
    image = centre(centre(image, 0, min(rows, resolution)), 1, min(columns, resolution))
    rows, columns = image.shape[:2]
    top, left = (resolution - rows) // 2, (resolution - columns) // 2
    canvas = np.zeros((resolution, resolution, channels), dtype=np.uint8)
    canvas[top : top + rows, left : left + columns] = image
    return canvas


def centre(image: NDArray[np.uint8], axis: int, length: int) -> NDArray[np.uint8]:
    """Return the central `length` rows (axis 0) or columns (axis 1)."""
    start = (image.shape[axis] - length) // 2
    return image[start : start + length] if axis == 0 else image[:, start : start + length]
