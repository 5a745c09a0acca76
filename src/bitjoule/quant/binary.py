"""One bit: the sign of weights and activations (BIPOLAR), with a choice of pseudo-gradients.

Forward +1 for x >= 0, -1 below (Hubara et al. 2016, arXiv 1602.02830). Weights are `sign` plain, or
`magnitude`: a_k sign(W), a_k = mean|W| per output channel, detached, gradient g 1{|W| <= 1} (ReActNet's
HardBinaryConv, Liu et al. 2020, arXiv 2003.03488). Latent weights are clipped to [-1, 1] after each step when
the gradient is `clipped`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bitjoule.formats import TensorFormat
from bitjoule.quant.config import QuantizerConfig, QuantizerError, Role
from bitjoule.quant.fake_quantizer import FakeQuantizer
from bitjoule.quant.sign_gradients import SIGN_GRADIENTS
from bitjoule.quant.uniform import Bounds, floored, pass_inside, scale_axis, smallest_scale

__all__ = ["BinaryQuantizer", "Sign", "sign"]

UNIT = Bounds.of(-1, 1)


def sign(x: Tensor) -> Tensor:
    """+1 for x >= 0 (also -0.0), -1 below, NaN for NaN.

    >>> sign(torch.tensor([-0.5, -0.0, 2.0])).tolist()
    [-1.0, 1.0, 1.0]
    """
    one = torch.ones((), dtype=x.dtype, device=x.device)
    return torch.where(x >= 0, one, torch.where(x < 0, -one, x))


class Sign(torch.autograd.Function):
    """sign(x) times a scale that carries no gradient; backward g times the pseudo-gradient of that name."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, axis: int, gradient: str) -> Tensor:
        ctx.gradient = gradient
        ctx.save_for_backward(x)
        return (sign(x) * scale_axis(scale, x.dim(), axis)).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None, None, None]:
        (x,) = ctx.saved_tensors
        wide = x if x.dtype == torch.float64 else x.float()
        g = g.to(wide.dtype)
        if ctx.gradient == "clipped":
            dx = pass_inside(g, wide, UNIT.outer(wide.dtype))
        else:
            dx = g * SIGN_GRADIENTS[ctx.gradient](wide)
        return dx.to(x.dtype), None, None, None


class BinaryQuantizer(FakeQuantizer):
    """BIPOLAR weights and activations.

    >>> from bitjoule.formats import parse_tensor_format
    >>> q = BinaryQuantizer(
    ...     parse_tensor_format("BIPOLAR/channel"), QuantizerConfig("binary", magnitude=True), "weight",
    ...     name="conv2", channels=2)
    >>> q.initialize(w := torch.tensor([[1.0, -3.0], [0.5, 0.5]])); q(w).tolist()
    [[2.0, -2.0], [0.5, 0.5]]
    """

    method = "binary"
    trains = "BIPOLAR with float scales, weights per tensor or channel"

    scale: Tensor

    def __init__(
        self,
        tensor_format: TensorFormat,
        config: QuantizerConfig,
        role: Role,
        *,
        name: str,
        parameter: str | None = None,
        axis: int = 0,
        channels: int = 1,
    ) -> None:
        super().__init__(
            tensor_format, config, role, name=name, parameter=parameter, axis=axis, channels=channels
        )
        if config.gradient not in ("default", *SIGN_GRADIENTS):
            raise QuantizerError(
                f"{name}: binary has the gradients {', '.join(SIGN_GRADIENTS)}, not {config.gradient!r}"
            )
        if config.magnitude and role == "activation":
            raise QuantizerError(f"{name}: magnitude is for binary weights; activations are plain signs")
        self.gradient = "clipped" if config.gradient == "default" else config.gradient
        self.register_buffer("scale", torch.ones(self.scale_shape))

    @classmethod
    def accepts(cls, tensor_format: TensorFormat, role: Role) -> bool:
        scaling = tensor_format.scaling
        granularities = ("tensor", "channel") if role == "weight" else ("tensor",)
        return (
            tensor_format.format.name == "BIPOLAR"
            and scaling.kind == "float"
            and scaling.granularity in granularities
        )

    @property
    def has_range(self) -> bool:
        return self.config.magnitude

    def start(self, x: Tensor) -> None:
        if self.config.magnitude:
            self.scale.copy_(self.positive_or_one(self._magnitude(x)))

    def quantize(self, x: Tensor) -> Tensor:
        if self.config.magnitude and self.training:
            with torch.no_grad():
                self.scale.copy_(floored(self._magnitude(x.detach()), smallest_scale(self.scale.dtype)))
        return Sign.apply(x, self.scale, self.axis, self.gradient)  # type: ignore[no-any-return, no-untyped-call]

    def _magnitude(self, x: Tensor) -> Tensor:
        if x.numel() == 0:
            return torch.zeros_like(self.scale)
        dims = [i for i in range(x.dim()) if i != self.axis] if self.scale_shape else list(range(x.dim()))
        return x.abs().mean(dims).to(self.scale.dtype)

    @property
    def latent_limit(self) -> float | None:
        return 1.0 if self.role == "weight" and self.gradient == "clipped" else None

    def scale_now(self) -> Tensor:
        return self.scale
