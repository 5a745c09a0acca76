"""Parquet files with an image-bytes column and a label column, the layout of Hugging Face image sets."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bitjoule.zoo.data.records import JPEG_MAGIC, DataError, Encoded, checked_labels

__all__ = ["IMAGE_COLUMNS", "LABEL_COLUMNS", "count_classes", "read_parquet"]

IMAGE_COLUMNS = ("img", "image")
LABEL_COLUMNS = ("label", "fine_label", "labels")


def read_parquet(files: tuple[Path, ...], classes: int, channels: int | None) -> Encoded:
    """Read shards in the order given; images stay encoded until they are selected. Raises DataError."""
    blobs: list[pa.Array] = []
    labels = []
    starts = [0]
    lossy = False
    for path in files:
        image_column, label_column = columns(path)
        table = read(path, [image_column, label_column])
        images = table[image_column].combine_chunks()
        if pa.types.is_struct(images.type):
            images = images.field("bytes")
        if images.null_count:
            row = int(np.flatnonzero(images.is_null().to_numpy(zero_copy_only=False))[0])
            raise DataError(f"{path}: row {row} has no image bytes in column {image_column!r}")
        if table[label_column].null_count:
            raise DataError(f"{path}: column {label_column!r} has rows without a label")
        labels.append(checked_labels(table[label_column].to_numpy(), classes, path))
        lossy = lossy or bool(
            pc.any(pc.equal(pc.binary_slice(images, 0, 3), pa.scalar(JPEG_MAGIC, images.type))).as_py()
        )
        blobs.append(images)
        starts.append(starts[-1] + len(images))
    offsets = np.asarray(starts)

    def locate(index: int) -> tuple[int, int]:
        shard = int(np.searchsorted(offsets, index, side="right")) - 1
        return shard, index - starts[shard]

    def fetch(index: int) -> bytes:
        shard, row = locate(index)
        return bytes(blobs[shard][row].as_py())

    def where(index: int) -> str:
        shard, row = locate(index)
        return f"{files[shard]}: row {row}"

    return Encoded(np.concatenate(labels), fetch, where, channels, lossy)


def count_classes(files: tuple[Path, ...]) -> int:
    """Return the largest label of the files plus one."""
    largest = -1
    for path in files:
        _, column = columns(path)
        values = read(path, [column])[column]
        if len(values):
            top = pc.max(values).as_py()
            if not isinstance(top, int):
                raise DataError(f"{path}: column {column!r} must hold integer labels")
            largest = max(largest, top)
    if largest < 0:
        raise DataError(f"{files[0]}: no label of at least 0 in column {columns(files[0])[1]!r}")
    return largest + 1


def columns(path: Path) -> tuple[str, str]:
    """Return the names of the image and the label column; raises DataError when one is missing."""
    try:
        schema = pq.read_schema(path)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a readable Parquet file ({error})") from error
    found = []
    for title, candidates in (("image-bytes", IMAGE_COLUMNS), ("label", LABEL_COLUMNS)):
        names = [name for name in candidates if name in schema.names]
        if not names:
            raise DataError(
                f"{path}: no {title} column, expected one of {', '.join(candidates)} "
                f"among {', '.join(schema.names)}"
            )
        found.append(names[0])
    kind = schema.field(found[0]).type
    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        kind = kind.field("bytes").type
    if not (pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
        raise DataError(f"{path}: column {found[0]!r} must hold image bytes, not {kind}")
    return found[0], found[1]


def read(path: Path, names: list[str]) -> pa.Table:
    """Return the columns `names`; raises DataError for a damaged file."""
    try:
        return pq.read_table(path, columns=names)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a readable Parquet file ({error})") from error
