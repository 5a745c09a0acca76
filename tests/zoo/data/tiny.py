"""Tiny data sets in every official file format, written the way their publishers write them."""

import gzip
import io
import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image
from scipy.io import savemat

Bytes = NDArray[np.uint8]


def images(count: int, size: int = 32, channels: int = 3, seed: int = 0) -> Bytes:
    """Return N x size x size x channels random bytes."""
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, channels), dtype=np.uint8)


def encode(image: Bytes, form: str = "PNG") -> bytes:
    """Return one H x W x C image as a file."""
    stream = io.BytesIO()
    Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image).save(stream, form)
    return stream.getvalue()


def planes(pixels: Bytes) -> Bytes:
    """Return N x 3072 as CIFAR stores it: red, green, blue plane."""
    return pixels.transpose(0, 3, 1, 2).reshape(len(pixels), -1)


def write_cifar10_python(
    folder: Path, pixels: Bytes, labels: list[int], test: Bytes, test_labels: list[int]
) -> None:
    """Write data_batch_1..5 (equal parts) and test_batch as protocol 2 pickles with keys of bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    part = len(labels) // 5
    for number in range(5):
        chosen = slice(part * number, part * (number + 1))
        batch = {b"batch_label": b"training", b"labels": labels[chosen], b"data": planes(pixels[chosen])}
        (folder / f"data_batch_{number + 1}").write_bytes(pickle.dumps(batch, protocol=2))
    final = {
        b"batch_label": b"testing",
        b"labels": test_labels,
        b"data": planes(test),
        b"filenames": [b"a.png"],
    }
    (folder / "test_batch").write_bytes(pickle.dumps(final, protocol=2))


def write_cifar10_binary(
    folder: Path, pixels: Bytes, labels: list[int], test: Bytes, test_labels: list[int]
) -> None:
    """Write data_batch_1..5.bin (equal parts) and test_batch.bin."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = np.concatenate([np.asarray(labels, np.uint8)[:, None], planes(pixels)], axis=1)
    for number, part in enumerate(np.split(rows, 5), start=1):
        (folder / f"data_batch_{number}.bin").write_bytes(part.tobytes())
    final = np.concatenate([np.asarray(test_labels, np.uint8)[:, None], planes(test)], axis=1)
    (folder / "test_batch.bin").write_bytes(final.tobytes())


def write_idx(path: Path, array: Bytes, magic: int) -> None:
    """Write one idx file; gzip where the name ends in .gz."""
    header = magic.to_bytes(4, "big") + b"".join(n.to_bytes(4, "big") for n in array.shape)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = header + array.tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def write_parquet(
    path: Path,
    files: list[bytes | None],
    labels: list[int],
    image_column: str = "img",
    label_column: str = "label",
) -> None:
    """Write one shard with the struct {bytes, path} of Hugging Face."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [{"bytes": file, "path": f"{i}.png"} for i, file in enumerate(files)]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    pq.write_table(
        pa.table({image_column: pa.array(rows, kind), label_column: pa.array(labels, pa.int64())}), path
    )


def write_svhn(path: Path, pixels: Bytes, labels: list[int]) -> None:
    """Write X (32 x 32 x 3 x N) and y (N x 1, digit 0 as 10)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    y = np.asarray([label or 10 for label in labels], np.uint8)[:, None]
    savemat(path, {"X": pixels.transpose(1, 2, 3, 0), "y": y})
