"""How tensors of one kind are quantized in training, as data; read from JSON without torch."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Literal, get_args

__all__ = [
    "GRADIENTS",
    "INITS",
    "ZERO_POINT_METHODS",
    "Gradient",
    "Init",
    "Method",
    "Normalize",
    "QuantizerConfig",
    "QuantizerError",
    "Range",
    "Role",
    "quantizer_config",
    "refuse_foreign",
]

Role = Literal["weight", "activation"]
Method = Literal[
    "ste",
    "moons",
    "dorefa",
    "pact",
    "lsq",
    "lsq+",
    "tqt",
    "apot",
    "deepshift_q",
    "deepshift_ps",
    "inq",
    "sva",
    "twn",
    "binary",
    "float_cast",
]
Gradient = Literal["default", "identity", "clipped", "approx", "swish", "eda", "paper", "keras"]
Range = Literal["fixed", "minmax", "moving_average"]
Init = Literal["default", "minmax", "three_sigma"]
Normalize = Literal["none", "center", "standardize", "xnor", "libra"]


GRADIENTS: Mapping[Method, tuple[Gradient, ...]] = {
    "moons": ("default", "paper", "keras"),
    "binary": ("default", "identity", "clipped", "approx", "swish", "eda"),
    "twn": ("default", "identity", "clipped"),
}
"""Pseudo-gradients to choose from; every other method has its own one, `default`."""

INITS: Mapping[Method, tuple[Init, ...]] = {
    "lsq": ("default", "minmax"),
    "lsq+": ("default", "minmax"),
    "pact": ("default", "minmax"),
    "apot": ("default", "minmax"),
    "tqt": ("default", "three_sigma"),
}
"""Rules for a first range to choose from, besides the `default` of the method's paper."""

ZERO_POINT_METHODS: tuple[Method, ...] = ("lsq+", "ste")
"""Methods of activations that can have a zero-point."""

ONLY: Mapping[str, tuple[tuple[Method, ...], tuple[Role, ...]]] = {
    "per_sample": (("lsq", "lsq+"), ("activation",)),
    "magnitude": (("binary",), ("weight",)),
    "normalize": (("binary",), ("weight",)),
    "bound": (("binary",), ("weight", "activation")),
    "detach_stats": (("apot",), ("weight",)),
    "freeze_oscillations": (("lsq", "lsq+"), ("weight",)),
    "dampen_oscillations": (("lsq", "lsq+"), ("weight",)),
    "csd_penalty": (("ste", "lsq", "lsq+", "tqt"), ("weight",)),
}
"""Settings that a few methods have, with these and the roles."""


class QuantizerError(ValueError):
    """A quantizer asked for something it cannot do; the text names the module and what it can."""


