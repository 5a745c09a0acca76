"""The contract of every fake quantizer: a module whose output is what the Format can hold.

In evaluation, `forward` equals `format.decode(format.encode(x'))` bit for bit in float32, x' being x after
the transform of the method (`transform`; the identity for most). In training it has the gradient of the
method. `parameters_exported` hands lowering exactly the scales that `forward` used.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bitjoule.formats import Format, Scaling, TensorFormat
from bitjoule.quant.config import Method, QuantizerConfig, QuantizerError, Role, refuse_foreign

__all__ = ["FakeQuantizer", "QuantParams", "QuantizerWarning"]


class QuantizerWarning(UserWarning):
    """A range that carries no information (all zeros, no elements): the scale was set to 1."""


@dataclass(frozen=True)
class QuantParams:
    """What `forward` used: Format, scaling, float32 scales and int64 zero-points of shape
    `scaling.scale_shape`.
    """

    format: Format
    scaling: Scaling
    scale: NDArray[np.float32]
    zero_point: NDArray[np.int64]


class FakeQuantizer(nn.Module, ABC):
    """Quantizes and dequantizes; the output keeps shape and dtype of the input.

    name
        what errors and warnings call it: the layer of a weight, the tensor of an activation.
    parameter
        path of the weight in the network's module, None for activations.
    axis, channels
        of a weight with one scale per channel.

    `initialize` is called once, by hand or by the first training batch; the flag `initialized` is part of the
    state dict, and True from the start where there is no range to find (`has_range`). A method is a subclass
    with `method`, `trains`, `accepts`, `quantize`, `setup` for its parameters and buffers and, where there is
    anything to start, `start`. `has_range` may read `tensor_format`, `config` and `role`, no more.

    What a method does between steps is in `begin_epoch`, `after_step` and `penalty`, which a training loop
    calls for every quantizer whose `follows_training` is True.
    """

    method: ClassVar[Method]
    trains: ClassVar[str]
    """The Formats this method can train, for people."""
    decays: ClassVar[bool] = False
    """Whether the optimizer's weight decay applies to the parameters of this quantizer."""

    initialized: Tensor

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
        super().__init__()
        if config.method != self.method:
            raise QuantizerError(f"{name}: a {self.method} quantizer was given a config of {config.method}")
        if not self.accepts(tensor_format, role):
            raise QuantizerError(
                f"{name}: {self.method} cannot train {role}s in {tensor_format}; it trains {self.trains}"
            )
        self.tensor_format = tensor_format
        self.config = config
        self.role: Role = role
        self.name = name
        self.parameter = parameter
        self.axis = axis
        self.scale_shape: tuple[int, ...] = (
            (channels,) if tensor_format.scaling.granularity == "channel" else ()
        )
        refuse_foreign(config, role, name)
        self.register_buffer("initialized", torch.tensor(not self.has_range))
        self._ready = not self.has_range  # the buffer as a Python bool: forward never waits for a device
        self.setup()

    @classmethod
    @abstractmethod
    def accepts(cls, tensor_format: TensorFormat, role: Role) -> bool:
        """Whether this method can train the Format in that role."""

    def setup(self) -> None:
        """Make parameters and buffers; called once by the constructor."""

    @property
    def follows_training(self) -> bool:
        """Whether a training loop has to call the three methods below."""
        return False

    def begin_epoch(self, epoch: int, epochs: int, weight: Tensor | None) -> None:
        """Before epoch `epoch` (from 0) of `epochs`; `weight` is the latent weight, None for activations."""

    def after_step(self, weight: Tensor | None, optimizer: torch.optim.Optimizer, progress: float) -> None:
        """After the optimizer's step, without gradients; `progress` is the share of all steps done, 0..1."""

    def penalty(self, weight: Tensor | None, progress: float) -> Tensor | None:
        """A term to add to the loss of this step, None for none."""
        return None

    @property
    def has_range(self) -> bool:
        """Whether there is anything to find from data before the first use; without, it is always ready."""
        return True

    def start(self, x: Tensor) -> None:
        """Set scales from a first tensor `x`."""

    def transform(self, x: Tensor) -> Tensor:
        """x': what is encoded. The identity, unless the method normalises first."""
        return x

    @abstractmethod
    def quantize(self, x: Tensor) -> Tensor:
        """The dequantized values of `x`, with the gradient of the method."""

    def scale_now(self) -> Tensor:
        """The scale `forward` uses, of shape `scale_shape`."""
        fixed = self.tensor_format.format.fixed_scale
        return torch.full(self.scale_shape, 1.0 if fixed is None else fixed)

    def zero_point_now(self) -> Tensor:
        """The zero-point `forward` uses, of shape `scale_shape`."""
        return torch.zeros(self.scale_shape, dtype=torch.int64)

    @property
    def latent_limit(self) -> float | None:
        """Bound to which the trained weight itself is clipped after each step, None for no clipping."""
        return None

    @torch.no_grad()
    def initialize(self, x: Tensor) -> None:
        """Start from `x` (weights, or calibration activations); later calls do nothing.

        An all-zero or empty `x` gives scale 1 and a `QuantizerWarning`; NaN raises `QuantizerError`.
        """
        if self._ready:
            return
        x = x.detach()
        if bool(torch.isnan(x).any()):
            raise QuantizerError(f"{self.name}: cannot initialize {self.method} from values that hold NaN")
        self.start(x)
        self.initialized.fill_(True)
        self._ready = True

    def forward(self, x: Tensor) -> Tensor:
        if not self._ready:
            if not self.training:
                raise QuantizerError(
                    f"{self.name}: the {self.method} quantizer has no range yet; run one batch in "
                    "training mode, call initialize(x), or load a trained state"
                )
            self.initialize(x)
        return self.quantize(x)

    def parameters_exported(self) -> QuantParams:
        """Format and scales for lowering, exactly those of `forward`; QuantizerError before `initialize`."""
        if not self._ready:
            raise QuantizerError(f"{self.name}: the {self.method} quantizer has no range to export yet")
        return QuantParams(
            self.tensor_format.format,
            self.tensor_format.scaling,
            self.scale_now().detach().to("cpu", torch.float32).numpy().copy(),
            self.zero_point_now().detach().to("cpu", torch.int64).numpy().copy(),
        )

    def positive_or_one(self, scale: Tensor) -> Tensor:
        """`scale` with 1 where it is not above 0, and a warning that names the module."""
        empty = scale <= 0
        if bool(empty.any()):
            which = f" in {int(empty.sum())} of {scale.numel()} channels" if scale.dim() else ""
            warnings.warn(
                f"{self.name}: all values are zero (or there are none){which}; the scale is set to 1",
                QuantizerWarning,
                stacklevel=2,
            )
        return torch.where(empty, torch.ones_like(scale), scale)

    def extra_repr(self) -> str:
        return f"{self.tensor_format}, {self.role}"

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *rest)
        if not self.has_range:
            self.initialized.fill_(True)
        self._ready = bool(self.initialized)
