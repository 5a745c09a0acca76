"""The front door of the room: a network from start to test accuracy."""

import json
import sys
from types import SimpleNamespace

import pytest
import torch

import bitjoule
from bitjoule import zoo
from bitjoule.network import capture
from bitjoule.quant import QuantizerConfig, QuantizerError
from bitjoule.scheme import RepairError, SchemeError, parse_scheme
from bitjoule.train import Diverged, QatConfig, RecipeError, quantizers, recipe, train_network, train_scheme
from bitjoule.train.checkpoint import save_weights
from bitjoule.train.evaluate import short_qat


def test_the_room_can_be_called(mlp, few):
    net = bitjoule.train(mlp, few, "w4a4", epochs=1, seed=0)
    assert str(net.scheme) == "w4a4"
    assert not net.training
    again = train_scheme(mlp, few, "w4a4", epochs=1, seed=0)
    assert all(
        torch.equal(a, b) for a, b in zip(net.state_dict().values(), again.state_dict().values(), strict=True)
    )
    with pytest.raises(
        AttributeError, match=r"^module 'bitjoule\.train' has no attribute 'trian'; it has: PRESETS"
    ):
        bitjoule.train.trian  # noqa: B018
    assert "train_network" in dir(bitjoule.train)


def test_a_report_of_parent_and_child(mlp, few, tmp_path):
    lines = []
    report = train_network(
        mlp, few, "w4a4", epochs=2, parent_epochs=3, seed=0, workdir=tmp_path, progress=lines.append
    )
    document = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert document["accuracy_test"] == report.test.fraction
    assert document["parent_accuracy_validation"] > 0.4
    assert document["failure"] is None and report.failure == ""
    assert (document["epochs"], len(lines)) == (2, 5)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["parent", "quantized", "weights.safetensors"]
    zoo.load_weights(report.network.clone().module, tmp_path / "weights.safetensors")
    assert str(report.network.scheme) == "w4a4"


def test_a_float_network_has_no_parent(mlp, few):
    report = train_network(mlp, few, "float32", epochs=3, parent_epochs=3)
    assert report.parent_validation is None and report.parent_test is None
    assert report.validation.fraction > 0.4


def test_moons_starts_from_scratch_with_and_without_a_parent(conv, digits):
    for parent_epochs in (0, 2):
        report = train_network(conv, digits, "moons-4", epochs=4, parent_epochs=parent_epochs)
        assert {q.method for q in quantizers(report.network).values()} == {"moons", "ste"}
        assert report.validation.fraction > 0.6


def test_every_way_to_train_starts_moons_formats_alike(digits, tmp_path, monkeypatch):
    """The front door, the whole way, and a study, each with a float parent."""
    settings = {"depths": (1, 1), "filters": (8, 16), "in_channels": 1, "image_size": 8}
    net = capture(zoo.build("moons", settings, 0), input_shape=(1, 1, 8, 8), name="moons")
    starts = []
    original = sys.modules["bitjoule.train.course"].train

    def noted(start, *rest, **named):
        starts.append({n: p.detach().clone() for n, p in start.named_parameters()})
        return original(start, *rest, **named)

    monkeypatch.setattr("bitjoule.train.course.train", noted)
    train_scheme(net, digits, "moons-4", epochs=0.1, seed=3)
    train_network(net, digits, "moons-4", epochs=0.1, parent_epochs=0.1, seed=3)
    save_weights(tmp_path / "weights.safetensors", net.state_dict())
    asked = {"network": {"zoo": "moons", "options": settings}, "data": {"kind": "digits"}}
    mine = SimpleNamespace(network="moons", topology=(), scheme=parse_scheme("moons-4"))
    budget = SimpleNamespace(epochs=0.1, train_images=None, val_images=None)
    short_qat(asked)(
        mine, budget, 3, tmp_path / "w", split="validation", parent_workdir=tmp_path, stop=lambda: False
    )
    front, _, whole, study = starts
    weights = [name for name, value in front.items() if value.dim() > 1]
    assert weights
    for name in weights:
        assert torch.equal(front[name], whole[name]) and torch.equal(front[name], study[name])
        assert -1 <= float(front[name].min()) < -0.9 and 0.9 < float(front[name].max()) <= 1


def test_a_divergence_is_reported(mlp, few):
    with torch.no_grad():
        mlp.module.classifier.weight.fill_(float("nan"))
    report = train_network(mlp, few, "float32", epochs=1)
    assert report.failure.startswith("the loss was not finite in 3 steps in a row")
    assert report.to_json()["accuracy_test"] is None
    with pytest.raises(Diverged):
        train_network(mlp, few, "w4a4", epochs=1, parent_epochs=1)


def test_recipe_and_methods_can_be_chosen(mlp, few):
    config = QatConfig(activation=QuantizerConfig("pact"))
    report = train_network(mlp, few, "w4a4", parent_epochs=0, recipe=recipe("smoke", epochs=1), config=config)
    assert "pact" in {q.method for q in quantizers(report.network).values()}
    assert len(report.history) == 1


def test_unit_preprocessing_gives_an_unsigned_input(mlp):
    data = zoo.load_dataset("digits", limit_train=100, preprocessing="unit")
    net = train_scheme(mlp, data, "int8", epochs=1)
    first = quantizers(net)[f"quantizers.{net.graph.inputs[0]}"]
    assert str(first.tensor_format) == "UINT8"
    assert first.parameters_exported().scale == pytest.approx(1 / 255)


@pytest.mark.parametrize(
    ("scheme", "given", "error", "text"),
    [
        ("w1a1+attention_match", {}, RepairError, r"^attention_match: no block of "),
        ("w4a4{nowhere.*:w8a8}", {}, SchemeError, r"nowhere"),
        (
            "w4a4",
            {"config": QatConfig(QuantizerConfig("moons"))},
            QuantizerError,
            r"moons cannot train",
        ),
        (
            "w4a4",
            {"teacher": "paretn"},
            RecipeError,
            r"^teacher must be a network, 'parent' or None",
        ),
        ("w4a4", {"epochs": 0}, RecipeError, r"^recipe: epochs must be from "),
        (
            "w4a4",
            {"parent_epochs": -1},
            RecipeError,
            r"^parent_epochs must be 0 \(no parent\) or more",
        ),
        ("w4a4", {"parent_epochs": float("nan")}, RecipeError, r"or more, not nan$"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_the_parent_is(mlp, few, scheme, given, error, text):
    epochs = []
    with pytest.raises(error, match=text):
        train_network(mlp, few, scheme, **{"parent_epochs": 1, **given}, progress=epochs.append)
    assert epochs == []
