"""Repairs over a recipe."""

import pytest

from bitjoule.quant.repairs import TWO_STAGE, repair_settings
from bitjoule.train import recipe
from bitjoule.train.repaired_recipe import needs_teacher, repaired_recipe, settings_of


@pytest.mark.parametrize(
    ("repairs", "preset", "expected"),
    [
        ("", "qat_default", ("sgd", 0.01, 128, 1e-4, 0.999)),
        ("+grad=approx+rprelu", "qat_default", ("sgd", 0.01, 128, 1e-4, 0.999)),
        ("+adam", "qat_default", ("adam", 1e-3, None, 1e-4, 0.999)),
        ("+adam", "smoke", ("adam", 1e-2, None, 0.0, None)),
        ("+sgd+decay", "binary_default", ("sgd", 0.1, 128, 1e-4, None)),
        ("+sgd", "qat_default", ("sgd", 0.01, 128, 1e-4, 0.999)),
        ("+bop", "qat_default", ("adam", 1e-3, None, 0.0, None)),
    ],
)
def test_fields(repairs, preset, expected):
    found = repaired_recipe(recipe(preset), repair_settings(f"w1a1{repairs}"))
    assert (found.optimizer, found.lr, found.lr_batch, found.weight_decay, found.ema) == expected
    if not repairs or repairs.startswith("+grad"):
        assert found is recipe(preset) or found == recipe(preset)


def test_stages_have_decays_of_their_own():
    settings = repair_settings("w1a1+two_stage")
    found = [repaired_recipe(recipe("qat_default"), settings, stage).weight_decay for stage in TWO_STAGE]
    assert found == [1e-5, 0.0]


def test_a_network_without_a_scheme_has_no_repairs():
    assert settings_of(None) == repair_settings("w4a4") and not needs_teacher(None)
