"""LSQ+: a learned step and a learned offset (Bhalgat et al. 2020, arXiv 2004.09576).

    out = s clamp(R(u), n, p) + B,  u = (x - B) / s
    dx  = g 1{n <= u <= p},  ds = G sum g (R(u) - u inside; n below; p above)
    dB  = G sum g outside the range, 0 inside,  G = 1 / sqrt(N p)

Hardware has a zero-point, not an offset: zp = clamp(R(-B / s), n, p) and B := -zp s. Evaluation always uses
the snapped form, out = s (clamp(R(x / s) + zp, n, p) - zp); training does so from the last tenth of the
epochs on [assumed], B no longer learned.

Start: weights s = max(|mu - 3 sigma|, |mu + 3 sigma|) / 2^(b-1), with the population's sigma. Activations
s = (max - min) / (p - n), B = min - n s, then a search over 100 shrunk ranges for the least squared error.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from bitjoule.formats import TensorFormat
from bitjoule.quant.accepted import granular, uniform
from bitjoule.quant.config import Role
from bitjoule.quant.fake_quantizer import FakeQuantizer
from bitjoule.quant.lsq import LearnedStep
from bitjoule.quant.observers import extremes
from bitjoule.quant.oscillations import OscillatingWeights
from bitjoule.quant.uniform import Bounds, floored, pass_inside

__all__ = ["LearnedStepAndOffset", "LsqPlusQuantizer", "best_range"]

SMALLEST = 1e-8
TRIES = 100
MOST_SEARCHED = 1 << 16
"""Elements of the first batch that the search looks at, evenly spread."""
SNAP_FROM = 0.9


class LearnedStepAndOffset(torch.autograd.Function):
    """The formulas above for one s and one B; `zero_point` is the snapped one, None while B is free."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        scale: Tensor,
        offset: Tensor,
        zero_point: Tensor | None,
        bounds: Bounds,
        factor: float,
    ) -> Tensor:
        ctx.bounds, ctx.factor = bounds, factor
        ctx.save_for_backward(x, scale, offset, zero_point)
        dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
        s, b = floored(scale, SMALLEST).to(dtype), offset.to(dtype)
        if zero_point is None:
            u = (x.to(dtype) - b).div_(s)
            return u.clamp_(bounds.low, bounds.high).round_().mul_(s).add_(b).to(x.dtype)
        z = zero_point.to(dtype)
        u = (x.to(dtype) / s).round_().add_(z)
        return u.clamp_(bounds.low, bounds.high).sub_(z).add_(0.0).mul_(s).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None, None, None, None]:
        x, scale, offset, zero_point = ctx.saved_tensors
        bounds: Bounds = ctx.bounds
        dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
        s = floored(scale, SMALLEST).to(dtype)
        free = zero_point is None
        z = torch.zeros((), dtype=dtype, device=x.device) if free else zero_point.to(dtype)
        u = (x.to(dtype) - offset.to(dtype)).div_(s) if free else (x.to(dtype) / s).add_(z)
        g = g.to(dtype)
        dx = pass_inside(g, u, bounds.outer(dtype))
        outside = g - dx
        ds = db = None
        if ctx.needs_input_grad[1]:
            u.clamp_(bounds.low, bounds.high)
            q = (u - z).round_().add_(z)
            ds = (dx * (q - u)).sum() + (outside * (q - z)).sum()
            ds = (ds * ctx.factor).to(scale.dtype)
        if ctx.needs_input_grad[2] and free:
            db = (outside.sum() * ctx.factor).to(offset.dtype)
        return dx.to(x.dtype), ds, db, None, None, None


