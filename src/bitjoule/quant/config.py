"""How tensors of one kind are quantized in training, as data; read from JSON without torch."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Literal, get_args

__all__ = [
    "GRADIENTS",
    "Gradient",
    "Method",
    "QuantizerConfig",
    "QuantizerError",
    "Range",
    "Role",
    "quantizer_config",
]

Role = Literal["weight", "activation"]
Method = Literal["ste", "moons", "dorefa", "pact", "lsq", "binary", "float_cast"]
Gradient = Literal["default", "identity", "clipped", "approx", "swish", "paper", "keras"]
Range = Literal["fixed", "minmax", "moving_average"]


GRADIENTS: Mapping[Method, tuple[Gradient, ...]] = {
    "moons": ("default", "paper", "keras"),
    "binary": ("default", "identity", "clipped", "approx", "swish"),
}
"""Pseudo-gradients to choose from; every other method has its own one, `default`."""


class QuantizerError(ValueError):
    """A quantizer asked for something it cannot do; the text names the module and what it can."""


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
        for key, flag in (
            ("learn_scale", self.learn_scale),
            ("per_sample", self.per_sample),
            ("magnitude", self.magnitude),
        ):
            if not isinstance(flag, bool):
                raise QuantizerError(f"QuantizerConfig: {key} must be true or false, not {flag!r}")
        for key, number in (("momentum", self.momentum), ("scale", self.scale)):
            absent = key == "scale" and number is None
            if not absent and (isinstance(number, bool) or not isinstance(number, int | float)):
                raise QuantizerError(f"QuantizerConfig: {key} must be a number, not {number!r}")
        if not 0 <= self.momentum < 1:
            raise QuantizerError(f"QuantizerConfig: momentum must be in [0, 1), not {self.momentum}")
        if self.scale is not None and not 0 < self.scale < float("inf"):
            raise QuantizerError(f"QuantizerConfig: scale must be finite and > 0, not {self.scale}")
        if (self.range == "fixed") != (self.scale is not None):
            raise QuantizerError(
                f"QuantizerConfig: range 'fixed' and a scale belong together, got range {self.range!r} with "
                f"scale {self.scale}"
            )


def quantizer_config(document: Mapping[str, object], role: Role) -> QuantizerConfig:
    """The QuantizerConfig of a JSON object for `role`, with all that can be refused before a Format is known.

    Raises:
        QuantizerError: an unknown key, a value the key does not take, or a setting that the method or the
            role has no use for.

    >>> quantizer_config({"method": "pact"}, "activation").method
    'pact'
    """
    if not isinstance(document, Mapping):
        raise QuantizerError(f'{role}: must be a mapping such as {{"method": "lsq"}}, not {document!r}')
    known = [field.name for field in fields(QuantizerConfig)]
    for key in document:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1, cutoff=0.0)
            raise QuantizerError(
                f"{role}: QuantizerConfig has no key {key!r}, did you mean {near[0]!r}? "
                f"Keys: {', '.join(known)}"
            )
    if "method" not in document:
        raise QuantizerError(f"{role}: key 'method' is missing; methods: {', '.join(get_args(Method))}")
    try:
        config = QuantizerConfig(**document)  # type: ignore[arg-type]
    except QuantizerError as error:
        raise QuantizerError(f"{role}: {error}") from None
    gradients = GRADIENTS.get(config.method, ("default",))
    if config.gradient not in gradients:
        raise QuantizerError(
            f"{role}: {config.method} has the gradients {', '.join(gradients)}, not {config.gradient!r}"
        )
    if config.magnitude and (config.method, role) != ("binary", "weight"):
        raise QuantizerError(f"{role}: magnitude is for binary weights")
    return config
