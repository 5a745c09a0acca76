"""The Workload of a quantized network with what its weights turned out to be: their terms, and their storage
where that depends on the values (SVA).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from bitjoule.formats import SuccessiveVector, SvaRow, approximate, csd_count
from bitjoule.network import Network
from bitjoule.quant.pruning.insert import weight_values
from bitjoule.quant.pruning.terms import weight_terms
from bitjoule.workload import Layer, Workload

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from bitjoule.quant.fake_quantizer import FakeQuantizer

__all__ = ["StoredRows", "measured_workload", "stored_rows"]

_LARGEST_RATIO = 24.0
_FRACTION_BITS = 40  # below the normaliser of a row: more than float32 rows of at most 26 bits can fill


@dataclass(frozen=True)
class StoredRows:
    """Rows as they are stored: signed digits (csd) of all weights, bits of the smallest layouts."""

    terms: int
    bits: int


def measured_workload(net: Network) -> Workload:
    """What one inference of a quantized `net` computes and stores, its weights as they are.

    Layers get `weight_terms`, and with SVA weights `measured_weight_bits`: the smallest of three layouts of
    every row, the exponent of the row included. Every other Format stores its codes, as without measuring;
    layers of floats stay as they are. Every model of `bitjoule.energy` takes the result.

    Raises:
        NetworkError: the network has no quantized weights.

    bitjoule.energy(measured_workload(report.network), hardware="moons-4mb")
    """
    terms = dict(weight_terms(net))
    bits: dict[str, int] = {}
    for quantizer, weight in weight_values(net):
        fmt = quantizer.tensor_format.format
        if isinstance(fmt, SuccessiveVector):
            name = quantizer.name.removesuffix(".weight")
            stored = stored_rows(fmt, weight.detach().cpu().numpy(), _held(quantizer, weight))
            terms[name], bits[name] = stored.terms / weight.numel(), stored.bits
    workload = net.workload()
    shared = {layer.stored_weight: layer.name for layer in workload.layers if layer.name in terms}

    def measured(layer: Layer) -> Layer:
        name = layer.name if layer.name in terms else shared.get(layer.stored_weight, "")
        if name not in terms or not layer.has_weights:
            return layer
        return replace(layer, weight_terms=terms[name], measured_weight_bits=bits.get(name))

    return replace(workload, layers=tuple(measured(layer) for layer in workload.layers))


def stored_rows(
    fmt: SuccessiveVector, weight: NDArray[np.floating], held: NDArray[np.floating]
) -> StoredRows:
    """Terms and storage of `held` (output channels first), the approximation of `weight` that hardware keeps.

    A row of the Format's own budget has its steps, and takes `SvaRow.storage_bits()`. One of another budget
    (ptq.md 4.6) has those of a new approximation where that finds the very row, else no list of steps.

    >>> from bitjoule.formats import sva
    >>> weight, held = np.array([[3, -1.25, 0.5, 0.125]]), np.array([[3, -1.25, 0.5, 0.25]])
    >>> stored_rows(sva(1.5), weight, held)
    StoredRows(terms=6, bits=28)
    """
    terms = bits = 0
    for row, kept in zip(_rows(weight), _rows(held), strict=True):
        found = _same(approximate(row, fmt.ratio, count=fmt.count, strict=fmt.strict), kept)
        if found is None:
            found = _same(approximate(kept, _LARGEST_RATIO, count=fmt.count), kept)
        integer = _integers(kept) if found is None else found.integer
        digits = csd_count(integer)
        terms += int(digits.sum())
        bits += _without_steps(integer, int(digits.sum())) if found is None else found.storage_bits()
    return StoredRows(terms, bits)


def _held(quantizer: FakeQuantizer, weight: Tensor) -> NDArray[np.floating]:
    """The weight as evaluation reads it, without a trace on the quantizer."""
    with torch.no_grad():
        return np.asarray(copy.deepcopy(quantizer).eval()(weight.detach()).cpu().numpy())


def _rows(a: NDArray[np.floating]) -> NDArray[np.floating]:
    return np.ascontiguousarray(a).reshape(a.shape[0] if a.ndim > 1 else 1, -1)


def _same(found: SvaRow, kept: NDArray[np.floating]) -> SvaRow | None:
    return found if np.array_equal(found.values().astype(kept.dtype), kept) else None


def _integers(kept: NDArray[np.floating]) -> NDArray[np.int64]:
    """`kept` = integers * a power of two, without a common factor of two."""
    _, exponent = np.frexp(np.abs(kept).max(initial=0.0))
    integer = np.ldexp(kept.astype(np.float64), _FRACTION_BITS - int(exponent)).astype(np.int64)
    together = int(np.bitwise_or.reduce(np.abs(integer), initial=0))
    return integer // (together & -together) if together else integer


def _without_steps(integer: NDArray[np.int64], terms: int) -> int:
    """Bits of the smaller of dense words and a list of terms."""
    word = int(np.abs(integer).max(initial=0)).bit_length()
    shifts = word.bit_length()  # digits 0 .. word at most
    index_bits = max(len(integer) - 1, 0).bit_length()
    dense, exponent = (SvaRow(values, 0, 0, (), 0).layouts()["dense"] for values in (integer, integer[:0]))
    return min(dense, exponent + terms * (index_bits + 1 + shifts))
