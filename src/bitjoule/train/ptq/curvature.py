"""Curvature of the loss at each weight tensor: the trace of its Hessian, or squared gradients (Fisher).

The labels are the network's own: its best class for the Hessian, a draw from its softmax for Fisher.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from bitjoule.network import Network

__all__ = ["Curvature", "curvatures"]

Parameters = list[torch.nn.Parameter]

_DRAWS = 50
_PRECISE = 0.05


@dataclass(frozen=True)
class Curvature:
    """Mean second derivative of one tensor with its standard error, or one per element (`each`)."""

    mean: float
    error: float
    each: Tensor | None = None

    def cost(self, squared_change: Tensor) -> tuple[float, float]:
        """0.5 h sum dW^2 and its standard error.

        >>> Curvature(2.0, 0.1).cost(torch.tensor([1.0, 3.0]))
        (4.0, 0.2)
        """
        if self.each is not None:
            return 0.5 * float((self.each * squared_change).sum()), math.nan
        total = 0.5 * float(squared_change.sum())
        return self.mean * total, self.error * total


def curvatures(
    net: Network, paths: list[str], images: list[Tensor], kind: Literal["hessian", "fisher"], seed: int
) -> dict[str, Curvature]:
    """By path of the parameter. `hessian`: trace over number of elements by Hutchinson, v^T H v of random
    signs v, 50 draws or a standard error under 5 %. `fisher`: mean of squared gradients of single images.
    """
    named = dict(net.named_parameters())
    parameters = [named[path] for path in paths]
    wanted = [p.requires_grad for p in parameters]
    for p in parameters:
        p.requires_grad_(True)
    try:
        with torch.enable_grad():
            work = _hessian if kind == "hessian" else _fisher
            return dict(zip(paths, work(net, parameters, images, seed), strict=True))
    finally:
        for p, flag in zip(parameters, wanted, strict=True):
            p.requires_grad_(flag)


def _hessian(
    net: Network, parameters: list[torch.nn.Parameter], images: list[Tensor], seed: int
) -> list[Curvature]:
    generator = torch.Generator().manual_seed(seed)
    draws: list[list[float]] = [[] for _ in parameters]
    for draw in range(_DRAWS):
        x = images[draw % len(images)]
        each = [functional.cross_entropy(z, z.detach().argmax(1)) for z in _outputs(net, x)]
        loss = torch.stack(each).sum()
        gradients = torch.autograd.grad(loss, parameters, create_graph=True)
        signs = [torch.randint(0, 2, p.shape, generator=generator).to(p.dtype) * 2 - 1 for p in parameters]
        inner = sum((g * v).sum() for g, v in zip(gradients, signs, strict=True))
        assert isinstance(inner, Tensor)
        products = torch.autograd.grad(inner, parameters)
        for found, p, v in zip(draws, products, signs, strict=True):
            found.append(float((p * v).sum()) / p.numel())
        if draw >= len(images) and all(_error(found) < _PRECISE * abs(_mean(found)) for found in draws):
            break
    return [Curvature(_mean(found), _error(found)) for found in draws]


def _fisher(
    net: Network, parameters: list[torch.nn.Parameter], images: list[Tensor], seed: int
) -> list[Curvature]:
    generator = torch.Generator().manual_seed(seed)
    sums = [torch.zeros_like(p, dtype=torch.float64) for p in parameters]
    count = 0
    for batch in images:
        for image in batch:
            each = []
            for z in _outputs(net, image[None]):
                label = torch.multinomial(z.detach().softmax(1), 1, generator=generator)[:, 0]
                each.append(functional.cross_entropy(z, label))
            gradients = torch.autograd.grad(torch.stack(each).sum(), parameters)
            for total, g in zip(sums, gradients, strict=True):
                total += g.double().square()
            count += 1
    return [Curvature(float((s / count).mean()), math.nan, s / count) for s in sums]


def _outputs(net: Network, x: Tensor) -> list[Tensor]:
    """Every output as logits (N, classes); their losses are summed."""
    found = net(x)
    return [z.flatten(1) for z in (found if isinstance(found, tuple | list) else (found,))]


def _mean(values: list[float]) -> float:
    return math.fsum(values) / len(values)


def _error(values: list[float]) -> float:
    if len(values) < 2:
        return math.inf
    mean = _mean(values)
    return math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1) / len(values))
