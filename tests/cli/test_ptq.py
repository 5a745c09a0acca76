"""`bitjoule ptq` on a network trained for a moment on the embedded digits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import bitjoule as bj
from bitjoule import zoo
from bitjoule.network import capture
from bitjoule.train import train_network
from tests.cli.run import bitjoule


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    data = zoo.load_dataset("digits")
    net = capture(zoo.build("tfc", {"inputs": 64}, 0), input_shape=(1, 1, 8, 8), name="tfc")
    train_network(net, data, "float32", epochs=2, parent_epochs=0, workdir=folder)
    return folder / "weights.safetensors"


def test_accuracy_card_and_plot(weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ["ptq", "tfc", "--weights", str(weights), "--scheme", "w4a8[first=same,last=same]"]
    arguments += ["--count", "64", "--evaluate", "--sensitivity", "kl", "-o", str(out), "--json", "-q"]
    found = bitjoule(*arguments)
    document = json.loads(found.stdout)
    assert document["images"] == 64 and document["float_accuracy"] - document["accuracy"] < 0.1
    card = json.loads((out / "card.json").read_text())
    assert card["schema"] == "bitjoule.ptq/1" and card["scheme"] == "w4a8[first=same,last=same]"
    assert (out / "sensitivity.svg").read_text().startswith("<svg")


def test_within_a_budget(weights: Path) -> None:
    arguments = ["ptq", "tfc", "--weights", str(weights), "--count", "64", "--json", "-q"]
    net = capture(zoo.build("tfc", {"inputs": 64}, 0), input_shape=(1, 1, 8, 8), name="tfc")
    budget = 0.8 * bj.energy(net, "int8", "moons-4mb").energy_uj
    found = bitjoule(*arguments, "--budget-uj", f"{budget:.9f}", "--hardware", "moons-4mb")
    document = json.loads(found.stdout)
    assert document["energy_uj"] <= budget * (1 + 1e-9) and document["solver"] == "proven"
    assert -1 <= document["kendall_tau"] <= 1 and document["kendall_points"] == len(document["front"]) >= 3
    energies = [row["energy_uj"] for row in document["front"]]
    assert (
        energies == sorted(energies)
        and document["front"][0]["real_loss"] > document["front"][-1]["real_loss"]
    )


@pytest.mark.parametrize("kind", ["sqnr", "fisher"])
def test_every_kind_of_sensitivity_leads_to_a_scheme(weights: Path, tmp_path: Path, kind: str) -> None:
    """Decibels do not add up, and curvatures are of weights alone."""
    arguments = ["ptq", "tfc", "--weights", str(weights), "--count", "64", "--json", "-q", "--compare", "0"]
    net = capture(zoo.build("tfc", {"inputs": 64}, 0), input_shape=(1, 1, 8, 8), name="tfc")
    budget = 0.8 * bj.energy(net, "int8", "moons-4mb").energy_uj
    limits = ["--budget-uj", f"{budget:.9f}", "--hardware", "moons-4mb", "--sensitivity", kind]
    found = json.loads(bitjoule(*arguments, *limits, "-o", str(tmp_path)).stdout)
    assert found["solver"] == "proven" and found["energy_uj"] <= budget * (1 + 1e-9)
    assert found["predicted_loss"] > 0 and found["energy_uj"] > 0.5 * budget
    rows = json.loads((tmp_path / "card.json").read_text())["sensitivities"]["rows"]
    assert {row["role"] for row in rows} == {"weight", "activation"}


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            ["tfc"],
            "ptq: tfc needs trained weights; give --weights FILE (bitjoule train tfc -o FOLDER makes one)",
        ),
        (["tfc", "--preset", "bst"], "ptq: unknown preset 'bst'; did you mean 'best'?"),
        (["tfc", "--set", "drop=x"], "ptq: drop is a number, not 'x'"),
        (["tfc", "--budget-uj", "1"], "--budget-uj and --hardware go together"),
    ],
)
def test_bad_input(arguments: list[str], text: str) -> None:
    assert text in bitjoule("ptq", *arguments, code=2).stderr
