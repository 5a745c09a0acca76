"""Canonical signed digits (CSD, the non-adjacent form): how many shifted terms an integer is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["csd_count", "csd_terms"]


def csd_count(n: ArrayLike) -> NDArray[np.int64]:
    """Non-zero digits of the canonical signed-digit form: ``popcount((n XOR 3n) >> 1)`` on ``|n|``.

    Integers below 2**61 in magnitude, else the tripling overflows.

    >>> csd_count([0, 7, -11, 85])
    array([0, 2, 3, 4])
    """
    a = np.asarray(n)
    if a.dtype.kind not in "iu" and a.size:
        raise TypeError(f"csd_count: n must hold integers, not {a.dtype}")
    m = np.abs(a.astype(np.int64))
    if m.size and (m.max() >= 1 << 61 or m.min() < 0):
        raise ValueError("csd_count: |n| must be below 2**61")
    return np.asarray(np.bitwise_count((m ^ (3 * m)) >> 1), np.int64)


def csd_terms(n: int) -> tuple[tuple[int, int], ...]:
    """The digits of one integer as ``(sign, shift)``, lowest shift first: ``n = sum(sign << shift)``.

    >>> csd_terms(7)
    ((-1, 0), (1, 3))
    """
    terms: list[tuple[int, int]] = []
    shift = 0
    while n:
        if n & 1:
            digit = 2 - n % 4
            terms.append((digit, shift))
            n -= digit
        n >>= 1
        shift += 1
    return tuple(terms)
