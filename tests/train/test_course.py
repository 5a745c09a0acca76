"""Stages: real weights first, each killed and continued, one history; the teacher of every way to train."""

import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from bitjoule import zoo
from bitjoule.network import capture
from bitjoule.quant.repairs import TWO_STAGE
from bitjoule.scheme import RepairError, parse_scheme
from bitjoule.train import (
    Diverged,
    RecipeError,
    Stopped,
    measure,
    quantizers,
    recipe,
    train_network,
    train_scheme,
)
from bitjoule.train.checkpoint import save_weights
from bitjoule.train.course import forget_checkpoints, train_under
from bitjoule.train.evaluate import qat, short_qat
from bitjoule.train.loop import CHECKPOINT, train
from bitjoule.train.loss import loss_of
from bitjoule.train.optimizers import Optimizers

SCHEME = "w1a1+grad=approx+scale_xnor+two_stage"
SETTINGS = recipe("binary_default", epochs=4, batch=50)
STAGES = ("stage-binary-activations", "stage-both-binary")


def same(a, b):
    a, b = a.network.state_dict(), b.network.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture
def noted(monkeypatch):
    """What `train` is called with and gives back, stage by stage."""
    calls = []

    def spy(start, data, settings, **named):
        result = train(start, data, settings, **named)
        calls.append(SimpleNamespace(start=start.clone(), recipe=settings, result=result, **named))
        return result

    monkeypatch.setattr("bitjoule.train.course.train", spy)
    return calls


def test_weights_are_real_in_the_first_stage_and_activations_binary_in_both(residual, few, noted):
    seen = []
    result = train_under(residual, few, SCHEME, SETTINGS, seed=0, progress=seen.append)
    first, second = noted
    assert [call.stage for call in noted] == list(TWO_STAGE)
    assert [call.recipe.epochs for call in noted] == [2, 2]
    methods = [
        {
            (q.role, q.method): q.config
            for q in quantizers(call.start).values()
            if q.method in ("binary", "float_cast")
        }
        for call in noted
    ]
    assert methods[0].keys() == {("activation", "binary"), ("weight", "float_cast")}
    assert methods[1].keys() == {("activation", "binary"), ("weight", "binary")}
    assert methods[0]["activation", "binary"] == methods[1]["activation", "binary"]
    assert (
        methods[1]["activation", "binary"].gradient == "approx" and methods[1]["weight", "binary"].magnitude
    )
    name = "block1.conv1.weight"
    learned = first.result.network.state_dict()
    assert learned[name].unique().numel() > 100
    assert all(torch.equal(second.start.state_dict()[key], learned[key]) for key in learned if "conv" in key)
    kept = "quantizers.linear_weight.scale"  # 8 bits in both stages: its range goes on
    assert torch.equal(second.start.state_dict()[kept], learned[kept])
    assert [(e.epoch, e.epochs) for e in result.history] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert tuple(seen) == result.history and result.best_epoch in (3, 4)
    assert str(result.network.scheme) == SCHEME
    assert measure(result.network, few.validation, few.preprocessing) == result.validation


def test_each_stage_has_its_decay(mlp, few, monkeypatch):
    decays = []

    class Noted(Optimizers):
        def __init__(self, net, settings, *, flips):
            decays.append(settings.weight_decay)
            super().__init__(net, settings, flips=flips)

    monkeypatch.setattr("bitjoule.train.loop.Optimizers", Noted)
    train_under(mlp, few, "w1a1+two_stage", recipe("smoke", epochs=2, weight_decay=0.3), seed=0)
    train_under(mlp, few, "w1a1+decay+sgd", recipe("smoke"), seed=0)
    train_under(mlp, few, "w1a1", recipe("smoke", weight_decay=0.3), seed=0)
    assert decays == [1e-5, 0.0, 1e-4, 0.3]


def test_an_odd_number_of_epochs_is_divided_too(mlp, few):
    result = train_under(mlp, few, "w1a1+two_stage", recipe("smoke", epochs=3, warmup=1.0), seed=0)
    assert [(e.epoch, e.epochs) for e in result.history] == [(1, 4), (2, 4), (3, 4), (4, 4)]


KILLED = """
    import os, signal, sys
    from pathlib import Path
    import torch
    from bitjoule.train.course import train_under
    from tests.train.test_course import SCHEME, SETTINGS, killed_start
    torch.set_num_threads(1)
    def kill(epoch):
        if epoch.epoch == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
    train_under(*killed_start(), SCHEME, SETTINGS, seed=0, workdir=Path(sys.argv[1]), progress=kill)
"""


def killed_start():
    """A network and data that two processes make alike."""
    data = zoo.load_dataset("digits", limit_train=400)
    return capture(zoo.build("tfc", {"inputs": 64, "dropout": 0.1}, 0), input_shape=(1, 1, 8, 8)), data


