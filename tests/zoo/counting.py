"""Counts of one inference by forward hooks, the way the golden table of networks was made."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Counts:
    """MACs and outputs of convolutions and linears, their weights, and all trainable parameters."""

    macs: int
    weights: int
    params: int
    outputs: int


def count(model: nn.Module, input_shape: tuple[int, ...]) -> Counts:
    """Count `model` at `input_shape` (batch 1), whose parameters may lie on the meta device."""
    macs = weights = outputs = 0

    def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal macs, weights, outputs
        weight = module.weight
        macs += output.numel() * weight[0].numel()  # one output is one dot product with weight[k]
        weights += weight.numel()
        outputs += output.numel()

    handles = [m.register_forward_hook(hook) for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    device = next(model.parameters()).device
    with torch.no_grad():
        model.eval()(torch.zeros(input_shape, device=device))
    for handle in handles:
        handle.remove()
    return Counts(macs, weights, sum(p.numel() for p in model.parameters()), outputs)
