"""The training loop: it learns, repeats itself bit for bit, survives being killed, says when it diverges."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from bitjoule import zoo
from bitjoule.network import capture
from bitjoule.train import PRESETS, CheckpointError, Diverged, Stopped, measure, prepare_qat, recipe, train
from bitjoule.train.loop import CHECKPOINT
from bitjoule.train.whole import quantized_for

FAST = recipe("smoke", epochs=4)


def state(result):
    return {name: value.clone() for name, value in result.network.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_it_learns_and_returns_the_best_epoch(conv, few):
    seen = []
    result = train(conv, few, FAST, seed=0, progress=seen.append)
    assert result.status == "done" and result.reason == ""
    assert tuple(seen) == result.history and len(seen) == 4
    assert seen[-1].loss < 0.7 * seen[0].loss
    assert result.validation.fraction > 0.6
    assert result.validation.fraction == max(epoch.accuracy for epoch in seen)
    assert seen[result.best_epoch - 1].accuracy == result.validation.fraction
    assert measure(result.network, few.validation, few.preprocessing) == result.validation
    assert not result.network.training
    assert str(seen[0]).startswith("epoch 1/4: loss ")
    assert result.metrics()["threads"] == 1


@pytest.mark.parametrize("scheme", ["float32", "int8", "w4a4", "w1a1", "moons-4", "fp16"])
def test_every_kind_of_scheme_trains_and_repeats_itself(conv, few, scheme):
    start = quantized_for(conv, scheme, few)
    settings = recipe("qat_default", epochs=2, batch=50, augment="shift")
    a, b = (train(start, few, settings, seed=1) for _ in range(2))
    assert same(state(a), state(b))
    assert [e.loss for e in a.history] == [e.loss for e in b.history]
    other = train(start, few, settings, seed=2)
    assert not same(state(a), state(other))


def test_the_network_given_and_the_global_generator_stay_as_they_are(mlp, few):
    before = {name: value.clone() for name, value in mlp.state_dict().items()}
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train(mlp, few, recipe("smoke"), seed=0)
    assert torch.equal(torch.rand(3), expected)
    assert same(before, mlp.state_dict())
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize("scheme", ["float32", "w4a4", "moons-4"])
@pytest.mark.parametrize("ema", [None, 0.99])
def test_a_stopped_training_continues_bit_for_bit(mlp, few, tmp_path, scheme, ema):
    start = quantized_for(mlp, scheme, few)
    optimizer = "adam" if scheme == "moons-4" else "sgd"
    settings = recipe("qat_default", epochs=4, batch=50, augment="shift", ema=ema, optimizer=optimizer)
    whole = train(start, few, settings, seed=3)
    for _ in range(3):
        with pytest.raises(Stopped, match=r"^stopped after epoch \d of 4; the checkpoint is complete$"):
            train(start, few, settings, seed=3, workdir=tmp_path, stop=lambda: True)
    resumed = train(start, few, settings, seed=3, workdir=tmp_path, stop=lambda: True)
    assert same(state(whole), state(resumed))
    assert [e.loss for e in whole.history] == [e.loss for e in resumed.history]
    assert resumed.best_epoch == whole.best_epoch and resumed.validation == whole.validation
    done = train(start, few, settings, seed=3, workdir=tmp_path)
    assert same(state(done), state(whole))


KILLED = """
    import os, signal, sys
    from pathlib import Path
    import torch
    from bitjoule.train import recipe, train
    from tests.train.test_loop import killed_start
    torch.set_num_threads(1)
    def kill(epoch):
        if epoch.epoch == 2:
            os.kill(os.getpid(), signal.SIGKILL)
    train(*killed_start(), recipe("qat_default", epochs=3, batch=50), seed=0, workdir=Path(sys.argv[1]),
          progress=kill)
