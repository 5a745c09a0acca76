"""The nearest level of a float by its bits: one shift and one table instead of a distance to every level.

The bits of a non-negative float, read as an integer, grow with the float. A threshold of few significant
bits is the first float of a run of floats that share their leading bits, so the leading bits alone decide
on which side of every threshold a float lies: exactly, ties included.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Buckets", "exponent_buckets", "threshold_buckets"]

_BLOCK = 1 << 14  # elements worked on at a time, so that all temporaries stay in the cache
_MANTISSA = {4: 23, 8: 52}  # bytes of a float: bits of its mantissa
_BIAS = {4: 127, 8: 1023}
_INTEGER: dict[int, type[np.signedinteger[Any]]] = {4: np.int32, 8: np.int64}


@dataclass(frozen=True, eq=False)
class Buckets:
    """Runs of non-negative floats of ``itemsize`` bytes: ``min((bits + offset >> shift) - first, last)``.

    ``rank`` says for every bucket how many thresholds lie at or below it.
    """

    itemsize: int
    offset: int
    shift: int
    first: int
    rank: NDArray[np.int64]

    def look_up(self, v: NDArray[Any], positive: NDArray[Any], negative: NDArray[Any]) -> NDArray[Any]:
        """``positive[rank of |x|]`` for every ``x >= 0`` (-0.0 too), ``negative[...]`` below 0; no NaN."""
        count = len(self.rank)
        table = np.concatenate([positive[self.rank], negative[self.rank]])
        found = np.empty(v.shape, table.dtype)
        source, target = v.reshape(-1), found.reshape(-1)
        integer = _INTEGER[self.itemsize]
        for start in range(0, v.size, _BLOCK):
            bits = (source[start : start + _BLOCK] + 0).view(integer)  # -0.0 + 0 is 0.0
            below = bits >> 8 * self.itemsize - 1  # all ones for negative numbers
            below &= count
            bits &= np.iinfo(integer).max
            if self.offset:
                bits += self.offset
            bits >>= self.shift
            bits -= self.first
            np.clip(bits, 0, count - 1, out=bits)
            bits += below
            target[start : start + _BLOCK] = np.take(table, bits.astype(np.intp))
        return found


def threshold_buckets(thresholds: NDArray[np.float64], itemsize: int) -> Buckets:
    """Buckets of thresholds > 0, ascending; a float that equals a threshold is above it.

    >>> b = threshold_buckets(np.array([0.5, 1.5, 3.0]), 4)
    >>> b.look_up(np.float32([0.49, -0.5, 2.9, 3.0]), np.arange(4), -np.arange(4))
    array([ 0, -1,  2,  3])
    """
    mantissa, bias = _MANTISSA[itemsize], _BIAS[itemsize]
    kept = max(_significant_bits(float(t)) for t in thresholds) - 1
    shift = mantissa - kept
    low = (math.frexp(float(thresholds[0]))[1] - 1 + bias) << kept
    high = (math.frexp(float(thresholds[-1]))[1] + bias) << kept  # first bucket of the next binade
    starts = np.arange(low, high + 1, dtype=np.int64) << shift
    border = starts.astype(_INTEGER[itemsize]).view(f"f{itemsize}").astype(np.float64)
    rank = np.searchsorted(thresholds, border, side="right")
    return Buckets(itemsize, 0, shift, low - 1, np.concatenate([[0], rank]).astype(np.int64))


def exponent_buckets(exponents: int, itemsize: int) -> Buckets:
    """Buckets with the thresholds ``2**(k - 1/2)``, k = 0 .. ``exponents`` - 1: rounding of the logarithm.

    The border lies at the first mantissa above sqrt(2); no float equals it.

    >>> b = exponent_buckets(3, 8)
    >>> b.look_up(np.array([0.7, 0.71, 1.41, 1.42, 99.0]), np.array([0, 1, 2, 4]), np.zeros(4))
    array([0., 1., 1., 2., 4.])
    """
    mantissa, bias = _MANTISSA[itemsize], _BIAS[itemsize]
    above_root = math.isqrt(2 << 2 * mantissa) + 1 - (1 << mantissa)
    rank = np.arange(exponents + 1, dtype=np.int64)
    return Buckets(itemsize, (1 << mantissa) - above_root, mantissa, bias - 1, rank)


def _significant_bits(value: float) -> int:
    """Bits from the first to the last one of a number of at least one bit."""
    numerator = value.as_integer_ratio()[0]
    return (numerator // (numerator & -numerator)).bit_length()
