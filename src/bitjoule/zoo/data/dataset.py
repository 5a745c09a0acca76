"""A dataset in memory: three splits of bytes, how they were made, and the hash that names them.

What the data are, is said: `lossy` marks JPEG-coded sources, on which networks trained on the lossless set
lose about ten points (ResNet-20 on CIFAR-10: 91.7 to 81.0 %), so accuracies there are to be read relative to
float32 on the same data.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bitjoule.zoo.data.cache import load_cached, store_cached
from bitjoule.zoo.data.digits import digits_records, read_digits
from bitjoule.zoo.data.layout import KINDS, FileRecord, file_records, find_source
from bitjoule.zoo.data.preprocessing import Preprocessing
from bitjoule.zoo.data.records import DataError, Encoded, IndexArray, PixelArray, Records
from bitjoule.zoo.data.split import limited, split_indices

__all__ = ["Dataset", "Split", "data_card", "load_dataset"]

SPLIT_RULE = 2  # raised when the same files would be split or decoded otherwise


@dataclass(frozen=True)
class Split:
    """Images as uint8 N x C x H x W and labels as int64 N, on one device."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device | str) -> "Split":
        """Return the split on `device`."""
        return Split(self.images.to(device), self.labels.to(device))


@dataclass(frozen=True)
class Dataset:
    """Training, validation and test images of one source.

    `manifest_hash` is the SHA-256 of the files (path, bytes, hash), the kind they were read as and its image
    channels, the split rule with its limits, the resolution and the class count: equal hash, equal bytes in
    equal splits. It leaves out the preprocessing; `content_key` has both.
    """

    name: str
    classes: int
    train: Split
    validation: Split
    test: Split
    preprocessing: Preprocessing
    manifest_hash: str
    lossy: bool
    source: str

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """The shape of one image as a batch of one: (1, C, H, W)."""
        channels, height, width = self.train.images.shape[1:]
        return (1, channels, height, width)

    @property
    def content_key(self) -> str:
        """The hash of all that an accuracy depends on: the manifest and the preprocessing."""
        return digest([self.manifest_hash, self.preprocessing.to_json()])

    def to(self, device: torch.device | str) -> "Dataset":
        """Return the dataset with all its bytes on `device`."""
        return replace(
            self,
            train=self.train.to(device),
            validation=self.validation.to(device),
            test=self.test.to(device),
        )


def load_dataset(
    kind: str,
    root: Path | str | None = None,
    *,
    validation: float = 0.1,
    resolution: int | None = None,
    preprocessing: str | Preprocessing = "signed",
    limit_train: int | None = None,
    limit_val: int | None = None,
    limit_test: int | None = None,
    seed: int = 0,
) -> Dataset:
    """Read a dataset; the layout of the files below `root` is detected.

    `kind`: digits (embedded, no root), cifar10, cifar100, mnist, svhn, parquet, imagefolder. `validation` is
    the share of the official training images that validate, chosen by the hash of their index; test images
    come from the official test files only. `resolution` makes images square (see `to_square`). Limits keep
    that many images of a split, chosen by `seed`, before anything is decoded. Raises DataError for whatever
    is missing or damaged.

    >>> data = load_dataset("digits")
    >>> len(data.train), len(data.validation), len(data.test), data.input_shape
    (1293, 144, 360, (1, 1, 8, 8))
    """
    if resolution is not None and resolution < 1:
        raise DataError(f"resolution must be at least 1 pixel, not {resolution}")
    train, test, classes, files, title = open_records(kind, root)
    kept, held = split_indices(len(train.labels), validation)
    kept, held = limited(kept, limit_train, seed), limited(held, limit_val, seed)
    tested = limited(np.arange(len(test.labels), dtype=np.int64), limit_test, seed)
    limits = [limit_train, limit_val, limit_test]
    rule = {"version": SPLIT_RULE, "validation": validation, "limits": limits}
    if any(limit is not None for limit in limits):
        rule["seed"] = seed
    lines = [asdict(record) for record in files]
    reading = {
        "kind": kind,
        "channels": [train.image_channels, test.image_channels],
        "resolution": resolution,
    }
    cache_key = digest([lines, SPLIT_RULE, reading])
    train_pixels, held_pixels = gather(train, [kept, held], resolution, cache_key, "train")
    (test_pixels,) = gather(test, [tested], resolution, cache_key, "test")
    if train_pixels.shape[1:] != test_pixels.shape[1:]:
        raise DataError(
            f"{title}: training images are {train_pixels.shape[1:]} but test images {test_pixels.shape[1:]} "
            "(rows, columns, channels); give resolution= to bring all to one size"
        )
    return Dataset(
        name=kind,
        classes=classes,
        train=split_of(train, kept, train_pixels),
        validation=split_of(train, held, held_pixels),
        test=split_of(test, tested, test_pixels),
        preprocessing=preprocessing
        if isinstance(preprocessing, Preprocessing)
        else Preprocessing(preprocessing),
        manifest_hash=digest([lines, reading, rule, classes]),
        lossy=train.lossy or test.lossy,
        source=title,
    )


