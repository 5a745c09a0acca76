"""The contract of every fake quantizer: a module whose output is what the Format can hold.

In evaluation, `forward` equals `format.decode(format.encode(x'))` bit for bit in float32, x' being x after
the transform of the method (`transform`; the identity for most). In training it has the gradient of the
method. `parameters_exported` hands lowering exactly the scales that `forward` used.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bitjoule.formats import Format, Scaling, TensorFormat

__all__ = [
    "FakeQuantizer",
    "Gradient",
    "Method",
    "QuantParams",
    "QuantizerConfig",
    "QuantizerError",
    "QuantizerWarning",
    "Range",
    "Role",
]

Role = Literal["weight", "activation"]
Method = Literal["ste", "moons", "dorefa", "pact", "lsq", "binary", "float_cast"]
Gradient = Literal["default", "identity", "clipped", "approx", "swish", "paper", "keras"]
Range = Literal["fixed", "minmax", "moving_average"]


class QuantizerError(ValueError):
    """A quantizer asked for something it cannot do; the text names the module and what it can."""


class QuantizerWarning(UserWarning):
    """A range that carries no information (all zeros, no elements): the scale was set to 1."""


@dataclass(frozen=True)
class QuantizerConfig:
    """How tensors of one kind are quantized in training.

    method
        `lsq` and `pact` learn a scale, `ste` has a fixed or observed one, `moons`, `dorefa` and `float_cast`
        have the scale of the Format, `binary` is the sign.
    gradient
        pseudo-gradient of `binary` (`clipped` by default, `identity`, `approx`, `swish`) and of `moons`
        (`paper` for weights and `keras` for activations by default); `default` elsewhere.
    init
        `default` is the rule of the method's paper; lsq also takes `minmax`.
    learn_scale
        False keeps a learned scale at its first value.
    range, momentum, scale
        of `ste`: `fixed` at `scale`, or observed (`minmax`, or `moving_average` with `momentum`, as 0.9 old +
        0.1 new).
    per_sample
        of `lsq` activations: N in the gradient factor 1/sqrt(N p) counts one sample instead of the batch.
    magnitude
        of `binary` weights: times the mean absolute weight of each output channel (ReActNet) instead of 1.

    >>> QuantizerConfig("lsq").learn_scale
    True
    """

    method: Method
    gradient: Gradient = "default"
    init: Literal["default", "minmax"] = "default"
    learn_scale: bool = True
    range: Range = "moving_average"
    momentum: float = 0.9
    scale: float | None = None
    per_sample: bool = False
    magnitude: bool = False

    def __post_init__(self) -> None:
        for key, value, allowed in (
            ("method", self.method, get_args(Method)),
            ("gradient", self.gradient, get_args(Gradient)),
            ("range", self.range, get_args(Range)),
            ("init", self.init, ("default", "minmax")),
        ):
            if value not in allowed:
                raise QuantizerError(
                    f"QuantizerConfig: {key} must be one of {', '.join(allowed)}, not {value!r}"
                )
        if not 0 <= self.momentum < 1:
            raise QuantizerError(f"QuantizerConfig: momentum must be in [0, 1), not {self.momentum}")
        if self.scale is not None and not 0 < self.scale < float("inf"):
            raise QuantizerError(f"QuantizerConfig: scale must be finite and > 0, not {self.scale}")
        if (self.range == "fixed") != (self.scale is not None):
            raise QuantizerError(
                f"QuantizerConfig: range 'fixed' and a scale belong together, got range {self.range!r} with "
                f"scale {self.scale}"
            )


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
    state dict, and True from the start where there is no range to find (`has_range`). A method is a subclass with `method`, `trains`, `accepts`, `quantize` and, where there is
    anything to start, `start`.
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
        self.scale_shape = (channels,) if tensor_format.scaling.granularity == "channel" else ()
        self.register_buffer("initialized", torch.tensor(not self.has_range))
        self._ready = not self.has_range  # the buffer as a Python bool: forward never waits for a device

    @classmethod
    @abstractmethod
    def accepts(cls, tensor_format: TensorFormat, role: Role) -> bool:
        """Whether this method can train the Format in that role."""

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
