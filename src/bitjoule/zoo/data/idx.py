"""The idx files of MNIST (LeCun et al. 1998), plain or gzip-compressed."""

import gzip
import zlib
from pathlib import Path

import numpy as np

from bitjoule.zoo.data.records import DataError, PixelArray, Pixels, checked_labels

__all__ = ["read_idx", "read_idx_file"]

IMAGES, LABELS = 2051, 2049  # big-endian magic: unsigned bytes, 3 and 1 dimensions
LARGEST = 2**31


def read_idx(files: tuple[Path, ...], classes: int) -> Pixels:
    """Read an image file and its label file, in that order."""
    image_file, label_file = files
    images = read_idx_file(image_file, IMAGES)
    labels = checked_labels(read_idx_file(label_file, LABELS), classes, label_file)
    if len(images) != len(labels):
        raise DataError(f"{image_file}: {len(images)} images, but {label_file.name} has {len(labels)} labels")
    return Pixels(labels, images[..., np.newaxis])


def read_idx_file(path: Path, magic: int) -> PixelArray:
    """Return the array of one idx file whose first 32 bits must be `magic`; raises DataError."""
    dimensions = magic % 256
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as stream:
            header = stream.read(4 + 4 * dimensions)
            found = int.from_bytes(header[:4], "big")
            if len(header) >= 4 and found != magic:
                kind = "images" if magic == IMAGES else "labels"
                raise DataError(f"{path}: magic number {found}, expected {magic} (idx {kind}, big-endian)")
            if len(header) < 4 + 4 * dimensions:
                raise DataError(f"{path}: truncated in its header of {4 + 4 * dimensions} bytes")
            shape = tuple(int.from_bytes(header[4 * i : 4 * i + 4], "big") for i in range(1, dimensions + 1))
            promised = int(np.prod([float(n) for n in shape]))
            if promised > LARGEST:
                raise DataError(
                    f"{path}: the header promises {promised} bytes, no MNIST-like file is that large"
                )
            content = stream.read(promised + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: not a readable idx file ({error})") from error
    if len(content) != promised:
        held = f"{len(content)} bytes" if len(content) < promised else "more bytes"
        raise DataError(f"{path}: truncated or padded, holds {held} where its header promises {promised}")
    return np.frombuffer(content, dtype=np.uint8).reshape(shape)
