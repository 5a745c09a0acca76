"""Recipes: everything that decides a training beside network, data, scheme and seed, as data.

`PRESETS` names them; SOURCES says where each comes from.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Literal, get_args

from bitjoule.scheme import Scheme

__all__ = [
    "PRESETS",
    "SCHEME_PRESETS",
    "SOURCES",
    "Loss",
    "Optimizer",
    "Recipe",
    "RecipeError",
    "Schedule",
    "recipe",
    "recipe_from_json",
    "scheme_recipe",
]

Optimizer = Literal["sgd", "adam"]
Schedule = Literal["cosine", "linear", "step", "constant", "moons2017"]
Loss = Literal["cross_entropy", "squared_hinge"]


AUGMENTS = ("none", "crop-flip", "crop", "flip", "shift")
"""Names of `zoo.data.AUGMENTATIONS`, here without torch."""


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


KINDS: Mapping[str, tuple[str, Callable[[object], bool]]] = {
    "float": ("a number", _is_number),
    "float | None": ("a number or None", lambda value: value is None or _is_number(value)),
    "int": ("a whole number", _is_integer),
    "int | None": ("a whole number or None", lambda value: value is None or _is_integer(value)),
    "bool": ("true or false", lambda value: isinstance(value, bool)),
    "tuple[float, ...]": (
        "a list of numbers",
        lambda value: isinstance(value, tuple) and all(_is_number(entry) for entry in value),
    ),
}
"""What a field of that annotation takes; every other field is a word."""


class RecipeError(ValueError):
    """A recipe that cannot be followed; the text names the field and what it takes."""


@dataclass(frozen=True)
class Recipe:
    """How to train.

    epochs
        passes over the training images; a fraction stops within a pass.
    lr, lr_batch
        peak learning rate at a batch of `lr_batch`; it is scaled by batch / lr_batch. None: as it is.
    schedule
        `cosine` and `linear` go to 0, `step` multiplies by `step_factor` at the shares `step_at` of the
        training, `moons2017` is lr / (1 + 2.5e-5 step) with the two cuts of the published code.
    warmup
        epochs over which the rate first rises from 0.
    clip_norm
        largest norm of the whole gradient, None for no limit.
    ema
        decay of the averaged weights that are validated and returned, None for the weights themselves. It
        starts at min(ema, (1 + step) / (10 + step)).
    distillation, temperature
        share a of the teacher in (1 - a) loss + a T^2 KL(teacher / T, student / T), used when a teacher is
        given.
    freeze_batch_norm
        last share of the training in which batch norm uses its running statistics and leaves them as they
        are.
    keep
        the weights that are returned: of the epoch with the `best` validation accuracy, or the `last`.
    mirrored_copy
        train on all images and their mirror images, which doubles an epoch (Moons 2017).
    glorot_lr
        divide each weight's rate by sqrt(1.5 / (fan_in + fan_out)) (BinaryConnect, Moons 2017).

    >>> Recipe(epochs=5, lr=0.1).rate
    0.1
    """

    epochs: float
    batch: int = 128
    optimizer: Optimizer = "sgd"
    lr: float = 0.01
    lr_batch: int | None = 128
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 1e-4
    schedule: Schedule = "cosine"
    step_at: tuple[float, ...] = (0.5, 0.75)
    step_factor: float = 0.1
    warmup: float = 0.0
    loss: Loss = "cross_entropy"
    label_smoothing: float = 0.0
    clip_norm: float | None = 5.0
    ema: float | None = None
    distillation: float = 0.9
    temperature: float = 2.0
    freeze_batch_norm: float = 0.0
    keep: Literal["best", "last"] = "best"
    augment: str = "none"
    mirrored_copy: bool = False
    glorot_lr: bool = False

    def __post_init__(self) -> None:
        self._refuse_types()
        for key, value, low, high in (
            ("epochs", self.epochs, 1e-6, 1e6),
            ("batch", self.batch, 1, 1e6),
            ("lr", self.lr, 1e-12, 1e3),
            ("momentum", self.momentum, 0, 0.9999),
            ("weight_decay", self.weight_decay, 0, 10),
            ("warmup", self.warmup, 0, self.epochs),
            ("label_smoothing", self.label_smoothing, 0, 0.9999),
            ("distillation", self.distillation, 0, 1),
            ("temperature", self.temperature, 1e-3, 1e3),
            ("freeze_batch_norm", self.freeze_batch_norm, 0, 1),
            ("ema", self.ema, 0, 0.999999),
            ("clip_norm", self.clip_norm, 1e-6, 1e9),
            ("lr_batch", self.lr_batch, 1, 1e6),
            ("step_factor", self.step_factor, 1e-9, 1e3),
        ):
            if value is not None and not low <= value <= high:
                raise RecipeError(f"recipe: {key} must be from {low:g} to {high:g}, not {value!r}")
        for key, word, allowed in (
            ("optimizer", self.optimizer, get_args(Optimizer)),
            ("schedule", self.schedule, get_args(Schedule)),
            ("loss", self.loss, get_args(Loss)),
            ("keep", self.keep, ("best", "last")),
            ("augment", self.augment, AUGMENTS),
        ):
            if word not in allowed:
                raise RecipeError(f"recipe: {key} must be one of {', '.join(allowed)}, not {word!r}")
        if self.loss == "squared_hinge" and self.label_smoothing:
            raise RecipeError("recipe: label_smoothing belongs to cross_entropy, not to squared_hinge")

        if not all(0 < at < 1 for at in self.step_at):
            raise RecipeError(
                f"recipe: step_at holds shares of the training between 0 and 1, not {list(self.step_at)}"
            )

    def _refuse_types(self) -> None:
        """A value of another type would fail, or be misread, in the middle of a training."""
        for field in fields(self):
            value = getattr(self, field.name)
            wanted, fits = KINDS.get(str(field.type), ("a text", lambda v: isinstance(v, str)))
            if not fits(value):
                raise RecipeError(
                    f"recipe: a field has the wrong type: {field.name} must be {wanted}, not {value!r}"
                )

    @property
    def rate(self) -> float:
        """Peak learning rate at this recipe's batch."""
        return self.lr if self.lr_batch is None else self.lr * self.batch / self.lr_batch

    def to_json(self) -> dict[str, object]:
        """A JSON document of every field; `recipe_from_json` reads it back."""
        return {
            key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()
        }


    def settings(self) -> dict[str, object]:
        """The fields that are not at their default, as JSON: a field that is added later changes no key.

        >>> Recipe(epochs=5, lr=0.1).settings()
        {'epochs': 5, 'lr': 0.1}
        """
        plain = Recipe(epochs=1e6)
        return {
            key: value
            for (key, value), default in zip(self.to_json().items(), plain.to_json().values(), strict=True)
            if value != default
        }


