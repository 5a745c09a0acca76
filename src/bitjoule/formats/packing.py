"""Storage: codes side by side in words, element 0 in the lowest bits; five trits in a byte."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bitjoule.formats.codes import check_codes, check_levels, code_dtype

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["TRIT_BITS", "pack", "pack_trits", "unpack", "unpack_trits"]

TRIT_BITS = 1.6  # five trits take one byte, 3**5 = 243 <= 256
_TRITS = 5
_WORDS = (8, 16, 32, 64)


def pack(code: ArrayLike, bits: int, word_bits: int = 8) -> NDArray[Any]:
    """Codes of ``bits`` bits as one dense little-endian stream, cut into unsigned words; the rest is 0.

    The input is flattened in C order. A code may straddle two words.

    >>> pack([0x1, 0x2, 0x3], bits=4)
    array([33,  3], dtype=uint8)
    """
    _check_widths("pack", bits, word_bits)
    c = check_codes("pack", code, bits).reshape(-1).astype("<u8")
    planes = np.unpackbits(c.view(np.uint8).reshape(-1, 8), axis=1, count=bits, bitorder="little")
    stream = np.packbits(planes.reshape(-1), bitorder="little")
    word_bytes = word_bits // 8
    padded = np.zeros(-(-stream.size // word_bytes) * word_bytes, np.uint8)
    padded[: stream.size] = stream
    return padded.view(f"<u{word_bytes}").astype(f"u{word_bytes}")


def unpack(words: ArrayLike, bits: int, count: int) -> NDArray[Any]:
    """The first ``count`` codes of ``bits`` bits of packed words, in the smallest unsigned dtype.

    >>> unpack(np.array([33, 3], np.uint8), bits=4, count=3)
    array([1, 2, 3], dtype=uint8)
    """
    w = np.asarray(words).reshape(-1)
    if w.dtype.kind != "u":
        raise TypeError(f"unpack: words must be unsigned integers as pack gives them, not {w.dtype}")
    _check_widths("unpack", bits, 8 * w.dtype.itemsize)
    stored = w.size * w.dtype.itemsize * 8
    if not 0 <= count * bits <= stored:
        raise ValueError(
            f"unpack: {count} codes of {bits} bits need {count * bits} bits, the words hold {stored}"
        )
    stream = w.astype(w.dtype.newbyteorder("<")).view(np.uint8)
    planes = np.unpackbits(stream, count=count * bits, bitorder="little").reshape(count, bits)
    wide = np.zeros((count, 64), np.uint8)
    wide[:, :bits] = planes
    return np.packbits(wide, axis=1, bitorder="little").view("<u8").reshape(count).astype(code_dtype(bits))


def pack_trits(level: ArrayLike) -> NDArray[np.uint8]:
    """TERNARY levels, five to a byte: ``sum((level_i + 1) * 3**i)``, element 0 lowest, missing ones as 0.

    >>> pack_trits([1, 0, -1, 0, 0])
    array([113], dtype=uint8)
    """
    a = check_levels("pack_trits", level, -1, 1).reshape(-1)
    rows = np.zeros((-(-a.size // _TRITS), _TRITS), np.int64)
    rows.reshape(-1)[: a.size] = a
    return ((rows + 1) @ 3 ** np.arange(_TRITS)).astype(np.uint8)


def unpack_trits(packed: ArrayLike, count: int) -> NDArray[np.int64]:
    """The first ``count`` TERNARY levels of ``pack_trits``.

    >>> unpack_trits([113], 3)
    array([ 1,  0, -1])
    """
    p = check_codes("unpack_trits", packed, 8).reshape(-1)
    if p.size and p.max() >= 3**_TRITS:
        raise ValueError(
            f"unpack_trits: byte {p[p >= 3**_TRITS][0]} holds no five trits (0 .. {3**_TRITS - 1})"
        )
    if not 0 <= count <= p.size * _TRITS:
        raise ValueError(f"unpack_trits: {p.size} bytes hold {p.size * _TRITS} trits, not {count}")
    return np.asarray((p[:, None] // 3 ** np.arange(_TRITS) % 3 - 1).reshape(-1)[:count], np.int64)


def _check_widths(where: str, bits: int, word_bits: int) -> None:
    if not 1 <= bits <= 32:
        raise ValueError(f"{where}: a code has 1 to 32 bits, not {bits}")
    if word_bits not in _WORDS:
        raise ValueError(f"{where}: a word has {', '.join(map(str, _WORDS))} bits, not {word_bits}")
