"""Reading the Python batches of CIFAR, which are pickles, without running anything that a pickle asks for.

The unpickler knows NumPy's array, its dtype, its reconstructor and the two functions by which Python 3 writes
bytes. All of them are replaced by recorders of this file, so not even NumPy's own state setters see the
file; any other name is refused. What comes out is arrays of bytes or integers, lists, dicts, bytes, str and
numbers.
"""

import io
import pickle
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bitjoule.zoo.data.records import DataError

__all__ = ["read_arrays_pickle"]

DTYPES = {"u1": "u1", "|u1": "u1", "uint8": "u1", "i8": "i8", "<i8": "i8", "i4": "i4", "<i4": "i4"}


class RecordedDtype:
    """Stands for numpy.dtype: remembers the code, ignores flags, takes the byte order from its state."""

    def __init__(self, code: str | bytes, *flags: object) -> None:
        self.code = code.decode("ascii") if isinstance(code, bytes) else code
        self.order = "|"

    def __setstate__(self, state: object) -> None:
        if isinstance(state, tuple) and len(state) > 1:
            order = state[1]
            self.order = order.decode("ascii") if isinstance(order, bytes) else str(order)


class RecordedArray:
    """Stands for numpy.ndarray: remembers shape, dtype and bytes until `resolve` checks them."""

    def __init__(self) -> None:
        self.state: object = None

    def __setstate__(self, state: object) -> None:
        self.state = state

    def resolve(self) -> NDArray[np.generic]:
        """Return the array; raises ValueError when shape, dtype and bytes do not agree."""
        if not (isinstance(self.state, tuple) and len(self.state) == 5):
            raise ValueError("an array without its contents")
        _version, shape, dtype, fortran, raw = self.state
        if not isinstance(dtype, RecordedDtype) or dtype.order == ">" or dtype.code not in DTYPES:
            raise ValueError(f"an array of {getattr(dtype, 'code', dtype)!r}, expected bytes or integers")
        if (
            not isinstance(raw, bytes)
            or not isinstance(shape, tuple)
            or not all(type(n) is int for n in shape)
        ):
            raise ValueError("an array whose contents are not bytes")
        return np.frombuffer(raw, dtype=DTYPES[dtype.code]).reshape(shape, order="F" if fortran else "C")


def reconstruct(kind: object, shape: object, code: object) -> RecordedArray:
    """Stand for numpy's `_reconstruct`: an array whose state follows."""
    return RecordedArray()


def encode_latin1(text: str, encoding: str) -> bytes:
    """Stand for `_codecs.encode`, by which Python 3 stores bytes in old protocols."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"encoding {encoding!r} is not latin1")
    return text.encode("latin1")


def empty_bytes() -> bytes:
    """Stand for `bytes`, which Python 3 calls without arguments to store an empty string in old protocols."""
    return b""


ADMITTED = {
    ("numpy", "ndarray"): RecordedArray,
    ("numpy", "dtype"): RecordedDtype,
    ("numpy.core.multiarray", "_reconstruct"): reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): reconstruct,
    ("_codecs", "encode"): encode_latin1,
    ("__builtin__", "bytes"): empty_bytes,
}


class ArraysUnpickler(pickle.Unpickler):
    """An unpickler that finds only the recorders above."""

    def find_class(self, module: str, name: str) -> object:
        if (module, name) not in ADMITTED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no CIFAR batch needs: refused")
        return ADMITTED[module, name]


def read_arrays_pickle(path: Path) -> dict[str, object]:
    """Return the dictionary that a CIFAR Python batch holds, its keys as str and its arrays as NumPy arrays.

    Raises DataError for an unreadable or truncated file, and for one that asks for any other class or
    function.
    """
    try:
        content = ArraysUnpickler(io.BytesIO(path.read_bytes()), encoding="bytes").load()
    except Exception as error:  # a hostile pickle can make the machine of pickle raise nearly anything
        raise DataError(f"{path}: not a readable Python batch ({type(error).__name__}: {error})") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: expected a dictionary of arrays, got {type(content).__name__}")
    result: dict[str, object] = {}
    for key, value in content.items():
        name = key.decode("latin1") if isinstance(key, bytes) else str(key)
        try:
            result[name] = value.resolve() if isinstance(value, RecordedArray) else value
        except ValueError as error:
            raise DataError(f"{path}: entry {name!r}: {error}") from error
    return result