FLOAT_DEFAULT = Recipe(epochs=30, lr=0.1, weight_decay=5e-4, warmup=1.0)
QAT_DEFAULT = Recipe(epochs=5, lr=0.01, weight_decay=1e-4, ema=0.999, freeze_batch_norm=0.2)
MOONS2017 = Recipe(
    epochs=100,
    batch=64,
    optimizer="adam",
    lr=0.01,
    lr_batch=None,
    weight_decay=0.0,
    schedule="moons2017",
    loss="squared_hinge",
    clip_norm=None,
    mirrored_copy=True,
    glorot_lr=True,
)
MOONS_DEFAULT = replace(
    MOONS2017, epochs=30, schedule="cosine", loss="cross_entropy", mirrored_copy=False, clip_norm=5.0
)

PRESETS: Mapping[str, Recipe] = {
    "float_default": FLOAT_DEFAULT,
    "qat_default": QAT_DEFAULT,
    "qat_narrow": replace(QAT_DEFAULT, lr=0.05),
    "qat_2bit": replace(QAT_DEFAULT, lr=0.1),
    "binary_default": replace(
        QAT_DEFAULT, optimizer="adam", lr=1e-3, lr_batch=None, weight_decay=0.0, ema=None, epochs=20
    ),
    "moons2017": MOONS2017,
    "moons_default": MOONS_DEFAULT,
    "smoke": Recipe(epochs=1, batch=50, optimizer="adam", lr=1e-2, lr_batch=None, weight_decay=0.0),
    "cpu": replace(FLOAT_DEFAULT, epochs=8),
    "cpu_qat": replace(QAT_DEFAULT, epochs=4, ema=None),
}
"""Recipes by name."""

