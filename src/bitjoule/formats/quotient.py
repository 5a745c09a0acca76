"""Values in, values out: the one division ``x / scale`` and the one product ``scale * (level - zero_point)``.

The quotient is a single IEEE division in the precision of ``x``, never a product with a reciprocal:
0.15 / 0.1 is 1.5 in float32 and 1.4999999999999998 in float64, and the two round to different levels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, DTypeLike, NDArray

__all__ = ["check_scale", "divide", "multiply", "refuse_nan", "refuse_zero_point"]


def divide(where: str, x: ArrayLike, scale: ArrayLike) -> NDArray[Any]:
    """``x / scale`` as a new array: float32 if ``x`` is float16 or float32, float64 for float64 and integers.

    ``where`` (``INT4.quantize``) opens the error texts.

    >>> divide("INT8.quantize", np.float32([0.15]), 0.1).dtype
    dtype('float32')
    """
    a = _real(where, x)
    s = check_scale(scale, a.dtype)
    v = np.empty(np.broadcast_shapes(a.shape, s.shape), a.dtype)
    with np.errstate(all="ignore"):
        np.divide(a, s, out=v)
    return v


def multiply(level: ArrayLike, scale: ArrayLike, zero_point: ArrayLike, dtype: DTypeLike) -> NDArray[Any]:
    """``scale * (level - zero_point)`` in float64, rounded once to ``dtype``."""
    s = check_scale(scale, np.dtype(np.float64))
    with np.errstate(all="ignore"):
        return np.asarray(s * (np.asarray(level) - np.asarray(zero_point)), np.float64).astype(dtype)


def check_scale(scale: ArrayLike, dtype: np.dtype[Any], what: str = "scale") -> NDArray[Any]:
    """The scale in ``dtype``; ValueError, naming it ``what``, unless every entry is finite and > 0."""
    with np.errstate(all="ignore"):
        s = np.asarray(scale).astype(dtype, copy=False)
        good = (s > 0) & (s < np.inf)
    if good.all():
        return s
    first = int(np.argmin(good))
    index = tuple(int(i) for i in np.unravel_index(first, s.shape))
    where = ""
    if s.size > 1:
        one_axis = max(s.shape) == s.size
        where = f" (channel {first})" if one_axis else f" (index {index})"
    raise ValueError(f"{what} must be finite and > 0, not {float(s[index])}{where}")


def refuse_nan(where: str, v: NDArray[Any]) -> None:
    """ValueError if ``v`` holds a NaN; one pass over clean data, because min() hands a NaN on."""
    with np.errstate(invalid="ignore"):
        if v.size == 0 or not np.isnan(v.min()):
            return
    nan = np.isnan(v)
    index = tuple(int(i) for i in np.argwhere(nan)[0])
    raise ValueError(
        f"{where}: x holds {int(nan.sum())} NaN (first at index {index}); "
        "quantize needs finite or infinite values"
    )


def refuse_zero_point(where: str, zero_point: ArrayLike) -> None:
    """ValueError unless the zero-point is 0, for formats that have none."""
    z = np.asarray(zero_point)
    if z.any():
        first = z[z != 0].flat[0]
        raise ValueError(f"{where}: zero_point must be 0, not {first}; only INT and UINT formats have one")


def _real(where: str, x: ArrayLike) -> NDArray[Any]:
    a = np.asarray(x)
    kind, size = a.dtype.kind, a.dtype.itemsize
    if kind in "iu" or (kind == "f" and size == 8):
        return a.astype(np.float64, copy=False)
    if kind == "f" and size in (2, 4):
        return a.astype(np.float32, copy=False)
    raise TypeError(f"{where}: x must hold float16, float32, float64 or integers, not {a.dtype}")