class LsqPlusQuantizer(OscillatingWeights, FakeQuantizer):
    """LSQ+ for weights (symmetric) and activations (an offset where the Format has a zero-point).

    >>> from bitjoule.formats import parse_tensor_format
    >>> from bitjoule.quant import QuantizerConfig
    >>> q = LsqPlusQuantizer(parse_tensor_format("INT4"), QuantizerConfig("lsq+"), "weight", name="fc")
    >>> q.initialize(torch.tensor([0.3, -0.2, 0.5, -0.7, 0.1, 0.0, 0.4, -0.1]))
    >>> round(q.scale.item(), 6)
    0.139814
    """

    method = "lsq+"
    trains = (
        "INT2 to INT16 (also _NARROW), UINT1 to UINT16 and TERNARY with float scales, "
        "weights per tensor or channel, activations also with +zp"
    )

    snapped: Tensor
    zero_point: Tensor

    def setup(self) -> None:
        fmt = self.tensor_format.format
        self.bounds = Bounds.of(fmt.min_level, fmt.max_level)
        self.affine = self.tensor_format.scaling.zero_point
        learn = self.config.learn_scale
        self.scale = nn.Parameter(torch.ones(self.scale_shape), requires_grad=learn)
        if self.affine:
            self.offset = nn.Parameter(torch.zeros(()), requires_grad=learn)
            self.register_buffer("zero_point", torch.zeros(()))
            self.register_buffer("snapped", torch.tensor(False))
        self._snapped = False  # the buffer as a Python bool
        self.setup_oscillations()

    @classmethod
    def accepts(cls, tensor_format: TensorFormat, role: Role) -> bool:
        scaling = tensor_format.scaling
        fits = scaling.kind == "float" and not (role == "weight" and scaling.zero_point)
        return fits and uniform(tensor_format) and granular(tensor_format, role)

    def start(self, x: Tensor) -> None:
        wide = x.to(self.scale.dtype)
        if self.role == "weight":
            found = self._three_sigma(wide)
            if self.config.init == "minmax":
                low, high = extremes(wide, self.axis if self.scale_shape else None)
                found = torch.maximum(low.abs(), high.abs()) / self.bounds.high
            self.scale.copy_(self.positive_or_one(found).clamp_min(SMALLEST))
            return
        low, high = extremes(wide)
        if not self.affine:
            low = torch.zeros_like(low) if self.bounds.low >= 0 else -torch.maximum(low.abs(), high.abs())
            high = torch.maximum(high, -low)
        if self.config.init == "default" and bool(high > low):
            low, high = best_range(wide, low, high, self.bounds, self.affine)
        top = self.bounds.high - self.bounds.low if self.affine else self.bounds.high
        scale = self.positive_or_one((high - low if self.affine else high) / top)
        self.scale.copy_(scale.clamp_min(SMALLEST))
        if self.affine:
            self.offset.copy_(low - self.bounds.low * self.scale)

    def _three_sigma(self, x: Tensor) -> Tensor:
        if x.numel() == 0:
            return torch.zeros_like(self.scale)
        rows = (
            x.movedim(self.axis, 0).reshape(x.shape[self.axis], -1) if self.scale_shape else x.reshape(1, -1)
        )
        mean, deviation = rows.mean(1), rows.std(1, correction=0)
        found = torch.maximum((mean - 3 * deviation).abs(), (mean + 3 * deviation).abs())
        return (found / 2.0 ** (self.tensor_format.format.bits - 1)).view(self.scale_shape)

    def quantize(self, x: Tensor) -> Tensor:
        shared = x.numel() // max(1, self.scale.numel())
        if self.role == "activation" and self.config.per_sample:
            shared //= max(1, x.shape[0])
        factor = 1 / math.sqrt(max(1, shared) * self.bounds.high)
        if not self.affine:
            return LearnedStep.apply(x, self.scale, self.bounds, factor, self.axis)  # type: ignore[no-any-return, no-untyped-call]
        zero_point = self.zero_point_now() if self._snapped or not self.training else None
        return LearnedStepAndOffset.apply(x, self.scale, self.offset, zero_point, self.bounds, factor)  # type: ignore[no-any-return, no-untyped-call]

    @property
    def follows_training(self) -> bool:
        return self.affine or self.holds_oscillations

    @torch.no_grad()
    def begin_epoch(self, epoch: int, epochs: int, weight: Tensor | None) -> None:
        if self.affine and self._ready and not self._snapped and epoch >= SNAP_FROM * epochs:
            self.zero_point.copy_(self.zero_point_now())
            self.snapped.fill_(True)
            self._snapped = True

    def scale_now(self) -> Tensor:
        return floored(self.scale, SMALLEST)

    def zero_point_now(self) -> Tensor:
        if not self.affine:
            return super().zero_point_now()
        if self._snapped:
            return self.zero_point
        offset = self.offset.detach().to(self.scale_now().dtype)
        zero_point = (-offset / self.scale_now().detach()).round()
        return zero_point.clamp(self.bounds.low, self.bounds.high)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *rest)
        self._snapped = self.affine and bool(self.snapped)


def best_range(x: Tensor, low: Tensor, high: Tensor, bounds: Bounds, affine: bool) -> tuple[Tensor, Tensor]:
    """Of 100 ranges [r low, r high], r = 0.01 to 1, the one with the least squared error of rounding."""
    values = x.reshape(-1)
    values = values[:: max(1, values.numel() // MOST_SEARCHED)].double()
    best, least = torch.ones((), dtype=torch.float64), math.inf
    for i in range(1, TRIES + 1):
        ratio = i / TRIES
        if affine:
            s = (high - low).double() * ratio / (bounds.high - bounds.low)
            b = low.double() * ratio - bounds.low * s
        else:
            s, b = high.double() * ratio / bounds.high, torch.zeros((), dtype=torch.float64)
        error = float(
            ((((values - b) / s).round().clamp(bounds.low, bounds.high) * s + b) - values).square().sum()
        )
        if error < least:
            best, least = torch.tensor(ratio), error
    ratio_found = best.to(low)
    return low * ratio_found, high * ratio_found
