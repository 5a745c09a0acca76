"""ImageFolder: one folder of images per class, as ImageNet and torchvision have it."""

from pathlib import Path

import numpy as np

from bitjoule.zoo.data.records import DataError, Encoded, is_jpeg

__all__ = ["class_names", "image_files", "read_imagefolder"]

SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".pgm"))


def class_names(folder: Path) -> tuple[str, ...]:
    """Return the class folders of `folder`, sorted: the position is the label."""
    names = tuple(sorted(entry.name for entry in folder.iterdir() if entry.is_dir()))
    if not names:
        raise DataError(f"{folder}: expected one folder of images per class, found none")
    return names


def image_files(folder: Path) -> tuple[Path, ...]:
    """Return every image file of the class folders, sorted by class and name; raises DataError for an empty
    class.
    """
    files: list[Path] = []
    for name in class_names(folder):
        own = sorted(file for file in (folder / name).iterdir() if file.suffix.lower() in SUFFIXES)
        if not own:
            raise DataError(f"{folder / name}: no image in this class folder ({', '.join(sorted(SUFFIXES))})")
        files += own
    return tuple(files)


def read_imagefolder(files: tuple[Path, ...], names: tuple[str, ...]) -> Encoded:
    """Return the images `files` (RGB, decoded when selected), labelled by their folder's place in `names`."""
    places = {name: place for place, name in enumerate(names)}
    unknown = sorted({file.parent.name for file in files} - places.keys())
    if unknown:
        raise DataError(f"{files[0].parent.parent}: no training class is called {unknown[0]!r}")
    labels = np.asarray([places[file.parent.name] for file in files], dtype=np.int64)
    lossy = False
    for file in files:
        with file.open("rb") as stream:
            lossy = lossy or is_jpeg(stream.read(3))
    return Encoded(labels, lambda i: files[i].read_bytes(), lambda i: str(files[i]), 3, lossy)
