"""The 1,797 handwritten digits of 8x8 pixels that scikit-learn carries: smoke tests need no download.

Origin: test part of UCI "Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak 1998), values
0..16. There is no official split; ours takes 360 test images by the hash of their index, fixed for good.
"""

import hashlib

import numpy as np
from sklearn.datasets import load_digits

from bitjoule.zoo.data.layout import FileRecord
from bitjoule.zoo.data.records import Pixels
from bitjoule.zoo.data.split import hash_order

__all__ = ["DIGITS_TEST", "digits_records", "read_digits"]

DIGITS_TEST = 360


def read_digits() -> tuple[Pixels, Pixels]:
    """Return (train, test): 1,437 and 360 images 8x8x1, values scaled from 0..16 to 0..255 and rounded.

    >>> train, test = read_digits()
    >>> train.pixels.shape, test.pixels.shape, int(train.pixels.max())
    ((1437, 8, 8, 1), (360, 8, 8, 1), 255)
    """
    bunch = load_digits()
    pixels = np.rint(bunch.images * 255.0 / 16.0).astype(np.uint8)[..., np.newaxis]
    labels = bunch.target.astype(np.int64)
    order = hash_order(len(labels), "bitjoule-digits-test")
    test, train = np.sort(order[:DIGITS_TEST]), np.sort(order[DIGITS_TEST:])
    return Pixels(labels[train], pixels[train]), Pixels(labels[test], pixels[test])


def digits_records(train: Pixels, test: Pixels) -> tuple[FileRecord, ...]:
    """Return manifest lines of the arrays, which no file holds."""
    records = []
    for name, part in (("test", test), ("train", train)):
        for field, array in (("images", part.pixels), ("labels", part.labels)):
            content = np.ascontiguousarray(array).tobytes()
            digest = hashlib.sha256(content).hexdigest()
            records.append(FileRecord(f"digits/{name}.{field}", len(content), digest))
    return tuple(sorted(records, key=lambda record: record.path))
