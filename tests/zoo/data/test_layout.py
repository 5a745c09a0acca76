"""Every official file format gives the same bytes and labels, wherever in the folder it lies; damage is
named.
"""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from bitjoule.zoo import load_dataset
from bitjoule.zoo.data import DataError, Dataset

from . import tiny

TRAIN = tiny.images(20, seed=1)
TEST = tiny.images(4, seed=2)
LABELS = [i % 10 for i in range(20)]
TEST_LABELS = [3, 0, 9, 1]


@pytest.fixture(autouse=True)
def private_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def channels_first(pixels: tiny.Bytes) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))


def check(
    data: Dataset, train: tiny.Bytes, labels: list[int], test: tiny.Bytes, test_labels: list[int]
) -> None:
    """The splits hold exactly the images written, each once, with its own label."""
    assert torch.equal(data.test.images, channels_first(test))
    assert data.test.labels.tolist() == test_labels
    got = [
        (image.numpy().tobytes(), int(label))
        for part in (data.train, data.validation)
        for image, label in zip(part.images, part.labels, strict=True)
    ]
    expected = [(i.numpy().tobytes(), n) for i, n in zip(channels_first(train), labels, strict=True)]
    assert sorted(got) == sorted(expected)


def write(layout: str, root: Path) -> None:
    if layout == "python":
        tiny.write_cifar10_python(root / "cifar-10-batches-py", TRAIN, LABELS, TEST, TEST_LABELS)
    elif layout == "binary":
        tiny.write_cifar10_binary(root, TRAIN, LABELS, TEST, TEST_LABELS)
    else:
        files = [tiny.encode(image) for image in TRAIN]
        tiny.write_parquet(root / "data" / "train-00000-of-00002.parquet", files[:12], LABELS[:12])
        tiny.write_parquet(root / "data" / "train-00001-of-00002.parquet", files[12:], LABELS[12:])
        tiny.write_parquet(
            root / "data" / "test-00000-of-00001.parquet", [tiny.encode(i) for i in TEST], TEST_LABELS
        )


@pytest.mark.parametrize("layout", ["python", "binary", "parquet"])
def test_cifar10(layout: str, tmp_path: Path) -> None:
    write(layout, tmp_path)
    data = load_dataset("cifar10", tmp_path)
    check(data, TRAIN, LABELS, TEST, TEST_LABELS)
    assert (data.classes, data.input_shape, data.lossy) == (10, (1, 3, 32, 32), False)


def test_all_layouts_split_alike(tmp_path: Path) -> None:
    found = []
    for layout in ("python", "binary", "parquet"):
        write(layout, tmp_path / layout)
        found.append(load_dataset("cifar10", tmp_path / layout))
    assert torch.equal(found[0].train.images, found[1].train.images)
    assert torch.equal(found[0].train.images, found[2].train.images)
    assert len({data.manifest_hash for data in found}) == 3


@pytest.mark.parametrize("layout", ["python", "binary", "parquet"])
def test_cifar100_takes_the_fine_label(layout: str, tmp_path: Path) -> None:
    labels, test_labels = [5 * i for i in range(20)], [99, 0, 50, 1]
    coarse = np.zeros(20, np.uint8)
    if layout == "python":
        for name, pixels, fine in (("train", TRAIN, labels), ("test", TEST, test_labels)):
            batch = {b"data": tiny.planes(pixels), b"fine_labels": fine, b"coarse_labels": [0] * len(fine)}
            (tmp_path / name).write_bytes(pickle.dumps(batch, protocol=2))
    elif layout == "binary":
        for name, pixels, fine in (("train.bin", TRAIN, labels), ("test.bin", TEST, test_labels)):
            head = np.stack([coarse[: len(fine)], np.asarray(fine, np.uint8)], axis=1)
            (tmp_path / name).write_bytes(np.concatenate([head, tiny.planes(pixels)], axis=1).tobytes())
    else:
        for name, pixels, fine in (("train", TRAIN, labels), ("test", TEST, test_labels)):
            files: list[bytes | None] = [tiny.encode(image) for image in pixels]
            tiny.write_parquet(tmp_path / f"{name}.parquet", files, fine, label_column="fine_label")
    data = load_dataset("cifar100", tmp_path)
    check(data, TRAIN, labels, TEST, test_labels)
    assert data.classes == 100


