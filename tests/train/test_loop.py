"""The training loop: it learns, repeats itself bit for bit, survives being killed, says when it diverges."""

import math
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from bitjoule import zoo
from bitjoule.network import capture
from bitjoule.quant import QuantizerConfig
from bitjoule.train import (
    PRESETS,
    CheckpointError,
    Diverged,
    QatConfig,
    Stopped,
    measure,
    prepare_qat,
    quantizers,
    recipe,
    train,
)
from bitjoule.train.average import reestimate_batch_norm
from bitjoule.train.checkpoint import load_checkpoint, save_checkpoint
from bitjoule.train.loop import CHECKPOINT
from bitjoule.train.loss import loss_of
from bitjoule.train.whole import quantized_for
from bitjoule.zoo import Split

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


def test_a_checkpoint_from_before_a_field_of_recipes_is_continued(mlp, few, tmp_path):
    settings = recipe("smoke", epochs=2)
    with pytest.raises(Stopped):
        train(mlp, few, settings, seed=0, workdir=tmp_path, stop=lambda: True)
    saved = load_checkpoint(tmp_path / CHECKPOINT)
    for name in ("bf16", "threshold_lr", "quantizer_optimizer"):
        saved.document["identity"]["recipe"].pop(name)
    save_checkpoint(tmp_path / CHECKPOINT, saved)
    assert same(
        state(train(mlp, few, settings, seed=0, workdir=tmp_path)), state(train(mlp, few, settings, seed=0))
    )
    with pytest.raises(CheckpointError, match="its recipe differs"):
        train(mlp, few, replace(settings, threshold_lr=0.01), seed=0, workdir=tmp_path)


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
    expected = start.clone()
    reestimate_batch_norm(expected, few.train, few.preprocessing, 50)  # of the weights as they are at first
    assert torch.equal(whole[bn + "running_mean"], expected.state_dict()[bn + "running_mean"])
    assert int(whole[bn + "num_batches_tracked"]) == 0
    assert not torch.equal(whole[bn + "weight"], before[bn + "weight"])
    some = train(start, few, recipe("qat_default", **settings), seed=0).network.state_dict()
    assert int(some[bn + "num_batches_tracked"]) == 6  # of 8 steps, the last 20 % are frozen


def own_statistics(net, data, batch):
    """Running statistics of a network, and those its weights have when they are estimated anew."""
    again = net.clone()
    reestimate_batch_norm(again, data.train, data.preprocessing, batch)
    names = [name for name in net.state_dict() if "running_" in name]
    assert names
    return [net.state_dict()[name] for name in names], [again.state_dict()[name] for name in names]


@pytest.mark.parametrize("ema", [None, 0.999])
@pytest.mark.parametrize("freeze", [0.0, 0.5])
def test_few_bit_weights_are_returned_with_statistics_of_their_own(residual, few, ema, freeze):
    """Not with the trailing ones of other weights, also not where the live network has frozen its own."""
    start = quantized_for(residual, "w2a2", few)
    settings = recipe("qat_default", epochs=2, batch=50, lr=0.1, ema=ema, freeze_batch_norm=freeze)
    result = train(start, few, replace(settings, keep="last"), seed=0)
    found, expected = own_statistics(result.network, few, 50)
    equal = all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    assert equal == (ema is not None or freeze == 0)
    assert measure(result.network, few.validation, few.preprocessing) == result.validation


def test_statistics_of_averaged_weights_are_of_augmented_images(residual, few):
    settings = recipe("qat_default", epochs=1, batch=50, augment="crop", keep="last")
    result = train(quantized_for(residual, "w4a4", few), few, settings, seed=0)
    state = result.network.state_dict()
    names = [name for name in state if "running_" in name]
    for augment, same in (("crop", True), ("none", False)):
        again = result.network.clone()
        reestimate_batch_norm(again, few.train, few.preprocessing, 50, augment)
        assert all(torch.equal(again.state_dict()[name], state[name]) for name in names) == same


def test_frozen_statistics_are_those_of_the_weights_at_that_step(conv, few):
    """A rate of next to nothing after the freeze: the weights are still those of the freeze."""
    start = quantized_for(conv, "w2a2", few)
    settings = recipe("qat_default", epochs=2, batch=50, lr=0.1, ema=None, freeze_batch_norm=0.5, keep="last")
    settings = replace(settings, schedule="step", step_at=(0.5,), step_factor=1e-9)
    result = train(start, few, settings, seed=0)
    found, expected = own_statistics(result.network, few, 50)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)


