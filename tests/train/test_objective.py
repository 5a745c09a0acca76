"""The losses that repairs ask for."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from bitjoule import zoo
from bitjoule.network import capture
from bitjoule.quant.repairs import TWO_STAGE, distribution_loss, repair_settings
from bitjoule.quant.repairs.attention import ATTENTION_WEIGHT
from bitjoule.scheme import RepairError
from bitjoule.train import prepare_qat, quantizers, recipe, train, train_scheme
from bitjoule.train.matching import AttentionMatch
from bitjoule.train.objective import Objective
from bitjoule.train.start import quantized_for
from bitjoule.zoo import Split

PLAIN = recipe("binary_default", epochs=2, batch=50)


def number(loss):
    return float(loss.detach())


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(8, 1, 8, 8, generator=generator), torch.arange(8)


def objective(net, scheme, teacher, stage=None):
    student = prepare_qat(net, scheme).train()
    settings = repair_settings(scheme)
    changed = replace(PLAIN, **settings.recipe)
    return student, Objective(student, changed, settings, teacher, stage)


def test_without_repairs_it_is_the_loss_of_the_recipe(residual, batch):
    images, labels = batch
    student, found = objective(residual, "w1a1", None)
    expected = F.cross_entropy(student(images), labels)
    assert number(found(images, labels, 0.0)) == pytest.approx(number(expected), rel=1e-5)


def test_labels_are_not_read_where_the_teacher_gives_the_distribution(mlp, few):
    """Training labels permuted: the same weights. The validation split chooses the epoch in both."""
    teacher = train_scheme(mlp, few, "float32", epochs=2)
    order = torch.randperm(len(few.train), generator=torch.Generator().manual_seed(1))
    shuffled = replace(few, train=Split(few.train.images, few.train.labels[order]))
    start = quantized_for(mlp, "w1a1+teacher", few)
    a, b = (train(start, data, PLAIN, seed=0, teacher=teacher) for data in (few, shuffled))
    assert all(
        torch.equal(x, y)
        for x, y in zip(a.network.state_dict().values(), b.network.state_dict().values(), strict=True)
    )
    assert [e.loss for e in a.history] == [e.loss for e in b.history]
    read = quantized_for(mlp, "w1a1", few)
    assert train(read, few, PLAIN, seed=0).history != train(read, shuffled, PLAIN, seed=0).history


def test_the_distribution_of_the_teacher_at_temperature_one(residual, batch):
    images, labels = batch
    residual.eval()
    student, found = objective(residual, "w1a1+teacher", residual)
    expected = distribution_loss(student(images), residual(images))
    assert number(found(images, labels, 0.0)) == pytest.approx(number(expected), rel=1e-5)


@pytest.mark.parametrize(
    ("stage", "progress", "early"),
    [
        (None, 0.0, True),
        (None, 0.49, True),
        (None, 0.5, False),
        (TWO_STAGE[0], 0.9, True),
        (TWO_STAGE[1], 0.1, False),
    ],
)
def test_attention_early_and_outputs_late(residual, batch, stage, progress, early):
    images, labels = batch
    residual.eval()
    student, found = objective(residual, "w1a1+attention_match", residual, stage)
    logits = student(images)
    expected = F.cross_entropy(logits, labels)
    if early:
        expected = expected + ATTENTION_WEIGHT * AttentionMatch(student, residual)(images)[1]
    else:
        expected = expected + 0.8 * distribution_loss(logits, residual(images))
    assert number(found(images, labels, progress)) == pytest.approx(number(expected), rel=1e-4)


def test_a_teacher_that_gives_the_loss_is_not_added_late(residual, batch):
    images, labels = batch
    residual.eval()
    scheme = "w1a1+teacher+attention_match"
    student, found = objective(residual, scheme, residual)
    expected = distribution_loss(student(images), residual(images))
    assert number(found(images, labels, 0.9)) == pytest.approx(number(expected), rel=1e-5)
    assert number(found(images, labels, 0.1)) > number(expected)


def test_attention_maps_come_closer(residual, few):
    teacher = train_scheme(residual, few, "float32", epochs=2).eval()
    start = quantized_for(teacher, "w1a1+attention_match+double_residual", few)
    images = few.preprocessing.apply(few.train.images[:200])

    def distance(net):
        with torch.no_grad():
            return number(AttentionMatch(net.train(), teacher)(images)[1])

    settings = replace(PLAIN, epochs=4, keep="last", freeze_batch_norm=0.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bitjoule.train.objective.EARLY", 1.0)
        after = train(start, few, settings, seed=0, teacher=teacher).network
    assert distance(after) < 0.7 * distance(start.clone())


def test_missing_and_unfit_teachers_are_named(residual, few):
    text = (
        r"needs? a teacher and there is none; give one \(train\(\.\.\., teacher=net\)\), or let a float par"
    )
    for name in ("teacher", "attention_match", "teacher+attention_match"):
        with pytest.raises(RepairError, match=rf"^scheme w1a1\+.*: {name.replace('+', ' and ')} {text}"):
            train_scheme(residual, few, f"w1a1+{name}", epochs=1)
    with pytest.raises(RepairError, match=r"by name, but it is a ResNet8; capture\(teacher, input_shape="):
        teacher = zoo.build("resnet8", {"in_channels": 1, "image_size": 8, "width": 0.5}, 0)
        train_scheme(residual, few, "w1a1+attention_match", epochs=1, teacher=teacher)


class Pair(torch.nn.Module):
    def forward(self, x):
        return x, x


@pytest.mark.parametrize("scheme", ["w4a4", "w1a1+teacher"])
@pytest.mark.parametrize("classes", [1, 3])
def test_a_teacher_of_other_classes_is_refused(residual, few, scheme, classes):
    """One class would broadcast, and be learned."""
    teacher = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, classes))
    text = rf"^train: the teacher gives outputs of shape \(50, {classes}\) where the network gives \(50, 10\)"
    with pytest.raises(ValueError, match=text):
        train_scheme(residual, few, scheme, recipe=recipe("smoke"), teacher=teacher)


def test_what_is_no_teacher_is_refused(residual, few):
    with pytest.raises(TypeError, match=r"^train: teacher must be a torch module or a Network, not 'parent'"):
        train_scheme(residual, few, "w4a4", epochs=1, teacher="parent")
    with pytest.raises(ValueError, match=r"^train: a teacher returns the logits as one tensor, not a tuple"):
        train_scheme(residual, few, "w4a4", epochs=1, teacher=Pair())


def test_bf16_changes_nothing_without_a_gpu(residual, batch):
    images, labels = batch
    student = prepare_qat(residual, "w4a4").train()
    losses = [
        number(
            Objective(student, recipe("gpu", bf16=bf16), repair_settings("w4a4"), None, None)(
                images, labels, 0
            )
        )
        for bf16 in (False, True)
    ]
    assert losses[0] == losses[1]


@pytest.mark.parametrize("scheme", ["w4a4", "wAPOT4aUAPOT4", "w1a1+teacher", "w1a1+attention_match"])
def test_under_autocast_the_loss_is_near_and_gradients_stay_float32(residual, batch, scheme):
    """Autocast of this device in the place of a GPU's."""
    images, labels = batch
    residual.eval()
    student, found = objective(residual, scheme, residual)
    if "w1a1" not in scheme:
        found.teacher = None
    expected = number(found(images, labels, 0.0))
    found.narrow = True
    loss = found(images, labels, 0.0)
    loss.backward()
    assert loss.dtype == torch.float32
    assert number(loss) == pytest.approx(expected, rel=0.2) and number(loss) != expected
    gradients = [p.grad for p in student.parameters() if p.grad is not None]
    assert gradients and all(g.dtype == torch.float32 and bool(g.isfinite().all()) for g in gradients)
    for q in quantizers(student).values():
        assert q.parameters_exported().scale.dtype.name == "float32"


def test_a_captured_teacher_of_another_class_teaches(residual, few):
    """Distribution only: any module with the same classes."""
    other = capture(zoo.build("tfc", {"inputs": 64}, 0), input_shape=(1, 1, 8, 8))
    result = train_scheme(residual, few, "w1a1+teacher", epochs=0.25, teacher=other)
    assert str(result.scheme) == "w1a1+teacher"
