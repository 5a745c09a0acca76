"""Recipes are data: presets with sources, JSON there and back, errors that say what a field takes."""

import dataclasses
import json

import pytest

from bitjoule.scheme import parse_scheme
from bitjoule.train.recipes import (
    PRESETS,
    SOURCES,
    Recipe,
    RecipeError,
    recipe,
    recipe_from_json,
    scheme_recipe,
)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_has_a_source_and_survives_json(name):
    assert SOURCES[name]
    document = json.loads(json.dumps(PRESETS[name].to_json()))
    assert recipe_from_json(document) == PRESETS[name]


def test_the_table_of_presets():
    """Spec training.md 4.1 and 4.2."""
    moons = PRESETS["moons2017"]
    assert (moons.optimizer, moons.lr, moons.batch, moons.epochs) == ("adam", 0.01, 64, 100)
    assert (moons.loss, moons.mirrored_copy, moons.keep) == ("squared_hinge", True, "best")
    own = PRESETS["qat_default"]
    assert (own.optimizer, own.momentum, own.nesterov, own.schedule) == ("sgd", 0.9, True, "cosine")
    assert (own.lr, own.lr_batch, own.label_smoothing, own.clip_norm) == (0.01, 128, 0.0, 5.0)
    assert (own.ema, own.freeze_batch_norm) == (0.999, 0.2)
    assert (own.distillation, own.temperature) == (0.9, 2.0)
    assert (PRESETS["cpu"].epochs, PRESETS["cpu_qat"].epochs, PRESETS["smoke"].epochs) == (8, 4, 1)


def test_the_rate_follows_the_batch():
    assert Recipe(epochs=1, lr=0.01, batch=256).rate == pytest.approx(0.02)
    assert Recipe(epochs=1, lr=0.01, batch=256, lr_batch=None).rate == 0.01


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"epochs": 0}, "recipe: epochs must be from 1e-06 to 1e+06, not 0"),
        ({"batch": 0}, "recipe: batch must be from 1 to 1e+06, not 0"),
        ({"epochs": 2, "warmup": 3.0}, "recipe: warmup must be from 0 to 2, not 3.0"),
        ({"optimizer": "lion"}, "recipe: optimizer must be one of sgd, adam, not 'lion'"),
        (
            {"schedule": "poly"},
            "recipe: schedule must be one of cosine, linear, step, constant, onecycle, moons2017, not 'poly'",
        ),
        (
            {"loss": "squared_hinge", "label_smoothing": 0.1},
            "recipe: label_smoothing belongs to cross_entropy, not to",
        ),
        ({"rate": 0.1}, "recipe has no field 'rate', did you mean "),
        ({"lr": "fast"}, "recipe: a field has the wrong type"),
    ],
)
def test_errors(changes, text):
    with pytest.raises(RecipeError) as error:
        recipe("float_default", **changes)
    assert str(error.value).startswith(text)


def test_unknown_preset_names_the_nearest():
    with pytest.raises(RecipeError) as error:
        recipe("qat_defualt")
    assert str(error.value).startswith(
        "unknown recipe 'qat_defualt', did you mean 'qat_default'? Recipes: float_"
    )


@pytest.mark.parametrize(
    ("scheme", "expected"),
    [
        ("float32", "float_default"),
        ("int8", "qat_default"),
        ("w8a16", "qat_default"),
        ("fp16", "qat_default"),
        ("w4a4", "qat_narrow"),
        ("hpr-w3a3", "qat_narrow"),
        ("w8a7", "qat_narrow"),
        ("w2a2", "qat_2bit"),
        ("w8a2", "qat_2bit"),
        ("w2a8", "qat_2bit"),
        ("w4a1", "qat_2bit"),
        ("w1a1", "binary_default"),
        ("moons-4", "moons_default"),
    ],
)
def test_scheme_recipe(scheme, expected):
    found = scheme_recipe(parse_scheme(scheme), 3)
    assert found.epochs == 3
    assert (found.lr, found.optimizer, found.loss) == (
        PRESETS[expected].lr,
        PRESETS[expected].optimizer,
        PRESETS[expected].loss,
    )


def test_fewer_bits_take_larger_steps():
    """Measured: docs/training.md."""
    found = {bits: scheme_recipe(parse_scheme(f"w{bits}a{bits}"), 3).lr for bits in range(2, 9)}
    assert found == {2: 0.1, 3: 0.05, 4: 0.05, 5: 0.05, 6: 0.05, 7: 0.05, 8: 0.01}


def test_from_scratch_a_quantized_network_takes_the_rate_of_a_float_one():
    found = scheme_recipe(parse_scheme("w4a4"), 3, scratch=True)
    assert (found.lr, found.freeze_batch_norm) == (0.1, 0.2)


def test_recipes_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        PRESETS["smoke"].epochs = 2
