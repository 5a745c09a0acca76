"""Which training images validate, and which ones a limit keeps: by hash of the index, never by chance."""

import hashlib

import numpy as np

from bitjoule.zoo.data.records import DataError, IndexArray

__all__ = ["hash_order", "limited", "split_indices"]


def hash_order(count: int, salt: str) -> IndexArray:
    """Return 0..count-1 ordered by SHA-256 of "salt:index": a fixed shuffle without a generator.

    >>> hash_order(5, "bitjoule-split").tolist()
    [1, 4, 3, 0, 2]
    """
    digests = [hashlib.sha256(f"{salt}:{index}".encode()).digest() for index in range(count)]
    return np.asarray(sorted(range(count), key=digests.__getitem__), dtype=np.int64)


def split_indices(count: int, validation: float) -> tuple[IndexArray, IndexArray]:
    """Return (train, validation) indices, disjoint and ascending; exactly round(validation * count) validate.

    The same for every seed, so validation accuracies of all trials are comparable.
    """
    if not 0 < validation < 1:
        raise DataError(f"validation must be a share between 0 and 1 such as 0.1, not {validation}")
    held = round(validation * count)
    if held in (0, count):
        raise DataError(f"validation={validation} of {count} training images leaves a split empty")
    order = hash_order(count, "bitjoule-split")
    return np.sort(order[held:]), np.sort(order[:held])


def limited(indices: IndexArray, limit: int | None, seed: int) -> IndexArray:
    """Return at most `limit` of `indices`, ascending; which ones, `seed` decides."""
    if limit is None:
        return indices
    if limit < 1:
        raise DataError(f"a limit must be at least 1 image, not {limit}")
    return np.sort(indices[hash_order(len(indices), f"bitjoule-limit-{seed}")[:limit]])
