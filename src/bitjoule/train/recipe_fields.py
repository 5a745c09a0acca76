"""A Recipe: everything that decides a training beside network, data, scheme and seed, as data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Literal, get_args

__all__ = ["AUGMENTS", "Loss", "Optimizer", "QuantizerOptimizer", "Recipe", "RecipeError", "Schedule"]

Optimizer = Literal["sgd", "adam"]
QuantizerOptimizer = Literal["same", "adam"]
Schedule = Literal["cosine", "linear", "step", "constant", "onecycle", "moons2017"]
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
        training, `onecycle` rises to the peak in the first 30 % and falls to nearly 0 (Smith 2018, arXiv
        1803.09820; shape and numbers of torch's OneCycleLR), `moons2017` is lr / (1 + 2.5e-5 step) with the
        two cuts of the published code.
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
    weight_quantizer_lr, activation_quantizer_lr
        peak rate of the parameters of weight and activation quantizers, at any batch; they follow the
        schedule. None: that of everything else.
    quantizer_decay
        decay of the parameters of quantizers. None: clips that decay (pact, apot) have `weight_decay`, others
        none.
    quantizer_optimizer
        `same`, or `adam` for the parameters of quantizers alone.
    threshold_lr
        log2 t of `tqt` by an Adam of its own that starts at this rate and halves it every 1000 steps down to
        a tenth (Jain 2020: 0.01). None: with the parameters of the other quantizers.
    bf16
        run network and teacher under autocast to bfloat16 where the weights are on a CUDA device; quantizers
        compute scales and quotients in float32, losses and weights stay float32. Elsewhere nothing changes.

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
    weight_quantizer_lr: float | None = None
    activation_quantizer_lr: float | None = None
    quantizer_decay: float | None = None
    quantizer_optimizer: QuantizerOptimizer = "same"
    threshold_lr: float | None = None
    bf16: bool = False

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
            ("weight_quantizer_lr", self.weight_quantizer_lr, 1e-12, 1e3),
            ("activation_quantizer_lr", self.activation_quantizer_lr, 1e-12, 1e3),
            ("quantizer_decay", self.quantizer_decay, 0, 10),
            ("threshold_lr", self.threshold_lr, 1e-12, 1e3),
        ):
            if value is not None and not low <= value <= high:
                raise RecipeError(f"recipe: {key} must be from {low:g} to {high:g}, not {value!r}")
        for key, word, allowed in (
            ("optimizer", self.optimizer, get_args(Optimizer)),
            ("schedule", self.schedule, get_args(Schedule)),
            ("loss", self.loss, get_args(Loss)),
            ("keep", self.keep, ("best", "last")),
            ("quantizer_optimizer", self.quantizer_optimizer, get_args(QuantizerOptimizer)),
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
