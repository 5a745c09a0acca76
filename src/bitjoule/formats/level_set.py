"""Formats whose levels are a table of integer magnitudes with a sign: powers of two and their sums.

A family gives its magnitudes and how levels and codes correspond; rounding to the nearest level, range checks
and unused codes are the same for all of them.
"""

from __future__ import annotations

from abc import abstractmethod
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from bitjoule.formats.codes import check_codes, check_levels, code_dtype, refuse_codes
from bitjoule.formats.float_bits import Buckets, threshold_buckets
from bitjoule.formats.format import Format
from bitjoule.formats.quotient import divide, refuse_nan, refuse_zero_point

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["LevelSet"]


class LevelSet(Format):
    """Nearest level, a tie to the larger magnitude; 0 and -0.0 go to 0, or to the smallest positive level.

    Below 0 an unsigned set gives 0. Infinities saturate, NaN is refused.
    """

    roundings: tuple[str, ...] = ("nearest",)
    """Names that ``rounding`` takes; the first is the default."""

    @abstractmethod
    def magnitudes(self) -> NDArray[np.int64]:
        """The non-negative levels, ascending."""

    @abstractmethod
    def all_codes(self, level: NDArray[np.int64]) -> NDArray[np.int64]:
        """Codes of levels that are known to be in the set."""

    @abstractmethod
    def all_levels(self, code: NDArray[np.int64]) -> NDArray[np.int64]:
        """Levels of any codes below ``2**bits``, unused ones too, as hardware decodes them."""

    def levels(self) -> NDArray[np.int64]:
        positive = self.magnitudes()
        if not self.signed:
            return positive.copy()
        return np.concatenate([-positive[positive > 0][::-1], positive])

    def quantize(
        self,
        x: ArrayLike,
        scale: ArrayLike = 1.0,
        zero_point: ArrayLike = 0,
        *,
        rounding: str | None = None,
        rng: np.random.Generator | None = None,
    ) -> NDArray[np.int64]:
        v, chosen = self._checked(x, scale, zero_point, rounding)
        return self.round(v, chosen)

    def encode(
        self,
        x: ArrayLike,
        scale: ArrayLike = 1.0,
        zero_point: ArrayLike = 0,
        *,
        rounding: str | None = None,
        rng: np.random.Generator | None = None,
    ) -> NDArray[Any]:
        v, chosen = self._checked(x, scale, zero_point, rounding)
        return self.encode_rounded(v, chosen)

    def round(self, v: NDArray[Any], rounding: str) -> NDArray[np.int64]:
        """Levels of unscaled float32 or float64 values without NaN."""
        return self.buckets(rounding, v.dtype.itemsize).look_up(v, *_level_tables(self))

    def encode_rounded(self, v: NDArray[Any], rounding: str) -> NDArray[Any]:
        """Codes of unscaled float32 or float64 values without NaN, in one look-up."""
        return self.buckets(rounding, v.dtype.itemsize).look_up(v, *_code_tables(self))

    def buckets(self, rounding: str, itemsize: int) -> Buckets:
        """Which floats share a level."""
        return _nearest_buckets(self, itemsize)

    def to_code(self, level: ArrayLike) -> NDArray[Any]:
        where = f"{self.name}.to_code"
        a = check_levels(where, level, int(self.min_level), int(self.max_level))
        nearest = LevelSet.round(self, a.astype(np.float64), "nearest")
        wrong = nearest != a
        if wrong.any():
            index = tuple(int(i) for i in np.argwhere(wrong)[0])
            raise ValueError(
                f"{where}: {int(a[index])} is no level of {self.name} (first at index {index}); "
                "quantize it first"
            )
        return LevelSet.encode_rounded(self, a.astype(np.float64), "nearest")

    def to_level(self, code: ArrayLike, *, strict: bool = True) -> NDArray[np.int64]:
        where = f"{self.name}.to_level"
        c = check_codes(where, code, self.bits)
        level, used = _decoder(self)
        if strict and not used[0]:
            refuse_codes(where, c, ~used[1][c])
        return np.asarray(np.take(level, c))

    def _checked(
        self, x: ArrayLike, scale: ArrayLike, zero_point: ArrayLike, rounding: str | None
    ) -> tuple[NDArray[Any], str]:
        """Unscaled values without NaN, and the name of the rounding."""
        where = f"{self.name}.quantize"
        v = divide(where, x, scale)
        refuse_nan(where, v)
        refuse_zero_point(where, zero_point)
        chosen = self.roundings[0] if rounding is None else rounding
        if chosen not in self.roundings:
            raise ValueError(
                f"{where}: rounding must be {' or '.join(sorted(self.roundings, reverse=True))}, "
                f"not {rounding!r}"
            )
        return v, chosen


@cache
def _nearest_buckets(f: LevelSet, itemsize: int) -> Buckets:
    magnitudes = f.magnitudes().astype(np.float64)
    return threshold_buckets((magnitudes[1:] + magnitudes[:-1]) / 2, itemsize)


@cache
def _level_tables(f: LevelSet) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Levels by rank of the magnitude, of values from 0 on and below 0."""
    positive = f.magnitudes()
    return positive, -positive if f.signed else np.full_like(positive, f.min_level)


@cache
def _code_tables(f: LevelSet) -> tuple[NDArray[Any], NDArray[Any]]:
    positive, negative = (f.all_codes(level).astype(code_dtype(f.bits)) for level in _level_tables(f))
    return positive, negative


@cache
def _decoder(f: LevelSet) -> tuple[NDArray[np.int64], tuple[bool, NDArray[np.bool_]]]:
    """Levels of all codes; whether all codes are used, and which are."""
    code = np.arange(1 << f.bits, dtype=np.int64)
    used = np.zeros(len(code), bool)
    used[f.all_codes(f.levels())] = True
    return f.all_levels(code), (bool(used.all()), used)
