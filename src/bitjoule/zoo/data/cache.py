"""Decoded images kept between runs: decoding 60,000 small JPEG or PNG files takes seconds, reading them back
does not.

One `.npy` and one `.json` (size and SHA-256) per array, in `$XDG_CACHE_HOME/bitjoule/data/<key>/` or
`~/.cache/bitjoule/data/<key>/`. Written to a temporary file and renamed, so processes may write the same key
at once; an entry whose size or hash is not as noted is ignored and rebuilt. Deleting the folder is always
safe.
"""

import hashlib
import json
import os
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import IO

import numpy as np

from bitjoule.zoo.data.records import PixelArray

__all__ = ["cache_folder", "load_cached", "store_cached"]


def cache_folder(key: str) -> Path:
    """Return the folder of `key`; it may not exist."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home) / "bitjoule" / "data" / key


def load_cached(key: str, name: str) -> PixelArray | None:
    """Return the array stored under `key` and `name`, or None when it is absent or damaged."""
    folder = cache_folder(key)
    try:
        note = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        array = np.load(folder / f"{name}.npy", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    if not isinstance(array, np.ndarray) or array.dtype != np.uint8 or note != describe(array):
        return None
    return array


def store_cached(key: str, name: str, array: PixelArray) -> None:
    """Store `array`; a folder that cannot be written warns and changes nothing else."""
    folder = cache_folder(key)
    array = np.ascontiguousarray(array)
    note = json.dumps(describe(array)).encode()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / f"{name}.npy", lambda stream: np.save(stream, array, allow_pickle=False))
        write_atomically(folder / f"{name}.json", lambda stream: stream.write(note))
    except OSError as error:
        warnings.warn(f"decoded images are not cached in {folder}: {error}", stacklevel=2)


def describe(array: PixelArray) -> dict[str, object]:
    """Return what the note of an array says: shape and SHA-256 of its bytes."""
    return {
        "shape": list(array.shape),
        "sha256": hashlib.sha256(np.ascontiguousarray(array).data).hexdigest(),
    }


def write_atomically(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write a temporary file beside `path`, flush it to disk, and rename it over `path`."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
