"""`bitjoule ptq` on a network trained for a moment on the embedded digits."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import bitjoule as bj
from bitjoule import zoo
from bitjoule.network import capture
from bitjoule.train import train_network
from bitjoule.train.accuracy import measure
from bitjoule.train.ptq.load import load_quantized
from tests.cli.run import bitjoule


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Threads beyond the cores that are free wait for each other most of the time."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


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


def test_noise_of_the_front_is_no_decibels(weights: Path) -> None:
    """Predicted and real losses have one unit: noise power over signal power."""
    arguments = ["ptq", "tfc", "--weights", str(weights), "--count", "64", "--json", "-q", "--compare", "2"]
    limits = ["--budget-uj", "1", "--hardware", "moons-4mb", "--sensitivity", "sqnr"]
    found = json.loads(bitjoule(*arguments, *limits).stdout)
    for row in found["front"]:
        assert 0.2 < row["real_loss"] / row["predicted_loss"] < 5


def test_the_way_back(weights: Path, tmp_path: Path) -> None:
    """The folder that the command wrote, priced by the next command and loaded in Python."""
    out = tmp_path / "out"
    found = bitjoule(
        "ptq", "tfc", "--weights", str(weights), "--scheme", "w4a4", "--count", "64", "-q", "-o", str(out)
    )
    assert sorted(file.name for file in out.iterdir()) == [
        "card.json",
        "weights.safetensors",
        "workload.json",
    ]
    assert (
        f"written: {out} (bitjoule energy {out / 'workload.json'} --hardware NAME prices it)" in found.stdout
    )
    assert "were normalised as" not in found.stderr
    priced = json.loads(bitjoule("energy", str(out / "workload.json"), "--json").stdout)
    assert priced["workload"]["weight_bits"] < 8 * priced["workload"]["weights"]
    model = zoo.build("tfc", {"inputs": 64}, 1)
    net = load_quantized(out, capture(model, input_shape=(1, 1, 8, 8), name="tfc").eval())
    data = zoo.load_dataset("digits")
    assert measure(net, data.test, data.preprocessing).fraction > 0.5
    assert net.quantization_report.images == 64


def test_data_free_opens_no_data(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def guarded(*_args: object, **_more: object) -> zoo.Dataset:
        raise AssertionError("the dataset was opened")

    monkeypatch.setattr(zoo, "load_dataset", guarded)
    arguments = ["ptq", "tfc", "--weights", str(weights), "--preset", "data-free", "--json", "-q"]
    arguments += ["--set", "synthetic_level=1", "--set", "bias_correction=analytic"]
    document = json.loads(bitjoule(*arguments, "--set", "rounding=nearest", "--set", "refine=none").stdout)
    assert document["images"] == 0 and document["accuracy"] is None
    assert "the dataset was opened" in bitjoule(*arguments, "--evaluate", code=1).stderr


def test_best_takes_1024_images(weights: Path) -> None:
    cheap = ["--set", "reconstruct=none", "--set", "rounding=nearest", "--set", "refine=none"]
    arguments = ["ptq", "tfc", "--weights", str(weights), "--preset", "best", "--json", "-q", *cheap]
    assert json.loads(bitjoule(*arguments).stdout)["images"] == 1024
    assert json.loads(bitjoule(*arguments, "--count", "600").stdout)["images"] == 600


def test_bad_input_that_is_found_with_weights(weights: Path, tmp_path: Path) -> None:
    arguments = ["ptq", "tfc", "--weights", str(weights), "--count", "64", "-q"]
    found = bitjoule(*arguments, "--budget-uj", "1e-6", "--hardware", "moons-4mb", code=2).stderr
    assert re.fullmatch(
        r"error: ptq: --budget-uj 1e-06 is below [0-9.]+ uJ, the least that tfc takes on moons-4mb at any "
        r"choice of widths; give at least that, or another --hardware\n",
        found,
    )
    found = bitjoule(*arguments, "--budget-uj", "1", "--hardware", "moons-4bm", code=2).stderr
    assert "moons-4bm: is no preset" in found
    found = bitjoule("ptq", "sfc", "--weights", str(weights), "-q", code=2).stderr
    assert "these weights are not of this" in found and "Build the network with the options" in found
    assert "Here --data digits makes it a network of 10 classes for images of 1 x 8 x 8" in found
    found = bitjoule(*arguments, "--scheme", "w4a4x", code=2).stderr
    assert "unknown scheme 'w4a4x', did you mean 'w4a4'?" in found
    found = bitjoule("ptq", "tfc", "--weights", str(tmp_path / "none.safetensors"), "-q", code=2).stderr
    assert "none.safetensors': expected a .safetensors file or a torch checkpoint" in found
    found = bitjoule(*arguments, "-o", str(weights), code=2).stderr
    assert f"ptq: --output {weights} is a file; give a folder" in found
    found = bitjoule(*arguments, "-o", str(weights / "out"), code=2).stderr
    assert f"ptq: --output {weights / 'out'}: this folder cannot be made (Not a directory); give one" in found


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            ["tfc"],
            "ptq: tfc needs trained weights; give --weights FILE (bitjoule train tfc -o FOLDER makes one)",
        ),
        (["tfc", "--preset", "bst"], "ptq: unknown preset 'bst'; did you mean 'best'?"),
        (["tfc", "--set", "drop=x"], "ptq: drop is a number, not 'x'"),
        (["tfc", "--set", "roundng=gptq"], "ptq: there is no field 'roundng'; did you mean 'rounding'?"),
        (["tfc", "--budget-uj", "1"], "ptq: --budget-uj and --hardware go together"),
        (
            ["tfc", "--budget-uj", "0", "--hardware", "moons-4mb"],
            "ptq: --budget-uj must be microjoules above 0, not 0",
        ),
        (["tfc", "--compare", "1"], "ptq: --compare must be 0, or 2 and more: one network has no order"),
        (
            ["tfc", "--preset", "data-free", "--sensitivity", "kl"],
            "ptq: sensitivities, which --sensitivity and --budget-uj need, are measured on images;",
        ),
        (
            ["tfc", "--data", "mnist"],
            "ptq: data kind 'mnist' needs --images, the folder that holds its files;",
        ),
        (
            ["tfc", "--data", "mnst", "--preset", "data-free", "--weights", "x"],
            "ptq: unknown data kind 'mnst'; kinds: digits, cifar10",
        ),
        (
            ["resnet20-jpeg.safetensors"],
            "ptq: resnet20-jpeg.safetensors is a file; NETWORK is a name of the zoo (bitjoule networks), "
            "and its weights are an option: bitjoule ptq resnet20 --weights resnet20-jpeg.safetensors",
        ),
        (
            ["tfc", "--normalise", "imgnet"],
            "ptq: --normalise must be one of signed, unit, moons, imagenet; not 'imgnet'",
        ),
        (
            ["tfc", "--sensitivity", "hesian"],
            "ptq: --sensitivity must be one of kl, loss, accuracy_drop, sqnr, hessian, fisher; not 'hesian'",
        ),
        (
            ["tfc", "--data", "mnist", "--images", "/nowhere"],
            "ptq: no data folder '/nowhere': mnist expects there ",
        ),
        (
            ["tfc", "--data", "mnist", "--images", "/nowhere"],
            "; give --images the folder that holds these files",
        ),
        (["net.onnx"], "bj.ptq(bj.capture(model, input_shape=...).eval(), images, 'w4a8')"),
        (["tfd", "--weights", "x"], "unknown network 'tfd', did you mean 'tfc'?"),
    ],
)
def test_bad_input(arguments: list[str], text: str) -> None:
    assert text in bitjoule("ptq", *arguments, code=2).stderr
