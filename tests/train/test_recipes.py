"""Recipes are data: presets with sources, JSON there and back, errors that say what a field takes."""

import dataclasses
import json
import math

import pytest
import torch

from bitjoule.scheme import parse_scheme
from bitjoule.train.course import train_under
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


def fields_of(name, *fields):
    return tuple(getattr(PRESETS[name], field) for field in fields)


def test_the_table_of_published_recipes():
    """Spec training.md 4.1."""
    sgd = ("optimizer", "momentum", "nesterov", "clip_norm", "ema")
    for name in ("apot_cifar", "apot_cifar_2bit", "lsq_imagenet", "mbv2_osc"):
        assert fields_of(name, *sgd) == ("sgd", 0.9, False, None, None)
    course = ("epochs", "batch", "lr", "lr_batch", "weight_decay", "schedule")
    assert fields_of("apot_cifar", *course) == (300, 128, 0.1, None, 5e-4, "step")
    assert fields_of("apot_cifar", "step_at", "step_factor", "augment") == ((0.5, 0.75), 0.1, "crop-flip")
    for bits, decay in ((4, 1e-4), (3, 1e-4), (2, 3e-5)):
        assert fields_of(f"apot_cifar_{bits}bit", *course) == (300, 128, 0.04, None, decay, "step")
    quantizers = ("weight_quantizer_lr", "activation_quantizer_lr", "quantizer_decay", "quantizer_optimizer")
    assert fields_of("apot_cifar", *quantizers) == (None, None, None, "same")
    assert fields_of("apot_cifar_2bit", *quantizers) == (0.02, 0.1, 1e-4, "same")
    assert fields_of("lsq_imagenet", *course) == (90, 512, 0.01, None, 1e-4, "cosine")
    assert fields_of("mbv2_osc", *course[2:]) == (0.0033, None, 2.5e-5, "cosine")
    assert fields_of("mbv2_osc", *quantizers) == (1e-5, 1e-5, 0.0, "adam")
    assert fields_of("mbv2_osc_freeze", "lr", "weight_decay") == (0.0033, 5e-5)
    assert fields_of("mbv2_osc_3bit", "lr", "weight_decay") == (0.01, 2.5e-5)
    assert fields_of("reactnet18", *course) == (256, 512, 2.5e-3, None, 0.0, "linear")
    assert fields_of("bireal18", *course) == (256, 512, 1e-3, None, 0.0, "linear")
    assert fields_of("bnn_pynq", *course) == (500, 100, 0.02, None, 0.0, "constant")
    assert fields_of("bnn_pynq_1w1a", "epochs", "loss", "optimizer") == (1000, "squared_hinge", "adam")


def test_the_budgets_of_a_gpu():
    """Spec training.md 4.2."""
    assert fields_of("gpu", "epochs", "batch", "rate", "schedule", "bf16") == (60, 512, 0.4, "onecycle", True)
    assert fields_of("gpu_qat", "epochs", "batch", "bf16", "ema") == (20, 512, True, 0.999)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_trains_a_step_on_digits(conv, few, name):
    scheme = {"moons": "moons-4", "apot_": "wAPOT4aUAPOT4", "react": "w1a1+double_residual+rprelu"}
    chosen = next((found for start, found in scheme.items() if name.startswith(start)), "w1a1")
    if name in ("float_default", "cpu", "gpu", "apot_cifar"):
        chosen = "float32"
    elif name.startswith(("qat", "cpu", "gpu", "lsq", "mbv2", "tqt")):
        chosen = "w4a4"
    settings = recipe(name, epochs=0.2, warmup=0.0, batch=50, augment="none", keep="last")
    result = train_under(conv, few, chosen, settings, seed=0)
    assert result.status == "done" and math.isfinite(result.history[0].loss)
    before = conv.state_dict()["classifier.weight"]
    assert not torch.equal(result.network.state_dict()["classifier.weight"], before)


def test_new_fields_change_no_key_of_a_training():
    """Studies key trainings by what a recipe changes, and checkpoints outlive fields."""
    assert PRESETS["qat_default"].settings() == {
        "epochs": 5,
        "ema": 0.999,
        "freeze_batch_norm": 0.2,
    }


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
        ({"quantizer_optimizer": "sgd"}, "recipe: quantizer_optimizer must be one of same, adam, not 'sgd'"),
        ({"threshold_lr": 0.0}, "recipe: threshold_lr must be from 1e-12 to 1000, not 0.0"),
        ({"bf16": 1}, "recipe: a field has the wrong type: bf16 must be true or false, not 1"),
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


def test_epochs_of_a_text_are_refused() -> None:
    with pytest.raises(RecipeError, match="recipe: epochs must be a number, not '2'"):
        scheme_recipe(parse_scheme("w4a4"), "2")  # type: ignore[arg-type]
