"""Hostile, damaged and inconsistent files are refused, and the message names the file and the fault."""

import gzip
import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.io import savemat

from bitjoule.zoo import load_dataset
from bitjoule.zoo.data import DataError
from bitjoule.zoo.data.arrays_pickle import read_arrays_pickle
from bitjoule.zoo.data.idx import read_idx_file
from bitjoule.zoo.data.svhn import read_svhn

from . import tiny


class Hostile:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("this must never run",)


def data_batch(**content: object) -> bytes:
    return pickle.dumps({key.encode(): value for key, value in content.items()}, protocol=2)


def test_a_pickle_that_calls_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "data_batch_1"
    path.write_bytes(pickle.dumps({b"data": Hostile()}, protocol=2))
    with pytest.raises(
        DataError, match=r"data_batch_1: .* it asks for __builtin__.print, which no CIFAR batch needs"
    ):
        read_arrays_pickle(path)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", ["os.system", "numpy.load", "builtins.eval", "numpy.core.multiarray.scalar"])
def test_every_other_name_is_refused(name: str, tmp_path: Path) -> None:
    module, _, function = name.rpartition(".")
    path = tmp_path / "batch"
    path.write_bytes(f"c{module}\n{function}\n(S'x'\ntR.".encode())
    with pytest.raises(DataError, match=f"it asks for {name}, which no CIFAR batch needs: refused"):
        read_arrays_pickle(path)


def test_arrays_survive_as_numpy_wrote_them(tmp_path: Path) -> None:
    path = tmp_path / "batch"
    rows = np.arange(24, dtype=np.uint8).reshape(4, 6)
    content = {
        b"data": rows,
        b"turned": np.asfortranarray(rows),
        b"labels": [1, 2],
        b"name": b"x",
        "text": "y",
    }
    path.write_bytes(pickle.dumps(content, protocol=2))
    read = read_arrays_pickle(path)
    assert np.array_equal(np.asarray(read["data"]), rows) and np.array_equal(np.asarray(read["turned"]), rows)
    assert (read["labels"], read["name"], read["text"]) == ([1, 2], b"x", "y")


def crafted(shape: tuple[int, ...], raw: bytes) -> bytes:
    """A pickle of an array whose shape and bytes need not agree."""
    honest = pickle.dumps({b"data": np.zeros((7,), np.uint8)}, protocol=2)
    size, width = struct.pack("<B", 7), struct.pack("<B", shape[0])
    return honest.replace(b"K" + size + b"\x85", b"K" + width + b"\x85").replace(b"\x00" * 7, raw)


def test_an_array_larger_than_its_bytes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "batch"
    path.write_bytes(crafted((9,), b"\x00" * 7))
    with pytest.raises(
        DataError, match=r"batch: entry 'data': cannot reshape array of size 7 into shape \(9,\)"
    ):
        read_arrays_pickle(path)
    path.write_bytes(pickle.dumps({b"data": np.array([Path], dtype=object)}, protocol=2))
    with pytest.raises(DataError, match="batch: "):
        read_arrays_pickle(path)
    path.write_bytes(pickle.dumps({b"data": np.zeros(3)}, protocol=2))
    with pytest.raises(DataError, match="entry 'data': an array of 'f8', expected bytes or integers"):
        read_arrays_pickle(path)


