"""What every reader returns: labelled images, already arrays (`Pixels`) or still files (`Encoded`). NumPy
only.
"""

import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bitjoule.zoo.data.resize import to_square

__all__ = [
    "DataError",
    "Encoded",
    "IndexArray",
    "LabelArray",
    "PixelArray",
    "Pixels",
    "Records",
    "checked_labels",
]

PixelArray = NDArray[np.uint8]
LabelArray = NDArray[np.int64]
IndexArray = NDArray[np.int64]

JPEG_MAGIC = b"\xff\xd8\xff"
EIGHT_BIT_MODES = frozenset(("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"))


class DataError(ValueError):
    """A data folder or file that is absent, unreadable, truncated or inconsistent; the text names it."""


@dataclass(frozen=True)
class Pixels:
    """Images held as one array, N x H x W x C."""

    labels: LabelArray
    pixels: PixelArray
    lossy: bool = False

    @property
    def image_channels(self) -> int:
        """Channels of the images that `select` returns."""
        return int(self.pixels.shape[3])

    def select(self, indices: IndexArray, resolution: int | None) -> PixelArray:
        """Return the images `indices`, made `resolution` square if that is given."""
        chosen = self.pixels[indices]
        if resolution is None or chosen.shape[1:3] == (resolution, resolution):
            return chosen
        return np.stack([to_square(image, resolution) for image in chosen])


@dataclass(frozen=True)
class Encoded:
    """Images still in their files: `fetch(i)` returns the bytes of image i, `where(i)` its name for errors.

    `channels` is 1 (grey) or 3 (RGB); None takes what the first image has.
    """

    labels: LabelArray
    fetch: Callable[[int], bytes]
    where: Callable[[int], str]
    channels: int | None
    lossy: bool

    @property
    def image_channels(self) -> int:
        """Channels of the images that `select` returns; where the first image decides, it is decoded."""
        return self.channels or (1 if decode(self.fetch(0), None, self.where(0)).shape[2] == 1 else 3)

    def select(self, indices: IndexArray, resolution: int | None) -> PixelArray:
        """Decode the images `indices`; raises DataError naming an unreadable image or two that differ in
        size.
        """
        channels = self.image_channels
        images: list[PixelArray] = []
        for index in indices.tolist():
            image = decode(self.fetch(index), channels, self.where(index))
            if resolution is not None:
                image = to_square(image, resolution)
            if images and image.shape != images[0].shape:
                raise DataError(
                    f"{self.where(index)}: image of {image.shape[0]}x{image.shape[1]} among images of "
                    f"{images[0].shape[0]}x{images[0].shape[1]}; give resolution= to bring all to one size"
                )
            images.append(image)
        return np.stack(images)


Records = Pixels | Encoded


def decode(blob: bytes, channels: int | None, where: str) -> PixelArray:
    """Return a PNG, JPEG, BMP or PNM file as H x W x C; `channels` None keeps grey grey and makes the rest
    RGB.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(blob)) as image:
                mode = image.mode
                grey = channels == 1 or (channels is None and mode in ("1", "L"))
                array = np.asarray(image.convert("L" if grey else "RGB"), dtype=np.uint8)
    except Exception as error:  # a damaged file can make Pillow raise nearly anything
        raise DataError(f"{where}: not a readable image ({type(error).__name__}: {error})") from error
    if mode not in EIGHT_BIT_MODES:
        raise DataError(f"{where}: image mode {mode} has no 8-bit channels; convert it to RGB or grey")
    return array.reshape(*array.shape[:2], -1)


def is_jpeg(blob: bytes) -> bool:
    """Whether a file begins as a JPEG does."""
    return blob.startswith(JPEG_MAGIC)


def checked_labels(labels: object, classes: int, path: Path) -> LabelArray:
    """Return `labels` as int64; raises DataError when one is no integer in 0..classes-1 or there is none."""
    array = np.asarray(labels)
    if array.ndim != 1 or array.size == 0:
        raise DataError(f"{path}: expected a non-empty list of labels, got shape {array.shape}")
    if not np.issubdtype(array.dtype, np.integer):
        raise DataError(f"{path}: labels must be integers, not {array.dtype}")
    array = array.astype(np.int64)
    wrong = np.flatnonzero((array < 0) | (array >= classes))
    if wrong.size:
        first = int(wrong[0])
        raise DataError(f"{path}: label {int(array[first])} of image {first} is outside 0..{classes - 1}")
    return array