def open_records(
    kind: str, root: Path | str | None
) -> tuple[Records, Records, int, tuple[FileRecord, ...], str]:
    """Return (train, test, classes, manifest lines, source text) of a kind."""
    if kind not in KINDS:
        raise DataError(f"unknown data kind {kind!r}; kinds: {', '.join(KINDS)}")
    if kind == "digits":
        if root is not None:
            raise DataError("data kind 'digits' is embedded and takes no root; leave it out")
        train, test = read_digits()
        return train, test, 10, digits_records(train, test), "scikit-learn digits, 8x8, embedded"
    if root is None:
        raise DataError(
            f"data kind {kind!r} needs root= (`--root` of `bitjoule train`), the folder that holds its files"
        )
    source = find_source(kind, Path(root))
    coding = ", JPEG-coded" if source.train.lossy or source.test.lossy else ""
    title = f"{kind} from {source.root.resolve().name}/ ({source.title}{coding})"
    return source.train, source.test, source.classes, file_records(source.root, source.files), title


def gather(
    records: Records, parts: list[IndexArray], resolution: int | None, key: str, name: str
) -> list[PixelArray]:
    """Return the images of each part; encoded images through the cache when all of them are wanted."""
    if isinstance(records, Encoded):
        pixels = load_cached(key, name)
        if pixels is None and sum(map(len, parts)) == len(records.labels):
            pixels = records.select(np.arange(len(records.labels), dtype=np.int64), resolution)
            store_cached(key, name, pixels)
        if pixels is not None and len(pixels) == len(records.labels):
            return [pixels[part] for part in parts]
    return [records.select(part, resolution) for part in parts]


def split_of(records: Records, indices: IndexArray, pixels: PixelArray) -> Split:
    """Return N x H x W x C bytes and their labels as tensors, channels first."""
    images = torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))
    return Split(images, torch.from_numpy(records.labels[indices]))


def digest(content: object) -> str:
    """Return the SHA-256 in hex of the canonical JSON of `content`."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def data_card(dataset: Dataset) -> dict[str, object]:
    """Return what a report or the command line says about a dataset, ready for JSON."""
    card: dict[str, object] = {
        "name": dataset.name,
        "source": dataset.source,
        "classes": dataset.classes,
        "input_shape": list(dataset.input_shape),
        "train": len(dataset.train),
        "validation": len(dataset.validation),
        "test": len(dataset.test),
        "lossy": dataset.lossy,
        "preprocessing": dataset.preprocessing.to_json(),
        "input_format": dataset.preprocessing.input_format,
        "input_scale": dataset.preprocessing.input_scale,
        "manifest_hash": dataset.manifest_hash,
    }
    if dataset.lossy:
        card["note"] = (
            "JPEG-coded images: networks trained on the lossless set lose about ten points here; "
            "read accuracies relative to float32 on the same data"
        )
    return card
