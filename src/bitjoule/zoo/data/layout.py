"""Which files of a folder are the data: the official file layouts of each kind, found without being told
which.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bitjoule.zoo.data.cifar import read_binary_batches, read_python_batches
from bitjoule.zoo.data.idx import read_idx
from bitjoule.zoo.data.imagefolder import class_names, image_files, read_imagefolder
from bitjoule.zoo.data.parquet import count_classes, read_parquet
from bitjoule.zoo.data.records import DataError, Records
from bitjoule.zoo.data.svhn import read_svhn

__all__ = ["KINDS", "FileRecord", "Layout", "Source", "file_records", "find_source"]

Reader = Callable[[tuple[Path, ...], int], Records]


@dataclass(frozen=True)
class Layout:
    """One official way to store a kind: `train` and `test` are patterns of file names, each of which must
    match.

    `folders` are the places to look, below the root, in this order.
    """

    title: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    folders: tuple[str, ...]
    read: Reader


@dataclass(frozen=True)
class Source:
    """The files found: training and test records (never mixed), the class count, and every file for the
    manifest.
    """

    kind: str
    title: str
    classes: int
    root: Path
    files: tuple[Path, ...]
    train: Records
    test: Records


@dataclass(frozen=True)
class FileRecord:
    """One line of a manifest: path relative to the root (with `/`), bytes, SHA-256 in hex."""

    path: str
    size_bytes: int
    sha256: str


def parquet_of(channels: int | None) -> Reader:
    """Return a Parquet reader whose images become grey (1) or RGB (3)."""
    return lambda files, classes: read_parquet(files, classes, channels)


def idx_names(stem: str) -> tuple[str, ...]:
    """Return the patterns of an image file and its label file: `-` or `.` before idx, with or without .gz."""
    return tuple(f"{stem}-{part}[-.]idx{n}-ubyte*" for part, n in (("images", 3), ("labels", 1)))


CIFAR10 = tuple(f"data_batch_{number}" for number in range(1, 6))
SHARDS = (("train*.parquet",), ("test*.parquet",))
LAYOUTS: dict[str, tuple[int, tuple[Layout, ...]]] = {
    "cifar10": (
        10,
        (
            Layout(
                "Python batches", CIFAR10, ("test_batch",), ("", "cifar-10-batches-py"), read_python_batches
            ),
            Layout(
                "binary batches",
                tuple(f"{name}.bin" for name in CIFAR10),
                ("test_batch.bin",),
                ("", "cifar-10-batches-bin"),
                read_binary_batches,
            ),
            Layout("Parquet", *SHARDS, ("", "data", "plain_text"), parquet_of(3)),
        ),
    ),
    "cifar100": (
        100,
        (
            Layout("Python batches", ("train",), ("test",), ("", "cifar-100-python"), read_python_batches),
            Layout(
                "binary batches", ("train.bin",), ("test.bin",), ("", "cifar-100-binary"), read_binary_batches
            ),
            Layout("Parquet", *SHARDS, ("", "data", "cifar100"), parquet_of(3)),
        ),
    ),
    "mnist": (
        10,
        (
            Layout("idx", idx_names("train"), idx_names("t10k"), ("", "raw", "MNIST/raw"), read_idx),
            Layout("Parquet", *SHARDS, ("", "data", "mnist"), parquet_of(1)),
        ),
    ),
    "svhn": (
        10,
        (
            Layout("MATLAB", ("train_32x32.mat",), ("test_32x32.mat",), ("",), read_svhn),
            Layout("Parquet", *SHARDS, ("", "data", "cropped_digits"), parquet_of(3)),
        ),
    ),
    "parquet": (0, (Layout("Parquet", *SHARDS, ("", "data"), parquet_of(None)),)),
}
KINDS = ("digits", *LAYOUTS, "imagefolder")
REMEDY = "give root= (`root:` under `data:` in a study) the folder that holds these files"


def find_source(kind: str, root: Path) -> Source:
    """Return the data of `kind` below `root`, its layout detected; raises DataError that says what was
    looked for.
    """
    if not root.is_dir():
        raise DataError(f"no data folder {str(root)!r}: {kind} expects there {expected(kind)}; {REMEDY}")
    if kind == "imagefolder":
        return find_imagefolder(root)
    classes, layouts = LAYOUTS[kind]
    for layout in layouts:
        for name in layout.folders:
            folder = root / name
            train, test = matches(folder, layout.train), matches(folder, layout.test)
            if train and test:
                files = (*train, *test)
                count = classes or count_classes(train)
                return Source(
                    kind,
                    layout.title,
                    count,
                    root,
                    files,
                    layout.read(train, count),
                    layout.read(test, count),
                )
            if train:
                raise DataError(
                    f"{folder}: {kind} as {layout.title} has training files but not {' '.join(layout.test)}; "
                    "the test split comes from the official test files only"
                )
    present = sorted(entry.name for entry in root.iterdir())[:6]
    raise DataError(
        f"no {kind} data in {str(root)!r}: expected {expected(kind)}; "
        f"found {', '.join(present) or 'nothing'}; {REMEDY}"
    )


def find_imagefolder(root: Path) -> Source:
    """Return `root/train` and, as test set, `root/test` or else `root/val`."""
    train = root / "train"
    test = next((folder for folder in (root / "test", root / "val") if folder.is_dir()), None)
    if not train.is_dir() or test is None:
        raise DataError(f"no imagefolder data in {str(root)!r}: expected {expected('imagefolder')}; {REMEDY}")
    names = class_names(train)
    train_files, test_files = image_files(train), image_files(test)
    return Source(
        "imagefolder",
        f"ImageFolder, test images from {test.name}/",
        len(names),
        root,
        (*train_files, *test_files),
        read_imagefolder(train_files, names),
        read_imagefolder(test_files, names),
    )


def expected(kind: str) -> str:
    """Return what a kind looks for, in words."""
    if kind == "imagefolder":
        return "train/CLASS/*.png (or .jpg ...) and test/CLASS/ or val/CLASS/"
    return " or ".join(
        f"{' '.join((*layout.train, *layout.test))} ({layout.title})" for layout in LAYOUTS[kind][1]
    )


def matches(folder: Path, patterns: tuple[str, ...]) -> tuple[Path, ...]:
    """Return the files that match the patterns, in pattern order; none when a pattern has no match.

    Only Parquet may have several files (shards) for one pattern; of an idx file and its .gz the plain one is
    taken.
    """
    found: list[Path] = []
    for pattern in patterns:
        files = sorted(path for path in folder.glob(pattern) if path.is_file())
        if not files:
            return ()
        found += files if pattern.endswith(".parquet") else files[:1]
    return tuple(found)


def file_records(root: Path, files: tuple[Path, ...]) -> tuple[FileRecord, ...]:
    """Return the manifest lines of `files`, sorted by path; reads every byte."""
    records = []
    for path in files:
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        records.append(FileRecord(path.relative_to(root).as_posix(), path.stat().st_size, digest))
    return tuple(sorted(records, key=lambda record: record.path))