@pytest.mark.parametrize(
    ("batch", "text"),
    [
        (b"", r"data_batch_1: not a readable Python batch \(EOFError"),
        (data_batch(labels=[1])[:-4], r"data_batch_1: not a readable Python batch"),
        (pickle.dumps([1], protocol=2), r"data_batch_1: expected a dictionary of arrays, got list"),
        (data_batch(labels=[1]), r"data_batch_1: 'data' must be an N x 3072 array of uint8"),
        (
            data_batch(data=np.zeros((2, 3072), np.uint8), labels=[1]),
            r"data_batch_1: 2 images but 1 labels",
        ),
        (
            data_batch(data=np.zeros((2, 3072), np.uint8), labels=[1, 10]),
            r"data_batch_1: label 10 of image 1 is outside 0..9",
        ),
        (
            data_batch(data=np.zeros((2, 3072), np.uint8), labels=[1.5, 2.0]),
            r"data_batch_1: labels must be integers, not float64",
        ),
        (
            data_batch(data=np.zeros((0, 3072), np.uint8), labels=[]),
            r"data_batch_1: expected a non-empty list of labels, got shape \(0,\)",
        ),
    ],
)
def test_damaged_python_batches(batch: bytes, text: str, tmp_path: Path) -> None:
    tiny.write_cifar10_python(tmp_path, tiny.images(10), [0] * 10, tiny.images(2), [0, 1])
    (tmp_path / "data_batch_1").write_bytes(batch)
    with pytest.raises(DataError, match=text):
        load_dataset("cifar10", tmp_path)


def test_truncated_binary_batch(tmp_path: Path) -> None:
    tiny.write_cifar10_binary(tmp_path, tiny.images(10), [0] * 10, tiny.images(2), [0, 1])
    (tmp_path / "test_batch.bin").write_bytes(b"\x00" * 3000)
    with pytest.raises(
        DataError, match=r"test_batch.bin: truncated, 3000 bytes are no whole number of 3073-byte"
    ):
        load_dataset("cifar10", tmp_path)