"""


def killed_start():
    """A network and data that two processes make alike."""
    data = zoo.load_dataset("digits", limit_train=400)
    net = capture(zoo.build("tfc", {"inputs": 64, "dropout": 0.1}, 0), input_shape=(1, 1, 8, 8))
    return quantized_for(net, "w4a4", data), data


def test_a_killed_process_continues_bit_for_bit(tmp_path):
    command = [sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path)]
    assert subprocess.run(command, cwd=Path(__file__).parents[2], check=False).returncode == -9
    assert (tmp_path / CHECKPOINT).is_file()
    settings = recipe("qat_default", epochs=3, batch=50)
    continued = train(*killed_start(), settings, seed=0, workdir=tmp_path)
    whole = train(*killed_start(), settings, seed=0)
    assert [epoch.loss for epoch in continued.history] == [epoch.loss for epoch in whole.history]
    assert same(state(continued), state(whole))


def test_a_checkpoint_holds_no_pickle_and_says_what_it_is(mlp, few, tmp_path):
    train(mlp, few, recipe("smoke"), seed=0, workdir=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [CHECKPOINT]
    with safe_open(tmp_path / CHECKPOINT, framework="pt") as file:
        assert file.metadata()["schema"] == "bitjoule.checkpoint/1"


def test_a_checkpoint_of_another_training_is_refused(mlp, few, tmp_path):
    train(mlp, few, recipe("smoke"), seed=0, workdir=tmp_path)
    with pytest.raises(
        CheckpointError, match=r"belongs to another training: its seed differs; give another workdir"
    ):
        train(mlp, few, recipe("smoke"), seed=1, workdir=tmp_path)
    with pytest.raises(
        CheckpointError, match=r"another training: its recipe, scheme, starting weights differ; give"
    ):
        train(quantized_for(mlp, "w4a4", few), few, recipe("smoke", batch=10), seed=0, workdir=tmp_path)


def test_divergence_is_an_error_with_what_was_reached(mlp, few):
    with torch.no_grad():
        mlp.module.classifier.weight.mul_(1e30).mul_(1e8)
    with pytest.raises(
        Diverged, match=r"^the loss was not finite in 3 steps in a row, up to step 3$"
    ) as error:
        train(mlp, few, recipe("smoke"), seed=0)
    assert error.value.kind == "diverged"
    assert error.value.result.status == "diverged"
    assert error.value.result.reason == str(error.value)
    assert error.value.metrics["epochs"] == 0


def test_a_parameter_that_is_not_finite_is_named_at_the_end_of_the_epoch(mlp, few):
    with torch.no_grad():
        mlp.module.hidden.hidden2.bn.running_mean[0] = float("nan")
    mlp.module.hidden.hidden2.bn.momentum = 0.0  # training does not look at running statistics
    with pytest.raises(
        Diverged, match=r"^hidden\.hidden2\.bn\.running_mean holds NaN or infinity after epoch 1$"
    ):
        train(mlp, few, recipe("smoke"), seed=0)


def test_batch_norm_freezes_in_the_last_share(conv, few):
    start = quantized_for(conv, "w4a4", few)
    settings = {"epochs": 1, "batch": 50, "keep": "last", "ema": None}
    before = start.state_dict()
    bn = "blocks.block1.bn1."
    frozen = recipe("qat_default", **settings, freeze_batch_norm=1.0)
    whole = train(start, few, frozen, seed=0).network.state_dict()
    assert torch.equal(whole[bn + "running_mean"], before[bn + "running_mean"])
    assert int(whole[bn + "num_batches_tracked"]) == 0
    assert not torch.equal(whole[bn + "weight"], before[bn + "weight"])
    some = train(start, few, recipe("qat_default", **settings), seed=0).network.state_dict()
    assert int(some[bn + "num_batches_tracked"]) == 6  # of 8 steps, the last 20 % are frozen


def test_the_average_is_validated_with_statistics_of_its_own(conv, few):
    settings = recipe("float_default", epochs=2, batch=50, ema=0.999, keep="last")
    averaged = train(conv, few, settings, seed=0)
    plain = train(conv, few, recipe("float_default", epochs=2, batch=50, keep="last"), seed=0)
    name = "classifier.weight"
    assert not torch.equal(averaged.network.state_dict()[name], plain.network.state_dict()[name])
    assert [e.loss for e in averaged.history] == [e.loss for e in plain.history]
    assert averaged.validation.fraction > 0.5


def test_an_epoch_may_be_a_fraction(mlp, few):
    result = train(mlp, few, recipe("smoke", epochs=0.5), seed=0)
    assert len(result.history) == 1
    assert int(result.network.state_dict()["hidden.hidden1.bn.num_batches_tracked"]) == 4
    longer = train(mlp, few, recipe("smoke", epochs=1.5, keep="last"), seed=0)
    assert len(longer.history) == 2
    assert int(longer.network.state_dict()["hidden.hidden1.bn.num_batches_tracked"]) == 12


def test_a_mirrored_copy_doubles_the_epoch(mlp, few):
    result = train(mlp, few, recipe("smoke", mirrored_copy=True), seed=0)
    assert int(result.network.state_dict()["hidden.hidden1.bn.num_batches_tracked"]) == 16


def test_a_teacher_changes_what_is_learned_and_is_not_trained(mlp, conv, few):
    teacher = train(conv, few, FAST, seed=0).network
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    settings = recipe("float_default", epochs=2, batch=50)
    taught = train(mlp, few, settings, seed=0, teacher=teacher)
    alone = train(mlp, few, settings, seed=0)
    assert not same(state(taught), state(alone))
    assert same(before, teacher.state_dict())
    assert taught.history[-1].loss < taught.history[0].loss


def test_moons_weights_end_inside_the_unit_interval(conv, few):
    net = train(prepare_qat(conv, "moons-2"), few, recipe("smoke", lr=0.5), seed=0).network
    named = dict(net.named_parameters())
    for name in ("blocks.block1.conv1.weight", "classifier.weight"):
        assert float(named[name].detach().abs().max()) <= 1


def test_smoke_meets_its_promise(digits, conv):
    """Spec training.md 4.2: one epoch, the loss falls, w4a4 above 85 % (there on MNIST)."""
    parent = train(conv, digits, recipe("smoke", epochs=3), seed=0).network
    result = train(quantized_for(parent, "w4a4", digits), digits, PRESETS["smoke"], seed=0)
    assert result.validation.fraction > 0.85
