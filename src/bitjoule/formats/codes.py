"""Checks and two's complement between integer levels and storage codes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "check_codes",
    "check_levels",
    "code_dtype",
    "refuse_codes",
    "refuse_wide",
    "sign_extend",
]

_WIDEST_LISTED = 16


def code_dtype(bits: int) -> np.dtype[Any]:
    """The smallest unsigned dtype of at least ``bits`` bits.

    >>> code_dtype(4), code_dtype(12)
    (dtype('uint8'), dtype('uint16'))
    """
    for dtype in (np.uint8, np.uint16, np.uint32):
        if bits <= np.iinfo(dtype).bits:
            return np.dtype(dtype)
    return np.dtype(np.uint64)


def check_levels(where: str, level: ArrayLike, low: int, high: int) -> NDArray[np.int64]:
    """Integer levels as int64; TypeError unless integers, ValueError unless within ``low .. high``."""
    a = _integers(where, "level", level)
    if a.size and (a.min() < low or a.max() > high):
        bad = (a < low) | (a > high)
        raise ValueError(f"{where}: level {_first(a, bad)} is outside {low} .. {high} {_at(bad)}")
    return a.astype(np.int64, copy=False)


def check_codes(where: str, code: ArrayLike, bits: int) -> NDArray[np.int64]:
    """Codes as int64; TypeError unless integers, ValueError unless within 0 .. 2**bits - 1."""
    a = _integers(where, "code", code)
    if a.size and (a.min() < 0 or a.max() >= 1 << bits):
        bad = (a < 0) | (a >= 1 << bits)
        raise ValueError(f"{where}: code {_first(a, bad)} is not in 0 .. 2**{bits} - 1 {_at(bad)}")
    return a.astype(np.int64, copy=False)


def refuse_codes(where: str, code: NDArray[np.int64], bad: NDArray[np.bool_]) -> None:
    """ValueError naming the first unused code where ``bad`` is true."""
    if bad.any():
        raise ValueError(
            f"{where}: code {_first(code, bad):#x} is unused {_at(bad)}; "
            "strict=False decodes it as the hardware would"
        )


def refuse_wide(name: str, bits: int) -> None:
    """ValueError for listing the levels of a format above 16 bits."""
    if bits > _WIDEST_LISTED:
        raise ValueError(f"{name}.levels: {bits} bits are too many to list ({_WIDEST_LISTED} at most)")


def sign_extend(code: NDArray[np.int64], bits: int) -> NDArray[np.int64]:
    """Two's complement: codes of ``bits`` bits as signed integers."""
    half = np.int64(1 << (bits - 1))
    return np.asarray((code ^ half) - half)


def _integers(where: str, what: str, values: ArrayLike) -> NDArray[Any]:
    a = np.asarray(values)
    if a.dtype.kind in "iu":
        return a
    if a.size == 0:
        return a.astype(np.int64)
    raise TypeError(f"{where}: {what} must hold integers, not {a.dtype}")


def _first(a: NDArray[Any], bad: NDArray[np.bool_]) -> int:
    return int(a[bad].flat[0])


def _at(bad: NDArray[np.bool_]) -> str:
    return f"(first at index {tuple(int(i) for i in np.argwhere(bad)[0])})"
