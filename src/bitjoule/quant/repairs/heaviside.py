"""Activations of 0 and 1: the step function instead of the sign (larq `heaviside`), popcount of AND."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bitjoule.formats import TensorFormat
from bitjoule.quant.config import Role
from bitjoule.quant.fake_quantizer import FakeQuantizer
from bitjoule.quant.sign_gradients import SIGN_GRADIENTS

__all__ = ["Heaviside", "HeavisideQuantizer"]


def step(x: Tensor) -> Tensor:
    """1 for x > 0, else 0; NaN for NaN.

    >>> step(torch.tensor([-1.0, 0.0, 0.5])).tolist()
    [0.0, 0.0, 1.0]
    """
    return x.clamp(0, 1).ceil_().add_(0.0)


class Heaviside(torch.autograd.Function):
    """The step; backward g times the pseudo-gradient of that name."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gradient: str) -> Tensor:
        ctx.gradient = gradient
        ctx.save_for_backward(x)
        return step(x)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        wide = x if x.dtype == torch.float64 else x.float()
        return (g * SIGN_GRADIENTS[ctx.gradient](wide)).to(x.dtype), None


class HeavisideQuantizer(FakeQuantizer):
    """UINT1 activations with scale 1: what is encoded is the step of x (`transform`).

    >>> from bitjoule.formats import parse_tensor_format
    >>> from bitjoule.quant import QuantizerConfig
    >>> config = QuantizerConfig("binary")
    >>> q = HeavisideQuantizer(parse_tensor_format("UINT1"), config, "activation", name="x")
    >>> q(torch.tensor([-0.3, 0.2])).tolist()
    [0.0, 1.0]
    """

    method = "binary"
    trains = "UINT1 activations per tensor"

    @classmethod
    def accepts(cls, tensor_format: TensorFormat, role: Role) -> bool:
        return (
            role == "activation"
            and tensor_format.format.name == "UINT1"
            and tensor_format.scaling.granularity == "tensor"
        )

    @property
    def has_range(self) -> bool:
        return False

    def transform(self, x: Tensor) -> Tensor:
        return step(x)

    def quantize(self, x: Tensor) -> Tensor:
        gradient = "clipped" if self.config.gradient == "default" else self.config.gradient
        return Heaviside.apply(x, gradient)  # type: ignore[no-any-return, no-untyped-call]