SCHEME_PRESETS = ("float_default", "moons_default", "binary_default", "qat_default", "qat_narrow", "qat_2bit")
"""The presets that `scheme_recipe` chooses from."""

SOURCES: Mapping[str, str] = {
    "float_default": "own; rate and decay of the fp32 nets in yhhhli/APoT_Quantization",
    "qat_default": "own; from a trained float network, 8 bits and more",
    "qat_narrow": "own; 3 to 7 bits, checked in docs/training.md",
    "qat_2bit": "own; 2 bits, checked in docs/training.md",
    "binary_default": "own; Adam as in most binary-network papers",
    "moons2017": "BertMoons/QuantizedNeuralNetworks-Keras-Tensorflow, published code",
    "moons_default": "own; moons2017 for tens of epochs: cross-entropy learns faster than the squared hinge",
    "smoke": "own; a minute on two cores",
    "cpu": "own; minutes on two cores, float32",
    "cpu_qat": "own; minutes on two cores, quantized after `cpu`",
}
"""Where each preset comes from."""


def recipe(name: str, **changes: float | int | str | bool | None) -> Recipe:
    """The preset `name` with some fields changed; RecipeError names the nearest preset or field.

    >>> recipe("qat_default", epochs=2).epochs
    2
    """
    if name not in PRESETS:
        near = difflib.get_close_matches(name, PRESETS, n=1, cutoff=0.0)
        raise RecipeError(f"unknown recipe {name!r}, did you mean {near[0]!r}? Recipes: {', '.join(PRESETS)}")
    return recipe_from_json(changes, PRESETS[name])


def recipe_from_json(document: Mapping[str, object], default: Recipe = QAT_DEFAULT) -> Recipe:
    """`default` with the fields of `document` put over it; an unknown field raises RecipeError.

    >>> recipe_from_json({"epochs": 3, "lr": 0.02}).lr
    0.02
    """
    known = {field.name: getattr(default, field.name) for field in fields(Recipe)}
    changed: dict[str, object] = {}
    for key, value in document.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.0)
            raise RecipeError(
                f"recipe has no field {key!r}, did you mean {near[0]!r}? Fields: {', '.join(known)}"
            )
        changed[key] = tuple(value) if isinstance(value, list) else value
    try:
        return replace(default, **changed)  # type: ignore[arg-type]
    except TypeError as error:
        raise RecipeError(f"recipe: a field has the wrong type ({error})") from None


def scheme_recipe(scheme: Scheme, epochs: float, *, scratch: bool = False) -> Recipe:
    """The default recipe of a scheme: float, quantized from a float parent or from `scratch`, binary, Moons'
    own. From a parent the narrowest of weights and activations decides the rate.

    >>> from bitjoule.scheme import parse_scheme
    >>> scheme_recipe(parse_scheme("w4a4"), 3).lr
    0.05
    """
    if scheme.is_float32:
        found = PRESETS["float_default"]
    elif scheme.precision.weight.startswith("MOONS"):
        found = PRESETS["moons_default"]
    elif scheme.precision.weight_bits == 1:
        found = PRESETS["binary_default"]
    elif scratch:
        found = replace(PRESETS["float_default"], freeze_batch_norm=0.2)
    else:
        bits = min(scheme.precision.weight_bits, scheme.precision.activation_bits)
        found = PRESETS["qat_default" if bits >= 8 else "qat_narrow" if bits >= 3 else "qat_2bit"]
    return replace(found, epochs=epochs, warmup=min(found.warmup, epochs / 5))
