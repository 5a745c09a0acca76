"""What a unit learns: weights between two levels each, and the steps of its activation quantizers."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from bitjoule.quant import FakeQuantizer
from bitjoule.quant.lsq import LearnedStep
from bitjoule.quant.lsq_plus import LearnedStepAndOffset
from bitjoule.quant.rounding import rectified_sigmoid, soft_start
from bitjoule.quant.uniform import Bounds
from bitjoule.train.ptq.round_weight import row_grid

__all__ = ["SoftStep", "SoftWeight"]


class SoftWeight:
    """Weights between two levels, by one variable each; starts at the float weights."""

    def __init__(self, quantizer: FakeQuantizer, weight: Tensor, keep: Tensor | None) -> None:
        self.quantizer = quantizer
        rows = weight.detach().double().movedim(quantizer.axis, 0)
        self.moved = rows.shape
        rows = rows.flatten(1)
        self.grid = row_grid(quantizer, rows)
        low, high = self.grid.around(rows)
        u = rows / self.grid.scale
        if keep is not None:
            held = keep.movedim(quantizer.axis, 0).flatten(1)
            low, high = torch.where(held, low, 0.0), torch.where(held, high, 0.0)
        gap = high - low
        fraction = torch.where(gap > 0, (u - low) / gap.clamp_min(1e-30), 0.5).clamp(0, 1)
        self.low, self.high = low, high
        self.base = (low * self.grid.scale).float()
        self.gap = (gap * self.grid.scale).float()
        self.free = gap > 0
        self.v = nn.Parameter(soft_start(fraction.clamp(0.001, 0.999)).float())

    def value(self) -> Tensor:
        """The soft weights, in the shape of the parameter."""
        rows = self.base + rectified_sigmoid(self.v) * self.gap
        return rows.view(self.moved).movedim(0, self.quantizer.axis)

    def hard(self) -> Tensor:
        """Every variable rounded."""
        levels = torch.where(self.v.detach() >= 0, self.high, self.low)
        return self.grid.values(levels).float().view(self.moved).movedim(0, self.quantizer.axis)

    def undecided(self) -> Tensor:
        """How many variables are not yet binary."""
        h = rectified_sigmoid(self.v)
        return ((h > 0.01) & (h < 0.99) & self.free).float().sum()


class SoftStep:
    """The learned step of an activation quantizer, as a factor of the first one."""

    def __init__(self, quantizer: FakeQuantizer) -> None:
        self.quantizer = quantizer
        self.first = quantizer.scale_now().detach().clone()
        self.log = nn.Parameter(torch.zeros(()))
        f = quantizer.tensor_format.format
        self.bounds = Bounds.of(f.min_level, f.max_level)
        self.affine = quantizer.tensor_format.scaling.zero_point

    def scale(self) -> Tensor:
        """The step as it is learned."""
        return self.first * self.log.exp()

    def __call__(self, x: Tensor) -> Tensor:
        if self.affine:
            zero_point = self.quantizer.zero_point_now().to(x.dtype)
            return cast(
                Tensor,
                LearnedStepAndOffset.apply(  # type: ignore[no-untyped-call]
                    x, self.scale(), torch.zeros(()), zero_point, self.bounds, 1.0
                ),
            )
        return cast(Tensor, LearnedStep.apply(x, self.scale(), self.bounds, 1.0, 0))  # type: ignore[no-untyped-call]