def idx(magic: int, shape: tuple[int, ...], content: bytes) -> bytes:
    return magic.to_bytes(4, "big") + b"".join(n.to_bytes(4, "big") for n in shape) + content


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (idx(2049, (4,), b"\0" * 4), r"magic number 2049, expected 2051 \(idx images, big-endian\)"),
        (b"\x03\x08\x00\x00" + b"\0" * 12, r"magic number 50855936, expected 2051"),
        (b"\x00\x00", r"truncated in its header of 16 bytes"),
        (idx(2051, (2, 2, 2), b"\0" * 7), r"truncated or padded, holds 7 bytes where its header promises 8"),
        (
            idx(2051, (2, 2, 2), b"\0" * 9),
            r"truncated or padded, holds more bytes where its header promises 8",
        ),
        (
            idx(2051, (2**31, 2**31, 2), b""),
            r"the header promises \d+ bytes, no MNIST-like file is that large",
        ),
    ],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_damaged_idx(content: bytes, text: str, pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    path = tmp_path / ("images.gz" if pack is gzip.compress else "images")
    path.write_bytes(pack(content))
    with pytest.raises(DataError, match=f"{path.name}: {text}"):
        read_idx_file(path, 2051)


def test_truncated_gzip(tmp_path: Path) -> None:
    path = tmp_path / "images.gz"
    path.write_bytes(gzip.compress(idx(2051, (2, 2, 2), bytes(range(8))))[:-9])
    with pytest.raises(DataError, match=r"images.gz: not a readable idx file \("):
        read_idx_file(path, 2051)
    path.write_bytes(b"no gzip at all")
    with pytest.raises(DataError, match=r"images.gz: not a readable idx file \(Not a gzipped file"):
        read_idx_file(path, 2051)


def test_damaged_matlab(tmp_path: Path) -> None:
    path = tmp_path / "train_32x32.mat"
    path.write_bytes(b"MATLAB 5.0" + b"\0" * 200)
    with pytest.raises(DataError, match=r"train_32x32.mat: not a readable MATLAB v5 file"):
        read_svhn((path,), 10)
    savemat(path, {"X": np.zeros((4, 4, 3, 2), np.uint8)})
    with pytest.raises(DataError, match=r"train_32x32.mat: expected the variables X and y"):
        read_svhn((path,), 10)
    savemat(path, {"X": np.zeros((4, 4, 3, 2)), "y": np.ones((2, 1), np.uint8)})
    with pytest.raises(
        DataError, match=r"X must be rows x columns x 3 x N of uint8, not \(4, 4, 3, 2\) of float64"
    ):
        read_svhn((path,), 10)
    savemat(path, {"X": np.zeros((4, 4, 3, 2), np.uint8), "y": np.ones((3, 1), np.uint8)})
    with pytest.raises(DataError, match=r"2 images but 3 labels"):
        read_svhn((path,), 10)


def parquet_root(tmp_path: Path, files: list[bytes | None], labels: list[int]) -> Path:
    tiny.write_parquet(tmp_path / "train.parquet", files, labels)
    tiny.write_parquet(tmp_path / "test.parquet", [tiny.encode(tiny.images(1)[0])] * 4, [0, 1, 2, 3])
    return tmp_path


def test_damaged_images_in_parquet(tmp_path: Path) -> None:
    good: list[bytes | None] = [tiny.encode(image) for image in tiny.images(10)]
    whole = good[0]
    if whole is None:
        pytest.fail("the encoder returned nothing")
    root = parquet_root(tmp_path, [*good, whole[: len(whole) // 2]], [0] * 11)
    with pytest.raises(DataError, match=r"train.parquet: row 10: not a readable image \("):
        load_dataset("cifar10", root)
    parquet_root(tmp_path, [*good, None], [0] * 11)
    with pytest.raises(DataError, match=r"train.parquet: row 10 has no image bytes in column 'img'"):
        load_dataset("cifar10", root)
    parquet_root(tmp_path, [*good, tiny.encode(tiny.images(1, 16)[0])], [0] * 11)
    with pytest.raises(DataError, match=r"row 10: image of 16x16 among images of 32x32; give resolution="):
        load_dataset("cifar10", root)
    parquet_root(tmp_path, good, [0] * 9 + [-1])
    with pytest.raises(DataError, match=r"train.parquet: label -1 of image 9 is outside 0..9"):
        load_dataset("cifar10", root)
    parquet_root(tmp_path, [tiny.encode(image) for image in tiny.images(10, 16)], [0] * 10)
    with pytest.raises(DataError, match=r"training images are \(16, 16, 3\) but test images \(32, 32, 3\)"):
        load_dataset("cifar10", root)


def test_parquet_of_another_shape(tmp_path: Path) -> None:
    root = parquet_root(tmp_path, [tiny.encode(image) for image in tiny.images(10)], [0] * 10)
    path = root / "train.parquet"
    path.write_bytes(b"PAR1 this is none PAR1")
    with pytest.raises(DataError, match=r"train.parquet: not a readable Parquet file \("):
        load_dataset("cifar10", root)
    pq.write_table(pa.table({"picture": [b"x"], "label": [1]}), path)
    with pytest.raises(
        DataError, match="no image-bytes column, expected one of img, image among picture, label"
    ):
        load_dataset("cifar10", root)
    pq.write_table(pa.table({"img": [b"x"], "class": [1]}), path)
    with pytest.raises(
        DataError, match="no label column, expected one of label, fine_label, labels among img, class"
    ):
        load_dataset("cifar10", root)
    pq.write_table(pa.table({"img": ["x.png"], "label": [1]}), path)
    with pytest.raises(DataError, match="column 'img' must hold image bytes, not string"):
        load_dataset("cifar10", root)


def test_imagefolder_faults(tmp_path: Path) -> None:
    (tmp_path / "train" / "ant").mkdir(parents=True)
    (tmp_path / "test" / "wasp").mkdir(parents=True)
    with pytest.raises(DataError, match=r"ant: no image in this class folder \(.bmp"):
        load_dataset("imagefolder", tmp_path)
    for folder in ("train/ant", "test/wasp"):
        (tmp_path / folder / "0.png").write_bytes(tiny.encode(tiny.images(1)[0]))
    with pytest.raises(DataError, match="test: no training class is called 'wasp'"):
        load_dataset("imagefolder", tmp_path)
