"""How much worse the output of a network is than that of another: the kinds of `ptq.md` section 5.2.

`hessian` and `fisher`, which are of weights and not of outputs, stand in `curvature.py`.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["Kind", "compared", "divergence"]

Kind = Literal["kl", "loss", "accuracy_drop", "sqnr", "hessian", "fisher"]


def divergence(original: Tensor, quantized: Tensor) -> Tensor:
    """KL of softmax(original) against softmax(quantized), nats, per row.

    >>> p, q = torch.tensor([[0.7, 0.2, 0.1]]).log(), torch.tensor([[0.6, 0.3, 0.1]]).log()
    >>> round(divergence(p, q).item(), 7)
    0.0268125
    """
    p, q = original.log_softmax(-1), quantized.log_softmax(-1)
    return (p.exp() * (p - q)).sum(-1)


def compared(kind: Kind, wanted: list[Any], found: list[Any], labels: Tensor | None) -> Tensor:
    """How much worse `found` is than `wanted`: a number per image, outputs summed; not for curvatures.

    `sqnr` of several outputs is that of all together.
    """
    if kind == "sqnr":
        wanted, found = ([torch.cat([z.flatten(1) for z in side], 1)] for side in (wanted, found))
    total = torch.zeros(())
    for a, b in zip(wanted, found, strict=True):
        if kind == "kl":
            part = divergence(a.flatten(1), b.flatten(1))
        elif kind == "sqnr":
            signal = a.flatten(1).double().square().sum(1)
            noise = (b - a).flatten(1).double().square().sum(1)
            part = -10 * torch.log10(signal / noise.clamp_min(1e-300))
        else:
            assert labels is not None
            if kind == "loss":
                before, after = (functional.cross_entropy(z, labels, reduction="none") for z in (a, b))
                part = after - before
            else:
                part = (a.argmax(1) == labels).float() - (b.argmax(1) == labels).float()
        total = total + part
    return total
