"""N:M masks of weights in training, with the decay of SR-STE (Zhou et al. 2021, arXiv 2102.04010).

Blocks run along the input channels at fixed kernel place: of every M the N largest abs(w) stay, the lower
channel first among equals. With the mask m of the weights as they are,

    forward    y = w m
    backward   dL/dw = dL/dy + lambda (1 - m) w          lambda = 2e-4

The gradient passes to pruned weights too (STE), so that they may come back; the decay draws them to 0, so
that the choice settles. The mask follows every step of the optimizer and is held in the last 20 % of the
training.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from bitjoule.workload.sparsity import Sparsity

__all__ = ["DECAY", "HELD_FROM", "MaskedWeight", "NMMask", "nm_mask"]

DECAY = 2e-4
"""lambda of SR-STE."""

HELD_FROM = 0.8
"""Share of the training after which the mask stays as it is."""


def nm_mask(weight: Tensor, sparsity: Sparsity) -> Tensor:
    """True where a weight survives; `weight` is (K, C, ...) with C a multiple of M.

    Raises:
        ValueError: M does not divide the channels.

    >>> nm_mask(torch.tensor([[0.1, -3.0, 2.0, 0.5, 1.0, 1.0, 1.0, 1.0]]), Sparsity(2, 4)).int().tolist()
    [[0, 1, 1, 0, 1, 1, 0, 0]]
    """
    channels = weight.shape[1] if weight.dim() > 1 else 0
    if channels == 0 or channels % sparsity.block:
        raise ValueError(
            f"N:M pruning {sparsity} needs a weight (K, C, ...) with C a multiple of {sparsity.block}, "
            f"not shape {tuple(weight.shape)}"
        )
    last = weight.detach().abs().movedim(1, -1)
    blocks = last.reshape(*last.shape[:-1], -1, sparsity.block)
    order = blocks.argsort(dim=-1, descending=True, stable=True)
    mask = torch.zeros_like(blocks, dtype=torch.bool)
    mask.scatter_(-1, order[..., : sparsity.kept], True)
    return mask.reshape(last.shape).movedim(-1, 1).contiguous()


class MaskedWeight(torch.autograd.Function):
    """The two formulas above."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, mask: Tensor, decay: float) -> Tensor:
        ctx.save_for_backward(weight, mask)
        ctx.decay = decay
        return torch.where(mask, weight, 0.0)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None, None]:
        weight, mask = ctx.saved_tensors
        return torch.where(mask, g, g + ctx.decay * weight), None, None


class NMMask(nn.Module):
    """Stands between a weight and its quantizer; `mask` is part of the state dict.

    `parameter`: path of the weight in the network's module. The hooks are those of a quantizer that follows
    the training.

    >>> mask = NMMask(Sparsity(1, 2), (1, 2, 1, 1))
    >>> weight = torch.tensor([0.5, -1.0]).view(1, 2, 1, 1)
    >>> mask.update(weight)
    >>> mask(weight).flatten().tolist()
    [0.0, -1.0]
    """

    mask: Tensor
    follows_training = True

    def __init__(self, sparsity: Sparsity, shape: tuple[int, ...], *, decay: float = DECAY) -> None:
        super().__init__()
        self.sparsity = sparsity
        self.decay = decay
        self.parameter: str | None = None
        self.register_buffer("mask", nm_mask(torch.zeros(shape), sparsity))

    def forward(self, weight: Tensor) -> Tensor:
        return MaskedWeight.apply(weight, self.mask, self.decay)  # type: ignore[no-any-return, no-untyped-call]

    @torch.no_grad()
    def update(self, weight: Tensor) -> None:
        """Choose the survivors of `weight` anew."""
        self.mask.copy_(nm_mask(weight, self.sparsity))

    @torch.no_grad()
    def survivors(self, weight: Tensor) -> Tensor:
        """The weights that stay, (K, C N / M, ...), in the order of their channels: what a scale starts from.

        Every block has exactly N, so the channels stay rectangular.
        """
        last, mask = weight.movedim(1, -1), self.mask.movedim(1, -1)
        kept = last.shape[-1] // self.sparsity.block * self.sparsity.kept
        return last[mask].reshape(*last.shape[:-1], kept).movedim(-1, 1)

    def begin_epoch(self, epoch: int, epochs: int, weight: Tensor | None) -> None:
        """The first epoch starts from the weights as they are: they may have been drawn anew."""
        if epoch == 0 and weight is not None:
            self.update(weight)

    def after_step(self, weight: Tensor | None, optimizer: torch.optim.Optimizer, progress: float) -> None:
        """Follow the weights, until the mask is held."""
        if weight is not None and progress <= HELD_FROM:
            self.update(weight)

    def penalty(self, weight: Tensor | None, progress: float) -> Tensor | None:
        """None: the decay is part of the gradient."""
        return None

    def extra_repr(self) -> str:
        return f"{self.sparsity}, decay {self.decay:g}"
