"""What post-training quantization does, as data: `PtqConfig`, the presets, and fields set by text.

The presets are those of section 6 of `ptq.md`; every field may be overridden alone. Loads no torch.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_type_hints

__all__ = [
    "ENOUGH_IMAGES",
    "PRESETS",
    "Preset",
    "PtqConfig",
    "PtqError",
    "PtqWarning",
    "configured",
    "preset_config",
]

Preset = Literal["fast", "best", "data-free"]

ENOUGH_IMAGES = 512
"""Calibration images that every preset is content with."""


class PtqError(ValueError):
    """Post-training quantization asked for something that cannot be done; the text says what to give."""


class PtqWarning(UserWarning):
    """Post-training quantization went on, but its result needs a look."""


@dataclass(frozen=True)
class PtqConfig:
    """One recipe; every field is a row of the table of presets.

    weight_range, activation_range
        calibrators by name (`quant.calibration`). `auto` for activations: `percentile(99.999)` from 7 bits
        on, `mse(2.4)` below.
    relu6
        `relu` replaces ReLU6 before equalization, `per_channel` gives every channel its own clip.
    equalize, absorb_bias, split_ratio
        sweeps of cross-layer equalization; absorption of large biases; share of input channels to duplicate.
    equalize_always, equalize_narrow
        equalize whatever the scheme; or also for activations of at most 6 bits. Otherwise only where a weight
        has one scale per tensor, or a layer is depthwise.
    per_tensor
        one scale per weight tensor, whatever the scheme says.
    rounding, target, act_order, refine
        of the weights of each layer: to `nearest`, by `gptq`, `adaround`, or row by row the best of all;
        towards the weights that undo the errors of earlier layers (`quantized`) or the float ones (`float`);
        columns by falling input energy; then single and double flips.
    rounding_up_to_bits
        weights of more bits are rounded to nearest.
    budget_terms, iso_terms
        of SVA weights: terms of the whole network, or as many as an integer Format such as INT4 spends.
    columns, sample
        inputs of a layer from which its rounding is found (or four times its weights per output, if that is
        more); values of an activation from which its range is found.
    reconstruct, reconstruct_loss, drop, iterations, reconstruct_up_to_bits
        of blocks, where some activation has at most so many bits: all rounding and steps of a block together,
        a share `drop` of quantized activations replaced by float ones in each step.
    bias_correction
        `analytic` from batch-norm statistics, `empirical` from the images.
    asymmetric_below_bits
        activations with negative values get a zero-point below so many bits.
    calibration_count, batch_size, synthetic_level
        images used, of those given the first; images at once; 1: no images at all, 2: images made from
        batch-norm statistics. `best` uses up to 1,024 images, and 512 are enough for it as well.
    prune
        `2:4` or `channels:0.3` before anything else.
    """

    weight_range: str = "mse(2.4)"
    activation_range: str = "auto"
    relu6: Literal["keep", "relu", "per_channel"] = "keep"
    equalize: int = 20
    equalize_always: bool = False
    equalize_narrow: bool = False
    per_tensor: bool = False
    absorb_bias: Literal["none", "unpadded", "padded"] = "none"
    split_ratio: float = 0.0
    rounding: Literal["nearest", "gptq", "adaround", "best_of"] = "nearest"
    target: Literal["quantized", "float"] = "quantized"
    act_order: bool = True
    refine: Literal["none", "flips"] = "none"
    rounding_up_to_bits: int = 16
    budget_terms: int = 0
    iso_terms: str = ""
    columns: int = 65536
    sample: int = 1 << 20
    reconstruct: Literal["none", "block"] = "none"
    reconstruct_loss: Literal["mse", "fisher"] = "fisher"
    reconstruct_up_to_bits: int = 6
    drop: float = 0.5
    iterations: int = 500
    bias_correction: Literal["none", "analytic", "empirical"] = "empirical"
    asymmetric_below_bits: int = 5
    calibration_count: int = 512
    batch_size: int = 64
    synthetic_level: Literal[0, 1, 2] = 0
    prune: str | None = None

    def __post_init__(self) -> None:
        hints = get_type_hints(PtqConfig)
        for field in dataclasses.fields(self):
            choices = get_args(hints[field.name])
            value = getattr(self, field.name)
            if choices and str(hints[field.name]).startswith("typing.Literal") and value not in choices:
                raise PtqError(
                    f"ptq: {field.name} must be one of {', '.join(map(str, choices))}; not {value!r}"
                )
        for name, low, high in _BOUNDS:
            value = getattr(self, name)
            whole = hints[name] is int
            number = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
            if not number or not low <= value <= high:
                kind = "a whole number " if whole else ""
                raise PtqError(f"ptq: {name} must be {kind}{low:g} .. {high:g}, not {value!r}")

    def to_json(self) -> dict[str, Any]:
        """The fields as a JSON document."""
        return dataclasses.asdict(self)

    @property
    def fingerprint(self) -> str:
        """A hash of all fields: two results of equal fingerprint, images and seed are equal.

        >>> PtqConfig().fingerprint == PtqConfig(rounding="nearest").fingerprint
        True
        """
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()[:16]


_BOUNDS = (
    ("equalize", 0, 1000),
    ("split_ratio", 0, 0.5),
    ("drop", 0, 1),
    ("iterations", 1, 10**7),
    ("rounding_up_to_bits", 0, 16),
    ("budget_terms", 0, 10**12),
    ("columns", 1, 10**9),
    ("sample", 1, 10**9),
    ("reconstruct_up_to_bits", 0, 16),
    ("asymmetric_below_bits", 0, 17),
    ("calibration_count", 1, 10**7),
    ("batch_size", 1, 10**5),
)

PRESETS: Mapping[str, PtqConfig] = {
    "fast": PtqConfig(rounding="gptq", rounding_up_to_bits=6, columns=8192, sample=1 << 17),
    "best": PtqConfig(
        activation_range="mse(2.4)",
        equalize_narrow=True,
        rounding="best_of",
        refine="flips",
        reconstruct="block",
        calibration_count=1024,
    ),
    "data-free": PtqConfig(
        relu6="relu",
        equalize_always=True,
        absorb_bias="unpadded",
        rounding="gptq",
        refine="flips",
        calibration_count=64,
        batch_size=32,
        synthetic_level=2,
    ),
}
"""`fast`: seconds; `best`: minutes; `data-free`: no images given."""


def preset_config(preset: str) -> PtqConfig:
    """The config of a preset; PtqError with the names for another one.

    >>> preset_config("fast").rounding
    'gptq'
    """
    if preset not in PRESETS:
        near = difflib.get_close_matches(str(preset), PRESETS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        raise PtqError(f"ptq: unknown preset {preset!r}{hint} There are: {', '.join(PRESETS)}")
    return PRESETS[preset]


def configured(config: PtqConfig, settings: Iterable[str]) -> PtqConfig:
    """`config` with fields set by texts `field=value`, as `--set` gives them.

    >>> configured(PRESETS["fast"], ["rounding=gptq", "drop=0.25"]).drop
    0.25
    """
    hints = get_type_hints(PtqConfig)
    changes: dict[str, Any] = {}
    for text in settings:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals:
            raise PtqError(f"ptq: a setting is FIELD=VALUE, not {text!r}")
        if name not in hints:
            near = difflib.get_close_matches(name, hints, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else "."
            raise PtqError(f"ptq: there is no field {name!r}{hint} Fields: {', '.join(hints)}")
        changes[name] = _value(name, value, getattr(config, name))
    return dataclasses.replace(config, **changes)


def _value(name: str, text: str, now: Any) -> Any:
    if name == "prune":
        return None if text.lower() in ("none", "") else text
    if isinstance(now, bool):
        if text.lower() not in ("true", "false", "1", "0", "yes", "no"):
            raise PtqError(f"ptq: {name} is true or false, not {text!r}")
        return text.lower() in ("true", "1", "yes")
    if isinstance(now, int | float):
        try:
            return type(now)(text)
        except ValueError:
            kind = "a whole number" if isinstance(now, int) else "a number"
            raise PtqError(f"ptq: {name} is {kind}, not {text!r}") from None
    return text
