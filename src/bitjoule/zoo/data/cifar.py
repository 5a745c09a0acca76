"""CIFAR-10 and CIFAR-100 as their authors publish them: Python batches and binary batches (Krizhevsky
2009).
"""

from pathlib import Path

import numpy as np

from bitjoule.zoo.data.arrays_pickle import read_arrays_pickle
from bitjoule.zoo.data.records import DataError, LabelArray, PixelArray, Pixels, checked_labels

__all__ = ["read_binary_batches", "read_python_batches"]

PIXELS = 3 * 32 * 32


def images_from_planes(planes: PixelArray) -> PixelArray:
    """Return rows of 3,072 bytes (red, green, blue plane) as N x 32 x 32 x 3."""
    return planes.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)


def read_python_batches(files: tuple[Path, ...], classes: int) -> Pixels:
    """Read Python batches: `data` N x 3072, and `labels` (CIFAR-10) or `fine_labels` (CIFAR-100)."""
    pixels: list[PixelArray] = []
    labels: list[LabelArray] = []
    for path in files:
        batch = read_arrays_pickle(path)
        data = batch.get("data")
        if (
            not isinstance(data, np.ndarray)
            or data.dtype != np.uint8
            or data.ndim != 2
            or data.shape[1] != PIXELS
        ):
            raise DataError(f"{path}: 'data' must be an N x 3072 array of uint8")
        key = "fine_labels" if "fine_labels" in batch else "labels"
        found = checked_labels(batch.get(key, []), classes, path)
        if len(found) != len(data):
            raise DataError(f"{path}: {len(data)} images but {len(found)} labels")
        pixels.append(images_from_planes(data))
        labels.append(found)
    return Pixels(np.concatenate(labels), np.concatenate(pixels))


def read_binary_batches(files: tuple[Path, ...], classes: int) -> Pixels:
    """Read binary batches: 1 label byte (CIFAR-100: coarse, fine) and 3,072 pixels a record."""
    header = 2 if classes == 100 else 1
    record = header + PIXELS
    pixels: list[PixelArray] = []
    labels: list[LabelArray] = []
    for path in files:
        raw = np.frombuffer(path.read_bytes(), dtype=np.uint8)
        if raw.size == 0 or raw.size % record:
            raise DataError(
                f"{path}: truncated, {raw.size} bytes are no whole number of {record}-byte records"
            )
        rows = raw.reshape(-1, record)
        labels.append(checked_labels(rows[:, header - 1], classes, path))
        pixels.append(images_from_planes(rows[:, header:]))
    return Pixels(np.concatenate(labels), np.concatenate(pixels))
