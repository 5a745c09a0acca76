"""The soft rounding of AdaRound: h(V) between floor and ceil, and the regulariser that makes it binary.

Nagel et al. 2020, arXiv 2004.10568, equations 21 to 24: h(V) = clamp(1.2 sigmoid(V) - 0.1, 0, 1), regulariser
sum(1 - abs(2 h - 1)^beta) with a beta that falls while learning.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["beta_at", "rectified_sigmoid", "regulariser", "share_at", "soft_start"]

_STRETCH, _SHIFT = 1.2, 0.1
_WARM = 0.2
_BETA = (20.0, 2.0)


def rectified_sigmoid(v: Tensor) -> Tensor:
    """h(V), any shape.

    >>> rectified_sigmoid(torch.tensor([-2.5, 0.0, 4.0])).tolist()
    [0.0, 0.5, 1.0]
    """
    return (_STRETCH * torch.sigmoid(v) - _SHIFT).clamp(0, 1)


def soft_start(fraction: Tensor) -> Tensor:
    """V with h(V) = fraction, for fractions in [0, 1].

    >>> round(soft_start(torch.tensor(0.3)).item(), 6)
    -0.693147
    """
    return -torch.log(_STRETCH / (fraction + _SHIFT) - 1)


def regulariser(h: Tensor, beta: float) -> Tensor:
    """sum(1 - abs(2 h - 1)^beta); 0 where everything is binary."""
    return (1 - (2 * h - 1).abs().pow(beta)).sum()


def beta_at(step: int, steps: int) -> float:
    """20 in the first fifth of `steps`, then falling linearly to 2.

    >>> beta_at(0, 2000), beta_at(800, 2000), beta_at(1200, 2000)
    (20.0, 15.5, 11.0)
    """
    warm = _WARM * steps
    progress = max(0.0, (step - warm) / (steps - warm))
    return _BETA[0] + (_BETA[1] - _BETA[0]) * progress


def share_at(step: int, steps: int) -> float:
    """The factor of the regulariser: 0 in the first fifth, then 1."""
    return 0.0 if step < _WARM * steps else 1.0
