"""What the repairs of a scheme make of a recipe, and whether they have the teacher they need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from bitjoule.quant.repairs import RepairSettings, Stage, repair_settings
from bitjoule.scheme import TAUGHT, RepairError, Scheme
from bitjoule.train.recipes import Recipe, recipe_from_json

__all__ = ["needs_teacher", "refuse_missing_teacher", "repaired_recipe", "settings_of"]

RATES: Mapping[str, Mapping[str, object]] = {
    "adam": {"lr": 1e-3, "lr_batch": None},
    "sgd": {"lr": 0.1, "lr_batch": 128},
}
"""Rates that come with an optimizer which is not the recipe's: those of `binary_default` and `qat_2bit`."""


def settings_of(scheme: Scheme | None) -> RepairSettings:
    """`repair_settings`; of a network without a scheme those that change nothing."""
    return RepairSettings() if scheme is None else repair_settings(scheme)


def repaired_recipe(recipe: Recipe, settings: RepairSettings, stage: Stage | None = None) -> Recipe:
    """`recipe` with the fields of the repairs over it, and the decay of the stage over those.

    A repair that puts another optimizer in the place of the recipe's brings a rate with it.

    >>> from bitjoule.train import recipe
    >>> found = repaired_recipe(recipe("binary_default"), repair_settings("w1a1+sgd"))
    >>> found.optimizer, found.lr
    ('sgd', 0.1)
    """
    changes = dict(settings.recipe)
    optimizer = changes.get("optimizer")
    if optimizer is not None and optimizer != recipe.optimizer:
        changes |= RATES[str(optimizer)]
    if changes:
        recipe = recipe_from_json(changes, recipe)
    return recipe if stage is None else replace(recipe, weight_decay=stage.weight_decay)


def needs_teacher(scheme: Scheme | None) -> bool:
    """Whether a repair of `scheme` cannot do without a teacher.

    >>> from bitjoule.scheme import parse_scheme
    >>> needs_teacher(parse_scheme("w1a1+teacher")), needs_teacher(parse_scheme("w1a1"))
    (True, False)
    """
    settings = settings_of(scheme)
    return settings.attention or not settings.labels


def refuse_missing_teacher(scheme: Scheme | None) -> None:
    """RepairError where a repair needs a teacher; call it when there is none."""
    if scheme is None or not needs_teacher(scheme):
        return
    names = [name for name in scheme.repairs if name in TAUGHT]
    raise RepairError(
        f"scheme {scheme}: {' and '.join(names)} need{'s' if len(names) == 1 else ''} a teacher and there is "
        "none; give one (train(..., teacher=net)), or let a float parent be trained first "
        "(train_network with parent_epochs > 0; in a study init 'parent')"
    )
