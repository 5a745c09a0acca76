"""Weights as successive vectors (SVA): rows of w*, with the terms of one budget spread over all layers.

Without a budget every row has the terms of its Format. With one (`ptq.md` section 4.6) the step that lowers
the error most per term is bought first, across all rows of all layers, errors weighted by the mean squares of
their inputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bitjoule.formats import SuccessiveVector, approximate
from bitjoule.quant import FakeQuantizer
from bitjoule.quant.rounding import Gram, SvaLayer, allocate_terms, integer_terms, quadratic_error
from bitjoule.quant.sva import SvaQuantizer
from bitjoule.train.ptq.config import PtqConfig, PtqError

__all__ = ["TermBudget", "hold", "spread", "vector_rows"]


@dataclass(frozen=True)
class TermBudget:
    """Terms of every row of each quantizer; `note` says what was asked and used. Empty: the Formats' own.

    >>> TermBudget().terms
    {}
    """

    terms: Mapping[FakeQuantizer, NDArray[np.int64]] = field(default_factory=dict)
    note: str = ""


def spread(
    weights: Mapping[FakeQuantizer, Tensor], squares: Mapping[FakeQuantizer, Tensor], config: PtqConfig
) -> TermBudget:
    """The terms of every row under the budget of `config`.

    weights, squares
        (rows, n) of every SVA quantizer: its weights, and the mean squares of what they are multiplied with.

    Raises:
        PtqError: a budget without SVA weights, or with Formats that count terms differently.
    """
    if not config.budget_terms and not config.iso_terms:
        return TermBudget()
    if not weights:
        raise PtqError("ptq: budget_terms and iso_terms are for SVA weights; take a scheme such as wSVA1a8")
    counts = {cast(SuccessiveVector, q.tensor_format.format).count for q in weights}
    if len(counts) > 1:
        raise PtqError("ptq: one budget needs one way of counting terms, not popcount and CSD together")
    layers = [SvaLayer(q.name, _array(w), _array(squares[q].expand_as(w))) for q, w in weights.items()]
    budget = config.budget_terms or sum(integer_terms(layer.rows, config.iso_terms) for layer in layers)
    found = allocate_terms(layers, budget, count=counts.pop())
    size = sum(layer.rows.size for layer in layers)
    note = (
        f"SVA: {found.asked} terms asked, {found.used} used on {size} weights "
        f"({found.used / size:.3f} each), spread by {found.rule}"
    )
    return TermBudget(dict(zip(weights, found.terms, strict=True)), note)


def vector_rows(rows: Tensor, fmt: SuccessiveVector, terms: NDArray[np.int64] | None) -> Tensor:
    """`rows` (rows, n) approximated with so many terms each (None: what the Format gives); float64.

    >>> from bitjoule.formats import sva
    >>> vector_rows(torch.tensor([[3.0, -1.25, 0.5, 0.125]]), sva(1.5), np.array([2])).tolist()
    [[4.0, 0.0, 0.0, 0.0]]
    """
    values = _array(rows)
    if terms is None:
        scale = fmt.row_scale(values)
        return torch.from_numpy(fmt.decode(fmt.encode(values, scale), scale, dtype=np.dtype(np.float64)))
    made = [
        approximate(row, 1.0, count=fmt.count, strict=True, terms_per_row=int(most)).values()
        for row, most in zip(values, terms, strict=True)
    ]
    return torch.from_numpy(np.array(made).reshape(values.shape))


@torch.no_grad()
def hold(
    quantizer: SvaQuantizer, weight: Tensor, target: Tensor, gram: Gram, terms: NDArray[np.int64] | None
) -> None:
    """Put an approximation into `weight` (K, ...) and `quantizer`: of the target (rows, n) or of the weights,
    of every row the one of less error against the target.
    """
    fmt = cast(SuccessiveVector, quantizer.tensor_format.format)
    rows = weight.detach().double().flatten(1)
    tries = [vector_rows(source, fmt, terms) for source in (target, rows)]
    errors = torch.stack([quadratic_error(made, target, gram.a) for made in tries])
    best = torch.where((errors[0] <= errors[1])[:, None], tries[0], tries[1])
    values = best.reshape(weight.shape).to(weight.dtype)
    weight.copy_(values)
    scale = torch.from_numpy(fmt.row_scale(_array(best))).flatten()
    quantizer.scale.copy_((scale if quantizer.scale_shape else scale.max()).reshape(quantizer.scale_shape))
    quantizer.source, quantizer.held = weight.detach().clone(), weight.detach().clone()


def _array(x: Tensor) -> NDArray[np.float64]:
    return np.ascontiguousarray(x.detach().double().numpy())
