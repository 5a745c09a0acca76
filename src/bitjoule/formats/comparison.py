"""How well formats hold given weights: signal to noise against power-of-two terms and bits per weight.

Weights are scaled as each family is meant to be: uniform and other level sets by a float scale per output
channel (the largest weight is the largest level), powers of two and sums of k of them (POT, SPOT) and
successive vectors by a power of two per row. BIPOLAR takes the mean magnitude of the row (Rastegari et al.
2016).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bitjoule.formats.block import SCALE_BITS as BLOCK_BITS
from bitjoule.formats.block import BlockFormat
from bitjoule.formats.format import Format
from bitjoule.formats.names import parse_format
from bitjoule.formats.power_of_two import PowerOfTwo
from bitjoule.formats.signed_digits import csd_count
from bitjoule.formats.spot import SignedPowers
from bitjoule.formats.successive import SuccessiveVector, approximate

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["FormatFit", "fit_format", "fit_sva_to_terms", "restore"]

_SCALE_BITS = 32
_UNCOUNTED = ("float", "block")
_POT_SCALE_BITS = 8
_LARGEST = 1e150


@dataclass(frozen=True)
class FormatFit:
    """A format on a set of weight tensors.

    terms
        canonical signed digits per weight: adders of a compile-time constant, shift-adds of a run-time one.
        None for floats and blocks.
    bits
        storage bits per weight with the scales of the rows.
    sqnr_db
        ``10 log10(sum w**2 / sum (w - w_q)**2)`` over all weights; infinite if exact.
    """

    name: str
    terms: float | None
    bits: float
    sqnr_db: float


def restore(w: NDArray[np.floating], format: str | Format) -> NDArray[np.float64]:
    """A weight tensor (output channels first) as the format holds it, same shape, float64.

    >>> restore(np.array([[0.9, -0.3], [4.0, 3.0]]), "POT3")
    array([[ 1.  , -0.25],
           [ 4.  ,  4.  ]])
    """
    levels, scale = _levels(np.asarray(w, np.float64), _format(format))
    return np.asarray(levels * scale, np.float64).reshape(w.shape)


def fit_format(weights: Mapping[str, NDArray[np.floating]], format: str | Format) -> FormatFit:
    """Terms, bits and signal to noise of weight tensors of two or more axes, output channels first.

    SPOT chooses its terms as ShiftCNN does (greedy). Raises ValueError without weights or for all zeros.

    >>> fit = fit_format({"fc": np.array([[1.0, 0.5, -0.25]])}, "POT4")
    >>> fit.terms, fit.bits, fit.sqnr_db
    (1.0, 6.666666666666667, inf)
    """
    f = _format(format)
    signal = noise = bits = terms = size = 0.0
    for w in _checked(weights):
        levels, scale = _levels(w, f)
        signal += float((w**2).sum())
        noise += float(((w - levels * scale) ** 2).sum())
        size += w.size
        if f.kind not in _UNCOUNTED:
            terms += float(csd_count(levels).sum())
        bits += _storage_bits(f, w)
    return FormatFit(f.name, None if f.kind in _UNCOUNTED else terms / size, bits / size, _db(signal, noise))


def fit_sva_to_terms(weights: Mapping[str, NDArray[np.floating]], format: str | Format) -> FormatFit:
    """SVA whose rows have each no more signed digits than the same row in ``format``.

    The comparison at equal terms: the terms of a row in ``format`` are the budget of the row in SVA.
    """
    f = _format(format)
    signal = noise = bits = terms = size = 0.0
    for w in _checked(weights):
        budgets = csd_count(_levels(w, f)[0]).sum(axis=1)
        for row, budget in zip(w, budgets.tolist(), strict=True):
            done = approximate(row, 1.0, count="csd", strict=True, terms_per_row=int(budget))
            signal += float((row**2).sum())
            noise += float(((row - done.values()) ** 2).sum())
            terms += done.terms
            bits += done.storage_bits()
        size += w.size
    return FormatFit(f"SVA as {f.name}", terms / size, bits / size, _db(signal, noise))


def _format(format: str | Format) -> Format:
    return parse_format(format) if isinstance(format, str) else format


def _checked(weights: Mapping[str, NDArray[np.floating]]) -> list[NDArray[np.float64]]:
    """Weights as rows."""
    if not weights:
        raise ValueError("there are no weights to compare formats on; give tensors of two or more axes")
    rows = []
    for name, w in weights.items():
        if w.ndim < 2 or w.size == 0:
            raise ValueError(f"weights {name!r} of shape {w.shape} are no rows: two or more axes, none empty")
        rows.append(np.asarray(w, np.float64).reshape(len(w), -1))
        if not np.isfinite(rows[-1]).all():
            raise ValueError(f"weights {name!r} hold NaN or infinity")
        largest = np.abs(rows[-1]).max(axis=1)
        if ((largest > _LARGEST) | ((largest > 0) & (largest < 1 / _LARGEST))).any():
            raise ValueError(
                f"weights {name!r} hold a row whose largest magnitude is outside {1 / _LARGEST:g}.."
                f"{_LARGEST:g}, where squares leave float64; scale the weights"
            )
    if not any(w.any() for w in rows):
        raise ValueError("all weights are 0: there is no signal to compare with noise")
    return rows


def _levels(w: NDArray[np.float64], f: Format) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Levels of the rows and their scales (rows, 1)."""
    rows = w.reshape(len(w), -1)
    largest = np.abs(rows).max(axis=1, keepdims=True)
    if isinstance(f, SuccessiveVector):
        scale = f.row_scale(rows)
        return f.quantize(rows, scale), scale
    if isinstance(f, SignedPowers):
        scale = f.row_scale(largest)
        return f.quantize(rows, scale, rounding="greedy"), scale
    if isinstance(f, BlockFormat):
        return f.quantize(rows), f.block_scale(rows)
    if f.fixed_scale is not None:
        return f.quantize(rows, f.fixed_scale), np.full_like(largest, f.fixed_scale)
    scale = np.where(largest > 0, largest / float(f.max_level), 1.0)
    if f.name == "BIPOLAR":
        scale = np.where(largest > 0, np.abs(rows).mean(axis=1, keepdims=True), 1.0)
    if isinstance(f, PowerOfTwo):
        fraction, exponent = np.frexp(np.where(largest > 0, largest, 1.0) / float(f.max_level))
        scale = np.ldexp(1.0, exponent - (fraction < 0.75))  # the power nearest to the largest weight, as INQ
    return f.quantize(rows, scale), scale


def _storage_bits(f: Format, w: NDArray[np.float64]) -> float:
    if isinstance(f, SuccessiveVector):
        return float(sum(row.storage_bits() for row in f.rows(w)))
    if isinstance(f, BlockFormat):
        return float(f.bits * w.size + BLOCK_BITS * f.block_exponents(w).size)
    power = isinstance(f, SignedPowers | PowerOfTwo)
    overhead = 0 if f.fixed_scale is not None else len(w) * (_POT_SCALE_BITS if power else _SCALE_BITS)
    return float(f.bits * w.size + overhead)


def _db(signal: float, noise: float) -> float:
    return 10 * math.log10(signal / noise) if noise else math.inf
