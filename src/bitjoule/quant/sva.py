"""SVA: rows of weights as successive vector approximations, refitted every epoch, straight through [assumed].

Training multiplies by the approximation of the weights as they were at the last `begin_epoch` (or at the
start) and passes the gradient to all weights; evaluation approximates the weights as they are, once per
change. The approximation runs in NumPy on the processor. Without training this is quantization after
training.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bitjoule.formats import SuccessiveVector, TensorFormat
from bitjoule.quant.config import QuantizerError, Role
from bitjoule.quant.fake_quantizer import FakeQuantizer

__all__ = ["Held", "SvaQuantizer"]


class Held(torch.autograd.Function):
    """The approximation, with the gradient of the weight."""

    @staticmethod
    def forward(ctx: Any, w: Tensor, approximation: Tensor) -> Tensor:
        return torch.where(w == w, approximation.to(w.dtype), w)  # NaN stays NaN

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:
        return g, None


class SvaQuantizer(FakeQuantizer):
    """SVA weights; rows are output channels.

    >>> from bitjoule.formats import parse_tensor_format
    >>> from bitjoule.quant import QuantizerConfig
    >>> q = SvaQuantizer(parse_tensor_format("SVA1.5"), QuantizerConfig("sva"), "weight", name="fc")
    >>> q.initialize(w := torch.tensor([[3.0, -1.25, 0.5, 0.125]])); q(w).tolist()
    [[3.0, -1.25, 0.5, 0.125]]
    """

    method = "sva"
    trains = "SVA weights with float or *pot scales, per tensor or channel, output channels first"

    scale: Tensor
    source: Tensor
    held: Tensor

    def setup(self) -> None:
        if self.axis != 0:
            raise QuantizerError(
                f"{self.name}: sva approximates rows along axis 0, but the output channels of this weight "
                f"(of a transposed convolution) are axis {self.axis}; give the layer another format"
            )
        self.register_buffer("scale", torch.ones(self.scale_shape))
        self.register_buffer("source", torch.zeros(0))
        self.register_buffer("held", torch.zeros(0))

    @classmethod
    def accepts(cls, tensor_format: TensorFormat, role: Role) -> bool:
        scaling = tensor_format.scaling
        return (
            role == "weight"
            and isinstance(tensor_format.format, SuccessiveVector)
            and scaling.granularity in ("tensor", "channel")
            and scaling.kind in ("float", "pot")
        )

    def start(self, x: Tensor) -> None:
        magnitude = x.abs().to(self.scale.dtype)
        dims = list(range(1, x.dim())) if self.scale_shape and x.dim() > 1 else list(range(x.dim()))
        self.positive_or_one(magnitude.amax(dims) if x.numel() else torch.zeros_like(self.scale))
        self._fit(x)

    @property
    def follows_training(self) -> bool:
        return True

    @torch.no_grad()
    def begin_epoch(self, epoch: int, epochs: int, weight: Tensor | None) -> None:
        if weight is not None:
            self._fit(weight.detach())

    def quantize(self, x: Tensor) -> Tensor:
        learns = self.training and torch.is_grad_enabled()  # not so where batch norm is re-estimated
        if not learns and not torch.equal(self.source, x.detach().to(self.source.dtype)):
            self._fit(x.detach())
        return Held.apply(x, self.held)  # type: ignore[no-any-return, no-untyped-call]

    @torch.no_grad()
    def _fit(self, x: Tensor) -> None:
        fmt = self.tensor_format.format
        assert isinstance(fmt, SuccessiveVector)
        source = x.to(self.scale.dtype).clone(memory_format=torch.preserve_format)
        held = source.clone(memory_format=torch.preserve_format)
        if x.numel() and bool(torch.isfinite(source).all()):
            values = source.cpu().float().numpy()
            rows = fmt.row_scale(values)
            scale = rows if self.scale_shape else rows.max()
            held.copy_(torch.from_numpy(fmt.decode(fmt.encode(values, scale), scale, dtype=values.dtype)))
            self.scale.copy_(torch.as_tensor(scale).reshape(self.scale_shape))
        self.source, self.held = source, held

    def scale_now(self) -> Tensor:
        return self.scale

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        for key in ("source", "held"):
            saved = state_dict.get(prefix + key)
            if saved is not None:
                self.register_buffer(key, torch.empty_like(saved))
        super()._load_from_state_dict(state_dict, prefix, *rest)
