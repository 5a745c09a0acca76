"""Recipes by name, changed field by field, read from JSON, and chosen by a scheme.

The presets stand in `presets.py`, what a Recipe can say in `recipe_fields.py`.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import fields, replace

from bitjoule.scheme import Scheme
from bitjoule.train.presets import PRESETS, QAT_DEFAULT, SCHEME_PRESETS, SOURCES
from bitjoule.train.recipe_fields import AUGMENTS, Loss, Optimizer, Recipe, RecipeError, Schedule

__all__ = [
    "AUGMENTS",
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
    if isinstance(epochs, bool) or not isinstance(epochs, int | float):
        raise RecipeError(f"recipe: epochs must be a number, not {epochs!r}")
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