def test_validating_does_not_steer_the_training(conv, few):
    """One epoch of 16 steps, and two of 8 with a validation between, give the same live weights."""
    start = quantized_for(conv, "w4a4", few)
    settings = recipe("qat_default", epochs=1, batch=50, ema=None, freeze_batch_norm=0.0, schedule="constant")
    estimated = train(start, few, replace(settings, epochs=2, keep="last"), seed=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bitjoule.train.loop.reestimate_batch_norm", lambda *_: None)
        plain = train(start, few, replace(settings, epochs=2, keep="last"), seed=0)
    assert [e.loss for e in estimated.history] == [e.loss for e in plain.history]
    weights = dict(plain.network.named_parameters())
    assert all(torch.equal(p, weights[name]) for name, p in estimated.network.named_parameters())


def test_the_gradient_is_clipped(mlp, few):
    """Eight steps of plain descent at rate 1 with norm 1e-3 move all weights together by 8e-3 at most."""
    settings = recipe(
        "float_default", epochs=1, batch=50, lr=1.0, lr_batch=None, warmup=0.0, schedule="constant"
    )
    settings = replace(settings, momentum=0.0, nesterov=False, weight_decay=0.0, clip_norm=1e-3)
    before = dict(mlp.named_parameters())
    after = dict(train(mlp, few, settings, seed=0).network.named_parameters())
    moved = sum(float((after[name] - before[name]).detach().square().sum()) for name in before) ** 0.5
    assert 1e-3 < moved < 8.01e-3


def test_the_mirrored_copy_is_the_mirror_image(conv, few):
    images = torch.cat([few.train.images, torch.flip(few.train.images, dims=[3])])
    doubled = replace(few, train=Split(images, torch.cat([few.train.labels, few.train.labels])))
    a = train(conv, few, recipe("smoke", mirrored_copy=True), seed=0)
    b = train(conv, doubled, recipe("smoke"), seed=0)
    assert same(state(a), state(b))


@pytest.mark.parametrize(("scheme", "freeze"), [("w2a2", 0.5), ("int8", 0.3), ("float32", 0.2)])
def test_a_stopped_training_of_convolutions_continues_bit_for_bit(residual, few, tmp_path, scheme, freeze):
    """Batch norm, averages, channels last; one of the stops is just where statistics freeze."""
    start = quantized_for(residual, scheme, few)
    settings = recipe("qat_default", epochs=4, batch=50, augment="shift", freeze_batch_norm=freeze)
    whole = train(start, few, settings, seed=3)
    for _ in range(3):
        with pytest.raises(Stopped):
            train(start, few, settings, seed=3, workdir=tmp_path, stop=lambda: True)
    resumed = train(start, few, settings, seed=3, workdir=tmp_path, stop=lambda: True)
    assert same(state(whole), state(resumed))
    assert [e.loss for e in whole.history] == [e.loss for e in resumed.history]
    assert resumed.validation == whole.validation


@pytest.fixture
def bad_losses(monkeypatch):
    """Make the loss of the steps named (from 0) NaN, as a batch gone wrong would."""
    steps, count = set(), iter(range(10**6))

    def loss(*given):
        return loss_of(*given) * (float("nan") if next(count) in steps else 1.0)

    monkeypatch.setattr("bitjoule.train.objective.loss_of", loss)
    return steps


@pytest.mark.parametrize("ema", [None, 0.99])
def test_a_batch_whose_loss_is_not_finite_is_passed_over(conv, few, bad_losses, ema):
    bad_losses |= {2, 3, 5, 6}
    start = quantized_for(conv, "w4a4", few)
    result = train(start, few, recipe("qat_default", epochs=2, batch=50, ema=ema), seed=0)
    assert result.status == "done" and len(result.history) == 2
    assert all(math.isfinite(epoch.loss) for epoch in result.history)
    assert all(bool(p.isfinite().all()) for p in result.network.parameters())


def test_a_batch_passed_over_leaves_weights_and_buffers(conv, few, bad_losses):
    """With all but the first of three batches bad, what is returned is what one step gave."""
    settings = recipe("smoke", epochs=0.125, keep="last", schedule="constant")
    once = train(conv, few, settings, seed=0)
    bad_losses |= {2, 3}
    thrice = train(conv, few, replace(settings, epochs=0.375), seed=0)
    assert same(state(once), state(thrice))
    assert once.history[0].loss == thrice.history[0].loss


def test_a_batch_passed_over_freezes_no_threshold_and_forgets_no_range(conv, few, bad_losses, monkeypatch):
    """A threshold that freezes in a step whose loss is not finite would be held at a value put back."""
    monkeypatch.setattr("bitjoule.quant.tqt.STEPS_TO_FREEZE", 1)
    bad_losses |= {0, 1, 2}
    settings = QatConfig(QuantizerConfig("tqt"), QuantizerConfig("tqt"))
    start = quantized_for(conv, "w4a4", few, settings)
    with pytest.raises(Diverged) as error:
        train(start, few, recipe("smoke"), seed=0)
    found = quantizers(error.value.result.network).values()
    assert not any(bool(q.frozen) for q in found if q.method == "tqt" and q.role == "activation")
    assert not any(bool(q.frozen.any()) for q in found if q.method == "tqt" and q.role == "weight")
    assert all(bool(q.initialized) for q in found)


def test_bad_steps_in_a_row_are_counted_over_epochs_and_stops(mlp, few, bad_losses, tmp_path):
    bad_losses |= {6, 7, 8}  # epochs of 8 steps
    settings = recipe("smoke", epochs=2)
    with pytest.raises(Stopped):
        train(mlp, few, settings, seed=0, workdir=tmp_path, stop=lambda: True)
    with pytest.raises(Diverged, match=r"not finite in 3 steps in a row, up to step 9$"):
        train(mlp, few, settings, seed=0, workdir=tmp_path)


def test_a_batch_of_one_is_refused_where_batch_norm_sees_one_value(mlp, conv, few):
    one = replace(few, train=Split(few.train.images[:1], few.train.labels[:1]))
    text = "batch norm hidden.hidden1.bn sees one value per channel in a batch of 1 image and cannot take a"
    with pytest.raises(ValueError, match=rf"^train: {text} variance of it; give at least 2 training images$"):
        train(mlp, one, recipe("smoke"), seed=0)
    with pytest.raises(ValueError, match=rf"{text} variance of it; give a recipe with a batch of 2 or more$"):
        train(mlp, few, recipe("smoke", batch=1), seed=0)
    assert train(conv, one, recipe("smoke"), seed=0).status == "done"  # 64 pixels have a variance


def test_the_rate_is_that_of_the_batch_there_is(mlp, few):
    """400 images, a batch of 1,600: the rate is scaled to 400."""
    settings = recipe("float_default", epochs=1, warmup=0.0, batch=1600, lr=0.01, lr_batch=100)
    assert train(mlp, few, settings, seed=0).history[0].rate == pytest.approx(0.04)


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
