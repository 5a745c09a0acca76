"""Bop: binary weights without latent weights (Helwegen et al. 2019, arXiv 1906.02107; larq).

m = m + gamma (grad - m); w flips where |m| > tau and m has the sign of w, that is where w m > tau (strict).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Bop"]


class Bop(torch.optim.Optimizer):
    """Flips signs of parameters that hold -1 and +1; the rest (batch norm, biases) needs Adam beside it.

    `gamma`: how fast the momentum follows the gradient; `threshold`: the momentum that flips a weight.
    Weights are set to their sign at the start. Multiply `gamma` by a schedule through `param_groups`.

    >>> w = nn.Parameter(torch.tensor([1.0, -1.0, 1.0]))
    >>> bop = Bop([w], gamma=0.1, threshold=1e-3)
    >>> w.grad = torch.tensor([0.02, -0.01, -0.03])
    >>> bop.step(); w.tolist()
    [-1.0, -1.0, 1.0]
    """

    def __init__(self, params: Iterable[nn.Parameter], gamma: float = 1e-4, threshold: float = 1e-8) -> None:
        for name, value, largest in (("gamma", gamma, 1.0), ("threshold", threshold, float("inf"))):
            if not 0 <= value <= largest:
                raise ValueError(f"Bop: {name} must be from 0 to {largest:g}, not {value!r}")
        super().__init__(params, {"gamma": gamma, "threshold": threshold})
        with torch.no_grad():
            for parameter in self._parameters():
                parameter.copy_(torch.where(parameter >= 0, 1.0, -1.0))

    def _parameters(self) -> list[nn.Parameter]:
        return [parameter for group in self.param_groups for parameter in group["params"]]

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """One step; weights without a gradient stay."""
        if closure is not None:
            raise ValueError("Bop takes no closure: compute the loss and its gradient before step()")
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                momentum: Tensor = state.setdefault("momentum", torch.zeros_like(parameter))
                momentum.lerp_(parameter.grad, group["gamma"])
                flips = parameter * momentum > group["threshold"]
                parameter.copy_(torch.where(flips, -parameter, parameter))