@pytest.mark.parametrize("layout", ["idx", "idx.gz", "raw", "parquet"])
def test_mnist(layout: str, tmp_path: Path) -> None:
    train, test = tiny.images(20, 28, 1, seed=3), tiny.images(4, 28, 1, seed=4)
    if layout == "parquet":
        tiny.write_parquet(tmp_path / "train.parquet", [tiny.encode(i) for i in train], LABELS, "image")
        tiny.write_parquet(tmp_path / "test.parquet", [tiny.encode(i) for i in test], TEST_LABELS, "image")
    else:
        folder = tmp_path / "MNIST" / "raw" if layout == "raw" else tmp_path
        ending = ".gz" if layout == "idx.gz" else ""
        for stem, pixels, labels in (("train", train, LABELS), ("t10k", test, TEST_LABELS)):
            tiny.write_idx(folder / f"{stem}-images-idx3-ubyte{ending}", pixels[..., 0], 2051)
            tiny.write_idx(folder / f"{stem}-labels-idx1-ubyte{ending}", np.asarray(labels, np.uint8), 2049)
    data = load_dataset("mnist", tmp_path)
    check(data, train, LABELS, test, TEST_LABELS)
    assert data.input_shape == (1, 1, 28, 28)


def test_svhn_reads_label_ten_as_zero(tmp_path: Path) -> None:
    tiny.write_svhn(tmp_path / "train_32x32.mat", TRAIN, LABELS)
    tiny.write_svhn(tmp_path / "test_32x32.mat", TEST, TEST_LABELS)
    check(load_dataset("svhn", tmp_path), TRAIN, LABELS, TEST, TEST_LABELS)


def test_imagefolder_sorts_its_classes_and_tests_on_val(tmp_path: Path) -> None:
    for part, pixels, labels in (("train", TRAIN, [i % 2 for i in range(20)]), ("val", TEST, [0, 1, 1, 0])):
        for number, (image, label) in enumerate(zip(pixels, labels, strict=True)):
            folder = tmp_path / part / ("ant", "bee")[label]
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{number:02}.PNG").write_bytes(tiny.encode(image))
    data = load_dataset("imagefolder", tmp_path)
    assert data.classes == 2
    assert "test images from val/" in data.source
    assert torch.equal(data.test.images, channels_first(TEST[[0, 3, 1, 2]]))
    assert data.test.labels.tolist() == [0, 0, 1, 1]


def test_generic_parquet_counts_classes_and_keeps_grey(tmp_path: Path) -> None:
    grey = tiny.images(20, 9, 1)
    tiny.write_parquet(tmp_path / "train.parquet", [tiny.encode(i) for i in grey], [i % 3 for i in range(20)])
    tiny.write_parquet(tmp_path / "test.parquet", [tiny.encode(grey[0])], [1])
    data = load_dataset("parquet", tmp_path)
    assert (data.classes, data.input_shape) == (3, (1, 1, 9, 9))


def test_jpeg_is_recorded_as_lossy(tmp_path: Path) -> None:
    tiny.write_parquet(tmp_path / "train.parquet", [tiny.encode(i, "JPEG") for i in TRAIN], LABELS)
    tiny.write_parquet(tmp_path / "test.parquet", [tiny.encode(i) for i in TEST], TEST_LABELS)
    data = load_dataset("cifar10", tmp_path)
    assert data.lossy
    assert data.source == f"cifar10 from {tmp_path.name}/ (Parquet, JPEG-coded)"


def test_missing_folder_says_what_and_how() -> None:
    text = (
        r"^no data folder 'nowhere/mnist': mnist expects there train-images.* \(idx\) or train\*.parquet "
        r"test\*.parquet \(Parquet\); give root= \(`root:` under `data:` in a study\) the folder that "
        r"holds these files$"
    )
    with pytest.raises(DataError, match=text):
        load_dataset("mnist", "nowhere/mnist")


def test_foreign_folder_says_what_it_found(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(
        DataError, match=r"no svhn data in .*: expected train_32x32.mat .*; found notes.txt; give root="
    ):
        load_dataset("svhn", tmp_path)
    with pytest.raises(DataError, match=r"no imagefolder data in .*: expected train/CLASS/"):
        load_dataset("imagefolder", tmp_path)


def test_training_files_alone_are_not_split_for_a_test_set(tmp_path: Path) -> None:
    tiny.write_parquet(tmp_path / "train.parquet", [tiny.encode(i) for i in TRAIN], LABELS)
    with pytest.raises(
        DataError, match=r"has training files but not test\*.parquet; the test split comes from"
    ):
        load_dataset("cifar10", tmp_path)


def test_kind_and_root_are_checked(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match="unknown data kind 'cifar'; kinds: digits, cifar10, cifar100, mnist, svhn"
    ):
        load_dataset("cifar", tmp_path)
    with pytest.raises(DataError, match="data kind 'cifar10' needs root="):
        load_dataset("cifar10")
    with pytest.raises(DataError, match="'digits' is embedded and takes no root"):
        load_dataset("digits", tmp_path)
