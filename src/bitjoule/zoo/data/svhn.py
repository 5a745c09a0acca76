"""SVHN, the cropped digits (Netzer et al. 2011): MATLAB files of version 5, 32 x 32 x 3 x N; label 10 is
digit 0.
"""

from pathlib import Path

import numpy as np
from scipy.io import loadmat

from bitjoule.zoo.data.records import DataError, Pixels, checked_labels

__all__ = ["read_svhn"]


def read_svhn(files: tuple[Path, ...], classes: int) -> Pixels:
    """Read `X` and `y` of one .mat file; raises DataError."""
    (path,) = files
    try:
        content = loadmat(path, variable_names=["X", "y"])
    except Exception as error:  # scipy's MATLAB reader raises many kinds on a damaged file
        raise DataError(f"{path}: not a readable MATLAB v5 file ({type(error).__name__}: {error})") from error
    images, labels = content.get("X"), content.get("y")
    if images is None or labels is None:
        raise DataError(f"{path}: expected the variables X and y")
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[2] != 3:
        raise DataError(
            f"{path}: X must be rows x columns x 3 x N of uint8, not {images.shape} of {images.dtype}"
        )
    if labels.size != images.shape[3]:
        raise DataError(f"{path}: {images.shape[3]} images but {labels.size} labels")
    raw = checked_labels(labels.reshape(-1), classes + 1, path)
    return Pixels(raw % classes, np.ascontiguousarray(images.transpose(3, 0, 1, 2)))
