"""INQ: weights are fixed on powers of two in growing shares (Zhou et al. 2017, arXiv 1702.03044).

Levels 0, +-2^n1 .. +-2^n2 of the Formats POTb_INQ, n1 = floor(log2(4 max|W| / 3)), n2 = n1 + 1 - 2^(b-2),
from the weights at the start and never changed. The epochs are divided evenly over accumulated shares, 0.5,
0.75, 0.875 and 1 for 5 bits and more, 0.3, 0.5, 0.8, 0.9, 0.95 and 1 for fewer [assumed]; the largest weights
are fixed first. A fixed weight is its level in every forward pass, has neither gradient nor momentum, and no
decay moves it. Evaluation quantizes all weights. Public code: AojunZhou/Incremental-Network-Quantization,
Mxbonn/INQ-pytorch.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bitjoule.formats import TensorFormat, inq_exponents
from bitjoule.quant.config import Role
from bitjoule.quant.fake_quantizer import FakeQuantizer
from bitjoule.quant.level_set import LevelSet
from bitjoule.quant.uniform import quotient, scale_axis

__all__ = ["InqQuantizer", "PartlyFixed", "largest_first", "shares", "stage_of"]

WIDE = (0.5, 0.75, 0.875, 1.0)
NARROW = (0.3, 0.5, 0.8, 0.9, 0.95, 1.0)


def shares(bits: int) -> tuple[float, ...]:
    """Accumulated shares of fixed weights, one per stage.

    >>> shares(5)
    (0.5, 0.75, 0.875, 1.0)
    """
    return WIDE if bits >= 5 else NARROW


def stage_of(epoch: int, epochs: int, stages: int) -> int:
    """The stage of epoch `epoch` (from 0) when `epochs` are divided evenly.

    >>> [stage_of(e, 8, 4) for e in range(8)]
    [0, 0, 1, 1, 2, 2, 3, 3]
    """
    return min(stages - 1, epoch * stages // max(1, epochs))


def largest_first(weight: Tensor, fixed: Tensor, share: float) -> Tensor:
    """`fixed` with the largest free weights added until `share` of all are fixed.

    >>> largest_first(torch.tensor([0.1, -0.9, 0.5, 0.2]), torch.zeros(4, dtype=torch.bool), 0.5).tolist()
    [False, True, True, False]
    """
    wanted = round(share * weight.numel()) - int(fixed.sum())
    if wanted <= 0:
        return fixed
    free = torch.where(fixed, torch.full_like(weight, -1.0), weight.abs()).flatten()
    chosen = torch.argsort(free, descending=True, stable=True)[:wanted]
    found = fixed.flatten().clone()
    found[chosen] = True
    return found.view_as(fixed)


class PartlyFixed(torch.autograd.Function):
    """The held value where fixed, else the weight; gradient to the free weights alone."""

    @staticmethod
    def forward(ctx: Any, w: Tensor, fixed: Tensor, held: Tensor) -> Tensor:
        ctx.save_for_backward(fixed)
        return torch.empty_like(w).copy_(torch.where(fixed, held.to(w.dtype), w))  # in the layout of w

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None, None]:
        (fixed,) = ctx.saved_tensors
        return g.masked_fill(fixed, 0.0), None, None


class InqQuantizer(FakeQuantizer):
    """POTb_INQ weights. Without a loop that calls `begin_epoch`, no weight is fixed before evaluation."""

    method = "inq"
    trains = "POT2_INQ to POT7_INQ weights, per tensor or channel at one scale of the layer"

    scale: Tensor
    fixed: Tensor
    held: Tensor

    def setup(self) -> None:
        self.levels = LevelSet(self.tensor_format.format)
        self.register_buffer("scale", torch.ones(self.scale_shape))
        self.register_buffer("fixed", torch.zeros(0, dtype=torch.bool))
        self.register_buffer("held", torch.zeros(0))

    @classmethod
    def accepts(cls, tensor_format: TensorFormat, role: Role) -> bool:
        name, scaling = tensor_format.format.name, tensor_format.scaling
        return (
            role == "weight"
            and name.startswith("POT")
            and "_INQ" in name
            and scaling.granularity in ("tensor", "channel")
            and scaling.kind in ("float", "pot")
        )

    def start(self, x: Tensor) -> None:
        largest = float(x.abs().amax()) if x.numel() else 0.0
        found = 0.0
        if largest > 0:
            found = 2.0 ** inq_exponents(largest, self.tensor_format.format.bits)[1]
        self.scale.fill_(self.positive_or_one(torch.tensor(found)))
        self.fixed = torch.zeros_like(x, dtype=torch.bool)
        self.held = torch.zeros_like(x, dtype=self.scale.dtype)

    def quantize(self, x: Tensor) -> Tensor:
        if not (self.training and torch.is_grad_enabled()):  # also where batch norm is re-estimated
            return self._rounded(x)
        if self.fixed.shape != x.shape:
            return x.clone()
        return PartlyFixed.apply(x, self.fixed, self.held)  # type: ignore[no-any-return, no-untyped-call]

    def _rounded(self, x: Tensor) -> Tensor:
        s = scale_axis(self.scale, x.dim(), self.axis)
        return self.levels.nearest(quotient(x, s)).mul_(s).to(x.dtype)

    def scale_now(self) -> Tensor:
        return self.scale

    @property
    def follows_training(self) -> bool:
        return True

    @torch.no_grad()
    def begin_epoch(self, epoch: int, epochs: int, weight: Tensor | None) -> None:
        if weight is None or self.fixed.shape != weight.shape:
            return
        steps = shares(self.tensor_format.format.bits)
        fixed = largest_first(weight, self.fixed, steps[stage_of(epoch, epochs, len(steps))])
        new = fixed & ~self.fixed
        self.held.copy_(torch.where(new, self._rounded(weight).to(self.held.dtype), self.held))
        self.fixed.copy_(fixed)
        weight.copy_(torch.where(self.fixed, self.held.to(weight.dtype), weight))

    @torch.no_grad()
    def after_step(self, weight: Tensor | None, optimizer: torch.optim.Optimizer, progress: float) -> None:
        if weight is None or self.fixed.shape != weight.shape:
            return
        weight.copy_(torch.where(self.fixed, self.held.to(weight.dtype), weight))
        for value in optimizer.state.get(weight, {}).values():
            if isinstance(value, Tensor) and value.shape == weight.shape:
                value.masked_fill_(self.fixed, 0.0)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        for key in ("fixed", "held"):
            saved = state_dict.get(prefix + key)
            if saved is not None:
                self.register_buffer(key, torch.empty_like(saved))
        super()._load_from_state_dict(state_dict, prefix, *rest)