@dataclass(frozen=True)
class QuantizerConfig:
    """How tensors of one kind are quantized in training.

    method
        `lsq`, `lsq+`, `pact`, `tqt` and `apot` learn a scale, `ste` has a fixed or observed one, `inq` the
        one of its first weights, `twn` that of its weights as they are; `moons`, `dorefa`, `deepshift_q`,
        `deepshift_ps` and `float_cast` have the scale of the Format, `sva` approximates rows, `binary` is the
        sign.
    gradient
        pseudo-gradient of `binary` (`clipped` by default, `identity`, `approx`, `swish`, `eda`), of `twn`
        (`identity` by default, `clipped`) and of `moons` (`paper` for weights and `keras` for activations by
        default); `default` elsewhere.
    bound
        of `binary`: the pseudo-gradient is 0 where abs(x) > bound; for `clipped`, whose bound is 1, another.
    init
        `default` is the rule of the method's paper; lsq, lsq+, pact and apot also take `minmax`, tqt
        `three_sigma`.
    learn_scale
        False keeps a learned scale at its first value.
    range, momentum, scale
        of `ste`: `fixed` at `scale`, or observed (`minmax`, or `moving_average` with `momentum`, as 0.9 old +
        0.1 new).
    per_sample
        of `lsq` and `lsq+` activations: N in the gradient factor 1/sqrt(N p) counts one sample instead of the
        batch.
    magnitude
        of `binary` weights: times the mean absolute weight of each output channel (ReActNet) instead of 1.
    normalize
        of `binary` weights, before the sign: `center` subtracts the mean of each output channel,
        `standardize` divides by the deviation as well. `xnor` and `libra` are recipes of their own: centred
        over the input channels, clamped and times the mean magnitude (XNOR-Net); standardized and times a
        power of two (IR-Net).
    detach_stats
        of `apot` weights: mean and deviation carry no gradient (the code for CIFAR; without: for ImageNet).
    freeze_oscillations, dampen_oscillations
        of `lsq` and `lsq+` weights of at most 4 bits: levels that flip too often are held, or drawn to their
        middle by a loss (Nagel et al. 2022).
    csd_penalty
        of `ste`, `lsq`, `lsq+` and `tqt` weights: this times the number of signed power-of-two terms of all
        weights is added to the loss (`quant/pruning/terms.py`); 0 for none.

    >>> QuantizerConfig("lsq").learn_scale
    True
    """

    method: Method
    gradient: Gradient = "default"
    init: Init = "default"
    learn_scale: bool = True
    range: Range = "moving_average"
    momentum: float = 0.9
    scale: float | None = None
    per_sample: bool = False
    magnitude: bool = False
    normalize: Normalize = "none"
    bound: float | None = None
    detach_stats: bool = False
    freeze_oscillations: bool = False
    dampen_oscillations: bool = False
    csd_penalty: float = 0.0

    def __post_init__(self) -> None:
        for key, value, allowed in (
            ("method", self.method, get_args(Method)),
            ("gradient", self.gradient, get_args(Gradient)),
            ("range", self.range, get_args(Range)),
            ("init", self.init, get_args(Init)),
            ("normalize", self.normalize, get_args(Normalize)),
        ):
            if value not in allowed:
                raise QuantizerError(
                    f"QuantizerConfig: {key} must be one of {', '.join(allowed)}, not {value!r}"
                )
        for key in (
            "learn_scale",
            "per_sample",
            "magnitude",
            "detach_stats",
            "freeze_oscillations",
            "dampen_oscillations",
        ):
            flag = getattr(self, key)
            if not isinstance(flag, bool):
                raise QuantizerError(f"QuantizerConfig: {key} must be true or false, not {flag!r}")
        for key, number in (
            ("momentum", self.momentum),
            ("scale", self.scale),
            ("bound", self.bound),
            ("csd_penalty", self.csd_penalty),
        ):
            absent = key in ("scale", "bound") and number is None
            if not absent and (isinstance(number, bool) or not isinstance(number, int | float)):
                raise QuantizerError(f"QuantizerConfig: {key} must be a number, not {number!r}")
        if not 0 <= self.momentum < 1:
            raise QuantizerError(f"QuantizerConfig: momentum must be in [0, 1), not {self.momentum}")
        for key, number in (("scale", self.scale), ("bound", self.bound)):
            if number is not None and not 0 < number < float("inf"):
                raise QuantizerError(f"QuantizerConfig: {key} must be finite and > 0, not {number}")
        if not 0 <= self.csd_penalty < float("inf"):
            raise QuantizerError(
                f"QuantizerConfig: csd_penalty must be finite and >= 0, not {self.csd_penalty}"
            )
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
    refuse_foreign(config, role, str(role))
    return config


def refuse_foreign(config: QuantizerConfig, role: Role, where: str) -> None:
    """QuantizerError for a setting that the method, or the role, has no use for.

    >>> refuse_foreign(QuantizerConfig("lsq", magnitude=True), "weight", "conv1")
    Traceback (most recent call last):
    bitjoule.quant.config.QuantizerError: conv1: magnitude is for binary weights, not for lsq weights
    """
    gradients = GRADIENTS.get(config.method, ("default",))
    if config.gradient not in gradients:
        raise QuantizerError(
            f"{where}: {config.method} has the gradients {', '.join(gradients)}, not {config.gradient!r}"
        )
    inits = INITS.get(config.method, ("default",))
    if config.init not in inits:
        raise QuantizerError(f"{where}: {config.method} has init {', '.join(inits)}, not {config.init!r}")
    unset = QuantizerConfig(config.method)
    for key, (methods, roles) in ONLY.items():
        if getattr(config, key) == getattr(unset, key) or (config.method in methods and role in roles):
            continue
        plural = " and ".join(f"{one}s" for one in roles)
        raise QuantizerError(
            f"{where}: {key} is for {' and '.join(methods)} {plural}, not for {config.method} {role}s"
        )
    if config.normalize in ("xnor", "libra") and config.magnitude:
        raise QuantizerError(
            f"{where}: normalize {config.normalize!r} has its own magnitude; leave magnitude out"
        )
