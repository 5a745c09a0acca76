"""One bit: the sign of weights and activations (BIPOLAR), with a choice of pseudo-gradients.

Forward +1 for x >= 0, -1 below (Hubara et al. 2016, arXiv 1602.02830). Weights, W an output channel:

sign        plain
magnitude   a sign(W), a = mean|W|, detached, gradient g 1{|W| <= 1} (HardBinaryConv of ReActNet, Liu et al.
            2020, arXiv 2003.03488)
xnor        W' = W less its mean over the input channels, clamped to [-1, 1]; a sign(W'), a = mean|W'| with
            its gradient (jiecaoyu/XNOR-Net-PyTorch, Rastegari et al. 2016, arXiv 1603.05279)
libra       W' = (W - mean) / deviation; 2^R(log2 mean|W'|) sign(W'), the power detached but a factor of the
            gradient (IR-Net, Qin et al. 2020, arXiv 1909.10788)

Latent weights are clipped to [-1, 1] after each step when the gradient is `clipped`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bitjoule.formats import TensorFormat
from bitjoule.quant.accepted import granular
from bitjoule.quant.config import Role
from bitjoule.quant.fake_quantizer import FakeQuantizer
from bitjoule.quant.sign_gradients import (
    FIRST_SHARPNESS,
    SIGN_GRADIENTS,
    bounded,
    clipped,
    eda,
    sharpness,
)
from bitjoule.quant.uniform import Bounds, floored, pass_inside, scale_axis, smallest_scale

__all__ = ["BinaryQuantizer", "Sign", "sign"]

UNIT = Bounds.of(-1, 1)


def sign(x: Tensor) -> Tensor:
    """+1 for x >= 0 (also -0.0), -1 below, NaN for NaN.

    >>> sign(torch.tensor([-0.5, -0.0, 2.0])).tolist()
    [-1.0, 1.0, 1.0]
    """
    return steps(x).mul_(2).add_(1)


def steps(x: Tensor) -> Tensor:
    """0 for x >= 0, -1 below, NaN for NaN: as float passes, which are many times faster than a choice."""
    return x.clamp(-1, 0).floor_()


class Sign(torch.autograd.Function):
    """sign(x) times a scale that carries no gradient; backward g times the pseudo-gradient of that name.

    `bound` cuts the pseudo-gradient off (for `clipped` in the place of 1), `t` is the sharpness of `eda`.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        scale: Tensor,
        axis: int,
        gradient: str,
        bound: float | None = None,
        t: Tensor | None = None,
    ) -> Tensor:
        ctx.gradient, ctx.bound = gradient, bound
        ctx.save_for_backward(x, t)
        s = scale_axis(scale, x.dim(), axis)
        if s.dtype == x.dtype:  # the same numbers in one pass less
            return steps(x).mul_(2 * s).add_(s)
        return (sign(x) * s).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None, None, None, None, None]:
        x, t = ctx.saved_tensors
        wide = x if x.dtype == torch.float64 else x.float()
        g = g.to(wide.dtype)
        if ctx.gradient == "clipped":
            if ctx.bound is None:
                dx = pass_inside(g, wide, UNIT.outer(wide.dtype))
            else:
                dx = g * clipped(wide, ctx.bound)
        else:
            slope = eda(wide, t) if t is not None else SIGN_GRADIENTS[ctx.gradient](wide)
            dx = (slope if ctx.bound is None else bounded(slope, wide, ctx.bound)).mul_(g)
        return dx.to(x.dtype), None, None, None, None, None


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
    sharpness: Tensor

    def setup(self) -> None:
        self.gradient = "clipped" if self.config.gradient == "default" else self.config.gradient
        self.measures = self.config.magnitude or self.config.normalize in ("xnor", "libra")
        self.register_buffer("scale", torch.ones(self.scale_shape))
        if self.gradient == "eda":
            self.register_buffer("sharpness", torch.tensor(FIRST_SHARPNESS))

    @classmethod
    def accepts(cls, tensor_format: TensorFormat, role: Role) -> bool:
        signs = tensor_format.format.name == "BIPOLAR" and tensor_format.scaling.kind == "float"
        return signs and granular(tensor_format, role)

    @property
    def has_range(self) -> bool:
        return self.config.magnitude or self.config.normalize in ("xnor", "libra")

    @property
    def follows_training(self) -> bool:
        return self.gradient == "eda"

    def begin_epoch(self, epoch: int, epochs: int, weight: Tensor | None) -> None:
        if self.gradient == "eda":
            self.sharpness.fill_(sharpness(epoch / max(1, epochs)))

    def start(self, x: Tensor) -> None:
        if self.measures:
            self.scale.copy_(self._shrunk(self.positive_or_one(self._magnitude(self.transform(x)))))

    def transform(self, x: Tensor) -> Tensor:
        how = self.config.normalize
        if how == "none" or x.numel() == 0:
            return x
        wide = x if x.dtype == torch.float64 else x.float()
        if how == "xnor":
            centred = wide - wide.mean(0 if self.axis else 1, keepdim=True) if x.dim() > 1 else wide
            return centred.clamp(-1, 1)
        dims = [i for i in range(x.dim()) if i != self.axis] if x.dim() > 1 else [0]
        centred = wide - wide.mean(dims, keepdim=True)
        if how == "center":
            return centred
        count = wide.numel() // (wide.shape[self.axis] if x.dim() > 1 else 1)
        deviation = centred.std(dims, keepdim=True, correction=min(1, count - 1))
        return centred / deviation.clamp_min(torch.finfo(wide.dtype).tiny)

    def quantize(self, x: Tensor) -> Tensor:
        prepared = self.transform(x)
        scale = self.scale
        if self.measures and self.training:
            measured = floored(self._magnitude(prepared), smallest_scale(self.scale.dtype))
            with torch.no_grad():
                self.scale.copy_(self._shrunk(measured))
            if self.config.normalize == "xnor":
                scale = measured
        t = self.sharpness if self.gradient == "eda" else None
        if self.config.normalize in ("xnor", "libra"):
            one = torch.ones((), dtype=prepared.dtype, device=x.device)
            signs = Sign.apply(prepared, one, self.axis, self.gradient, self.config.bound, t)  # type: ignore[no-untyped-call]
            return (signs * scale_axis(scale, x.dim(), self.axis)).to(x.dtype)  # type: ignore[no-any-return]
        out = Sign.apply(prepared, scale, self.axis, self.gradient, self.config.bound, t)  # type: ignore[no-untyped-call]
        return out.to(x.dtype)  # type: ignore[no-any-return]

    def _magnitude(self, x: Tensor) -> Tensor:
        if self.config.normalize != "xnor":
            x = x.detach()
        if x.numel() == 0:
            return torch.zeros_like(self.scale)
        dims = [i for i in range(x.dim()) if i != self.axis] if self.scale_shape else list(range(x.dim()))
        return x.abs().mean(dims).to(self.scale.dtype)

    def _shrunk(self, magnitude: Tensor) -> Tensor:
        """The nearest power of two for `libra`, itself for others."""
        magnitude = magnitude.detach()
        if self.config.normalize != "libra":
            return magnitude
        return torch.exp2(magnitude.double().log2().round()).to(magnitude.dtype)

    @property
    def latent_limit(self) -> float | None:
        return 1.0 if self.role == "weight" and self.gradient == "clipped" else None

    def scale_now(self) -> Tensor:
        return self.scale