@pytest.mark.parametrize("epoch", [1, 3])
def test_a_process_killed_in_either_stage_continues_bit_for_bit(tmp_path, epoch):
    command = [sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path), str(epoch)]
    assert subprocess.run(command, cwd=Path(__file__).parents[2], check=False).returncode == -9
    assert (tmp_path / STAGES[epoch // 2] / CHECKPOINT).is_file()
    continued = train_under(*killed_start(), SCHEME, SETTINGS, seed=0, workdir=tmp_path)
    whole = train_under(*killed_start(), SCHEME, SETTINGS, seed=0)
    assert same(continued, whole)
    assert [e.loss for e in continued.history] == [e.loss for e in whole.history]
    forget_checkpoints(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_stopped_training_of_stages_continues_bit_for_bit(mlp, few, tmp_path):
    """Whenever it is called it gets on, also by a caller that always asks to stop."""
    whole = train_under(mlp, few, SCHEME, SETTINGS, seed=0)
    texts = []
    for _ in range(3):
        with pytest.raises(Stopped) as stopped:
            train_under(mlp, few, SCHEME, SETTINGS, seed=0, workdir=tmp_path, stop=lambda: True)
        texts.append(str(stopped.value))
    after, before = "stopped after epoch 1 of 2", "stopped before stage 'both binary'"
    assert texts == [f"{text}; the checkpoint is complete" for text in (after, before, after)]
    last = train_under(mlp, few, SCHEME, SETTINGS, seed=0, workdir=tmp_path, stop=lambda: True)
    assert same(last, whole)


@pytest.mark.parametrize(
    ("bad_from", "name", "epochs"), [(0, TWO_STAGE[0].name, 0), (16, TWO_STAGE[1].name, 2)]
)
def test_a_divergence_names_the_stage(mlp, few, monkeypatch, bad_from, name, epochs):
    """A stage has 16 steps."""
    count = iter(range(10**6))

    def loss(*given):
        return loss_of(*given) * (float("nan") if next(count) >= bad_from else 1.0)

    monkeypatch.setattr("bitjoule.train.objective.loss_of", loss)
    with pytest.raises(Diverged, match=rf"^stage '{name}': the loss was not finite in 3 steps") as error:
        train_under(mlp, few, "w1a1+two_stage", SETTINGS, seed=0)
    assert len(error.value.result.history) == epochs
    assert error.value.result.reason == str(error.value)


def test_a_float_parent_teaches_where_a_repair_needs_a_teacher(mlp, few, noted):
    train_network(mlp, few, "w1a1+teacher", epochs=1, parent_epochs=1)
    parent, child = noted
    assert parent.teacher is None
    assert child.teacher is parent.result.network
    train_network(mlp, few, "w4a4", epochs=1, parent_epochs=1)
    assert noted[-1].teacher is None
    train_network(mlp, few, "w4a4", epochs=1, parent_epochs=1, teacher="parent")
    assert noted[-1].teacher is noted[-2].result.network
    other = noted[0].result.network
    train_network(mlp, few, "w1a1+teacher", epochs=1, parent_epochs=1, teacher=other)
    assert noted[-1].teacher is other
    with pytest.raises(
        RecipeError, match=r"^teacher 'parent' of scheme w4a4: no float parent is trained; give"
    ):
        train_network(mlp, few, "w4a4", epochs=1, parent_epochs=0, teacher="parent")
    with pytest.raises(RecipeError, match=r"^teacher must be a network, 'parent' or None, not 'mother'$"):
        train_network(mlp, few, "w4a4", epochs=1, parent_epochs=0, teacher="mother")
    with pytest.raises(RepairError, match=r"teacher needs a teacher and there is none"):
        train_network(mlp, few, "w1a1+teacher", epochs=1, parent_epochs=0)


def test_studies_follow_repairs_with_the_parent_as_teacher(mlp, digits, tmp_path, noted):
    options = {"inputs": 64, "dropout": 0.1, "width": 0.5}
    asked = {"network": {"zoo": "tfc", "options": options}, "data": {"kind": "digits"}}
    scheme = parse_scheme("w1a1+teacher+two_stage")
    mine = SimpleNamespace(network="tfc", topology=(), scheme=scheme)
    budget = SimpleNamespace(epochs=1, train_images=None, val_images=None)
    save_weights(tmp_path / "weights.safetensors", mlp.state_dict())
    found = short_qat(asked)(
        mine, budget, 3, tmp_path / "w", split="validation", parent_workdir=tmp_path, stop=lambda: False
    )
    assert found.metrics["epochs"] == 2
    assert sorted(path.name for path in (tmp_path / "w").iterdir()) == ["result.json", "weights.safetensors"]
    assert all(
        torch.equal(value, mlp.state_dict()[name]) for name, value in noted[0].teacher.state_dict().items()
    )
    again = short_qat(asked)(
        mine, budget, 3, tmp_path / "w", split="validation", parent_workdir=tmp_path, stop=lambda: False
    )
    assert again == found and len(noted) == 2
    with pytest.raises(RepairError, match=r"in a study init 'parent'"):
        qat(asked)(
            mine, budget, 3, tmp_path / "s", split="validation", parent_workdir=None, stop=lambda: False
        )


def test_the_front_door_follows_repairs(mlp, few, noted):
    net = train_scheme(
        mlp, few, "w1a1+adam+two_stage", epochs=1, recipe=recipe("qat_2bit", epochs=1, batch=50)
    )
    assert len(noted) == 2 and str(net.scheme) == "w1a1+two_stage+adam"
