"""What the training repairs of a Scheme change: quantizers, recipe fields, stages, losses. Data only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bitjoule.quant.config import Gradient, Normalize, QuantizerConfig
from bitjoule.quant.repairs.stages import TWO_STAGE, Stage
from bitjoule.scheme import Scheme, parse_scheme

__all__ = ["RepairSettings", "repair_settings"]

NORMALIZE: Mapping[str, Normalize] = {
    "weight_norm": "standardize",
    "weight_center": "center",
    "libra": "libra",
}
GRADIENTS: tuple[Gradient, ...] = ("approx", "swish", "eda", "identity")
LATENT_DECAY = 1e-4
"""Decay of `decay` on latent weights [assumed]."""


@dataclass(frozen=True)
class RepairSettings:
    """The training side of a Scheme's repairs.

    `weight`, `activation`: configs of the one-bit quantizers. `recipe`: fields of a Recipe that change.
    `stages`: trainings one after another, () for a single one. `labels`: False where the loss is the
    teacher's distribution alone. `attention`: match the teacher's attention maps. `flips`: binary weights are
    trained by `Bop`, and no average of weights is kept.
    """

    weight: QuantizerConfig = field(default_factory=lambda: QuantizerConfig("binary"))
    activation: QuantizerConfig = field(default_factory=lambda: QuantizerConfig("binary"))
    recipe: Mapping[str, object] = field(default_factory=dict)
    stages: tuple[Stage, ...] = ()
    labels: bool = True
    attention: bool = False
    flips: bool = False


def repair_settings(scheme: Scheme | str) -> RepairSettings:
    """What the repairs of `scheme` change in a training.

    The pseudo-gradient is that of activations; `eda` is IR-Net's, for weights as well unless they flip, for
    it would let no gradient through at -1 and +1.

    >>> settings = repair_settings("w1a1+grad=approx+scale_xnor+two_stage")
    >>> settings.activation.gradient, settings.weight.magnitude, len(settings.stages)
    ('approx', True, 2)
    """
    repairs = (parse_scheme(scheme) if isinstance(scheme, str) else scheme).repairs
    gradient: Gradient = next((name for name in GRADIENTS if f"grad={name}" in repairs), "default")
    normalize: Normalize = next((value for name, value in NORMALIZE.items() if name in repairs), "none")
    recipe: dict[str, object] = {}
    if "adam" in repairs or "bop" in repairs:
        recipe["optimizer"] = "adam"
    if "sgd" in repairs:
        recipe["optimizer"] = "sgd"
    if "decay" in repairs:
        recipe["weight_decay"] = LATENT_DECAY
    if "bop" in repairs:
        recipe |= {"weight_decay": 0.0, "ema": None}
    if "teacher" in repairs:
        recipe |= {"distillation": 1.0, "temperature": 1.0}
    return RepairSettings(
        weight=QuantizerConfig(
            "binary",
            gradient="eda" if gradient == "eda" and "bop" not in repairs else "default",
            normalize=normalize,
            magnitude="scale_xnor" in repairs,
        ),
        activation=QuantizerConfig("binary", gradient=gradient),
        recipe=recipe,
        stages=TWO_STAGE if "two_stage" in repairs else (),
        labels="teacher" not in repairs,
        attention="attention_match" in repairs,
        flips="bop" in repairs,
    )
