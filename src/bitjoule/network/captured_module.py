"""The module a Network runs: an fx graph over the model's own modules."""

from __future__ import annotations

import copy
from typing import Any

from torch import Tensor, fx, nn
from torch.nn import functional as F

__all__ = ["CapturedModule", "FunctionalBatchNorm"]

_STATE = ("training", "_parameters", "_buffers", "_non_persistent_buffers_set", "_modules")


class CapturedModule(fx.GraphModule):
    """A GraphModule that keeps *all* modules, parameters and buffers of its root, used or not, in order.

    A plain `fx.GraphModule` keeps what its graph uses; state-dict keys would get lost on the way.
    """

    def __init__(self, root: nn.Module, graph: fx.Graph, class_name: str = "CapturedModule") -> None:
        super().__init__(root, graph, class_name)
        for name in _STATE:
            value = root.__dict__[name]
            self.__dict__[name] = value if isinstance(value, bool) else type(value)(value)

    def __deepcopy__(self, memo: dict[int, Any]) -> CapturedModule:
        root = nn.Module()
        for name in _STATE:
            root.__dict__[name] = copy.deepcopy(self.__dict__[name], memo)
        return CapturedModule(root, copy.deepcopy(self.graph, memo))


class FunctionalBatchNorm(nn.Module):
    """`F.batch_norm` that follows train() and eval(); its parameters belong to the module that called it.

    >>> import torch
    >>> norm = FunctionalBatchNorm(momentum=0.1, eps=1e-5).eval()
    >>> norm(torch.ones(2, 1), None, None, torch.zeros(1), torch.ones(1)).shape
    torch.Size([2, 1])
    """

    def __init__(self, momentum: float, eps: float) -> None:
        super().__init__()
        self.momentum = momentum
        self.eps = eps

    def forward(
        self, x: Tensor, weight: Tensor | None, bias: Tensor | None, mean: Tensor | None, var: Tensor | None
    ) -> Tensor:
        batch_statistics = self.training or mean is None
        return F.batch_norm(x, mean, var, weight, bias, batch_statistics, self.momentum, self.eps)
