"""`bitjoule recipes` and the presets of `bitjoule train`."""

import json

import pytest
import torch

from bitjoule.train.recipes import PRESETS, recipe_from_json
from tests.cli.run import bitjoule


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_every_preset_is_listed_with_what_it_changes():
    rows = bitjoule("recipes", "list").stdout.splitlines()
    assert [row.split()[0] for row in rows if row.split() and row.split()[0] in PRESETS] == list(PRESETS)
    document = json.loads(bitjoule("recipes", "list", "--json").stdout)
    found = {
        entry["name"]: recipe_from_json(entry["recipe"], PRESETS["cpu"]) for entry in document["recipes"]
    }
    assert found.keys() == PRESETS.keys()
    assert all(entry["source"] for entry in document["recipes"])


def test_a_preset_is_shown_with_its_source():
    shown = bitjoule("recipes", "show", "apot_cifar_2bit").stdout
    assert shown.startswith("apot_cifar_2bit: yhhhli/APoT_Quantization")
    assert any(row.split() == ["activation_quantizer_lr", "0.1"] for row in shown.splitlines())
    assert any(row.split() == ["epochs", "300"] for row in shown.splitlines())
    assert any(row.split() == ["batch", "128", "default"] for row in shown.splitlines())
    document = json.loads(bitjoule("recipes", "show", "reactnet18", "--json").stdout)
    assert "ResNet-34" in document["source"] and document["recipe"] == PRESETS["reactnet18"].to_json()
    wrong = bitjoule("recipes", "show", "reactnet", code=2).stderr
    assert wrong.startswith("error: unknown recipe 'reactnet', did you mean 'reactnet18'?")


def test_train_with_presets_and_the_parent_as_teacher():
    short = (
        "train",
        "tfc",
        "--width",
        "0.5",
        "--scheme",
        "w4a4",
        "--json",
        "--quiet",
        "--parent-epochs",
        "1",
    )

    def trained(*more):
        return {**json.loads(bitjoule(*short, *more).stdout), "seconds": 0}

    plain = trained("--epochs", "1")
    assert trained("--epochs", "1", "--preset", "qat_narrow") == plain
    smoke = trained("--preset", "smoke")
    assert smoke["epochs"] == 1 and smoke["accuracy_test"] != plain["accuracy_test"]
    assert trained("--epochs", "1", "--parent-preset", "cpu") == plain  # its warm-up is shorter than before
    taught = trained("--epochs", "1", "--teacher", "parent", "--preset", "qat_2bit")
    alone = trained("--epochs", "1", "--preset", "qat_2bit")
    assert taught["accuracy_validation"] != alone["accuracy_validation"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--preset", "qat"), "error: unknown recipe 'qat', did you mean "),
        (("--teacher", "mother"), "error: --teacher must be 'parent' or left out, not 'mother'"),
        (
            ("--teacher", "parent", "--parent-epochs", "0", "--scheme", "w4a4"),
            "error: teacher 'parent' of scheme w4a4: no float parent is trained; give parent_epochs > 0",
        ),
    ],
)
def test_bad_input_is_said_in_a_line(arguments, text):
    done = bitjoule("train", "tfc", "--epochs", "1", *arguments, code=2)
    assert done.stderr.startswith(text) and done.stdout == ""
