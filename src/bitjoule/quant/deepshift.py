"""DeepShift: weights that are shifts (Elhoushi et al. 2019, arXiv 1905.13298), Formats POTb_DS.

`deepshift_q`   out = sgn(w) 2^R(log2|w|), the exponent in -(2^(b-1) - 2) .. 0; dw = g
`deepshift_ps`  parameters P and S of the weight's shape: out = sgn(R(clamp(S, -1, 1)))
                2^R(clamp(P, -(2^(b-1) - 2), 0)); dP = g out ln 2, dS = g; the weight itself starts
                them (P = log2|w|, S = sgn w) and is not trained
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from bitjoule.formats import TensorFormat
from bitjoule.quant.config import Role
from bitjoule.quant.fake_quantizer import FakeQuantizer
from bitjoule.quant.level_set import LevelSet

__all__ = ["DeepShiftPsQuantizer", "DeepShiftQQuantizer", "Shift", "SignedShift"]

SMALLEST_WEIGHT = 2.0**-64
"""What log2 of a weight of 0 is taken of."""


class Shift(torch.autograd.Function):
    """The nearest level, straight through everywhere."""

    @staticmethod
    def forward(ctx: Any, w: Tensor, scale: float, levels: LevelSet) -> Tensor:
        wide = w if w.dtype == torch.float64 else w.float()
        return levels.nearest(wide / scale).mul_(scale).to(w.dtype)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None, None]:
        return g, None, None


class SignedShift(torch.autograd.Function):
    """The formula of `deepshift_ps`; `lowest` is the least exponent."""

    @staticmethod
    def forward(ctx: Any, shift: Tensor, sign: Tensor, lowest: float) -> Tensor:
        magnitude = torch.exp2(shift.clamp(lowest, 0.0).round().double()).to(shift.dtype)
        out = magnitude * sign.clamp(-1.0, 1.0).round().sign() + 0.0
        ctx.save_for_backward(out)
        return out

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor, None]:
        (out,) = ctx.saved_tensors
        return g * out * math.log(2), g, None


class DeepShiftQQuantizer(FakeQuantizer):
    """Weights rounded to shifts; at most 1 in magnitude.

    >>> from bitjoule.formats import parse_tensor_format
    >>> from bitjoule.quant import QuantizerConfig
    >>> config = QuantizerConfig("deepshift_q")
    >>> q = DeepShiftQQuantizer(parse_tensor_format("POT4_DS"), config, "weight", name="fc")
    >>> q(torch.tensor([0.3, -0.4, 1e-9, 5.0])).tolist()
    [0.25, -0.5, 0.015625, 1.0]
    """

    method = "deepshift_q"
    trains = "POT2_DS to POT6_DS weights, per tensor or channel at one fixed scale; for activations use lsq"

    def setup(self) -> None:
        self.levels = LevelSet(self.tensor_format.format)
        self.scale = 1.0 / self.levels.high

    @classmethod
    def accepts(cls, tensor_format: TensorFormat, role: Role) -> bool:
        name, scaling = tensor_format.format.name, tensor_format.scaling
        return (
            role == "weight"
            and name.startswith("POT")
            and name.endswith("_DS")
            and scaling.granularity in ("tensor", "channel")
            and scaling.kind in ("float", "pot")
        )

    @property
    def has_range(self) -> bool:
        return False

    def quantize(self, x: Tensor) -> Tensor:
        return Shift.apply(x, self.scale, self.levels)  # type: ignore[no-any-return, no-untyped-call]

    def scale_now(self) -> Tensor:
        return torch.full(self.scale_shape, self.scale)


class DeepShiftPsQuantizer(FakeQuantizer):
    """Shift and sign as parameters of their own; what is exported is what they give."""

    method = "deepshift_ps"
    trains = "POT2_DS to POT6_DS weights, per tensor or channel at one fixed scale; for activations use lsq"

    def setup(self) -> None:
        self.scale = 1.0 / float(self.tensor_format.format.max_level)
        self.lowest = math.log2(self.scale)
        self.shift = nn.Parameter(torch.zeros(0))
        self.sign = nn.Parameter(torch.zeros(0))

    @classmethod
    def accepts(cls, tensor_format: TensorFormat, role: Role) -> bool:
        return DeepShiftQQuantizer.accepts(tensor_format, role)

    def start(self, x: Tensor) -> None:
        wide = x if x.dtype == torch.float64 else x.float()
        self.shift.data = wide.abs().clamp_min(SMALLEST_WEIGHT).log2()
        self.sign.data = wide.sign()

    def transform(self, x: Tensor) -> Tensor:
        return self.quantize(x)

    def quantize(self, x: Tensor) -> Tensor:
        return SignedShift.apply(self.shift, self.sign, self.lowest).to(x.dtype)  # type: ignore[no-any-return, no-untyped-call]

    def scale_now(self) -> Tensor:
        return torch.full(self.scale_shape, self.scale)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        for key, parameter in (("shift", self.shift), ("sign", self.sign)):
            saved = state_dict.get(prefix + key)
            if saved is not None:
                parameter.data = torch.empty_like(saved)
        super()._load_from_state_dict(state_dict, prefix, *rest)
