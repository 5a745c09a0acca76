"""Small floats by rounding to them: FP16 and BF16 (and FLOAT32, which changes nothing), straight through."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bitjoule.formats import TensorFormat
from bitjoule.quant.config import Role
from bitjoule.quant.fake_quantizer import FakeQuantizer

__all__ = ["Cast", "FloatCastQuantizer", "rounded_to_odd"]

DTYPES = {"FP16": torch.float16, "BF16": torch.bfloat16, "FLOAT32": torch.float32}


class Cast(torch.autograd.Function):
    """To `dtype` and back, one rounding to nearest even; overflow gives infinity, as IEEE; gradient 1."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, dtype: torch.dtype) -> Tensor:
        if x.dtype == dtype:
            return x.clone()
        if x.dtype == torch.float64 and dtype != torch.float32:
            return rounded_to_odd(x).to(dtype).to(x.dtype)
        return x.to(dtype).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:
        return g, None


def rounded_to_odd(x: Tensor) -> Tensor:
    """float64 to float32 so that a second rounding, to 16 bits, ends where a single one would.

    torch casts float64 to 16 bits through float32, which rounds twice. Inexact values go to the neighbour
    with an odd significand (Boldo and Melquiond 2008), which is never a tie of the shorter format.

    >>> x = torch.tensor([1 + 2**-11 + 2**-40], dtype=torch.float64)  # just above a tie of FP16
    >>> x.to(torch.float16).item(), rounded_to_odd(x).to(torch.float16).item()
    (1.0, 1.0009765625)
    """
    nearest = x.to(torch.float32)
    back = nearest.to(torch.float64)
    even = (nearest.view(torch.int32) & 1) == 0
    towards = torch.where(x > back, torch.inf, -torch.inf).to(torch.float32)
    return torch.where((back != x) & ~x.isnan() & even, torch.nextafter(nearest, towards), nearest)


class FloatCastQuantizer(FakeQuantizer):
    """FP16, BF16 or FLOAT32 weights and activations, scale 1.

    >>> from bitjoule.formats import parse_tensor_format
    >>> q = FloatCastQuantizer(
    ...     parse_tensor_format("BF16"), QuantizerConfig("float_cast"), "weight", name="fc")
    >>> q(torch.tensor([1.00390625, 1.01])).tolist()
    [1.0, 1.0078125]
    """

    method = "float_cast"
    trains = "FP16, BF16 and FLOAT32 without a scale"

    def setup(self) -> None:
        self.dtype = DTYPES[self.tensor_format.format.name]

    @classmethod
    def accepts(cls, tensor_format: TensorFormat, role: Role) -> bool:
        scaling = tensor_format.scaling
        return tensor_format.format.name in DTYPES and (scaling.granularity, scaling.kind) == (
            "tensor",
            "float",
        )

    @property
    def has_range(self) -> bool:
        return False

    def quantize(self, x: Tensor) -> Tensor:
        return Cast.apply(x, self.dtype)  # type: ignore[no-any-return, no-untyped-call]
