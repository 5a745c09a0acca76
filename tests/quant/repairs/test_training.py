"""Repairs of the training: Bop, losses, the step function, stages, settings."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bitjoule.formats import parse_tensor_format
from bitjoule.quant import QuantizerConfig
from bitjoule.quant.repairs import (
    TWO_STAGE,
    Bop,
    HeavisideQuantizer,
    attention_loss,
    attention_map,
    distribution_loss,
    repair_settings,
)


def test_bop_vector_of_training_md() -> None:
    w = nn.Parameter(torch.tensor([1.0, -1.0, 1.0]))
    bop = Bop([w], gamma=0.1, threshold=1e-3)
    for gradient, momentum, signs in (
        ((0.02, -0.01, -0.03), (0.002, -0.001, -0.003), (-1.0, -1.0, 1.0)),
        ((0.01, 0.03, -0.01), (0.0028, 0.0021, -0.0037), (-1.0, -1.0, 1.0)),
    ):
        w.grad = torch.tensor(gradient)
        bop.step()
        torch.testing.assert_close(bop.state[w]["momentum"], torch.tensor(momentum))
        assert w.tolist() == list(signs)


def test_bop_starts_from_signs_keeps_state_and_refuses() -> None:
    w = nn.Parameter(torch.tensor([0.3, -0.2, 0.0]))
    bop = Bop([w])
    assert w.tolist() == [1.0, -1.0, 1.0]
    w.grad = torch.ones(3)
    bop.step()
    other = Bop([w])
    other.load_state_dict(bop.state_dict())
    assert torch.equal(other.state[w]["momentum"], bop.state[w]["momentum"])
    with pytest.raises(ValueError, match="Bop: gamma must be from 0 to 1, not 2"):
        Bop([w], gamma=2)
    with pytest.raises(ValueError, match="Bop takes no closure"):
        bop.step(lambda: 0.0)


def test_attention_maps_are_unit_vectors() -> None:
    x = torch.randn(3, 5, 4, 4, generator=torch.Generator().manual_seed(0))
    maps = attention_map(x)
    expected = F.normalize(x.pow(2).mean(1).flatten(1))
    torch.testing.assert_close(maps, expected)
    assert attention_map(torch.zeros(1, 2, 2, 2)).tolist() == [[0.0] * 4]


def test_a_map_of_zeros_has_a_finite_gradient() -> None:
    """The channels of a student may all be silent at first."""
    student = torch.zeros(2, 4, 3, 3, requires_grad=True)
    torch.autograd.backward(30 * attention_loss([student], [torch.ones(2, 4, 3, 3)]))
    assert student.grad is not None and student.grad.tolist() == torch.zeros(2, 4, 3, 3).tolist()


def test_attention_loss_ignores_scale_and_trains_the_student_alone() -> None:
    teacher = torch.randn(2, 3, 4, 4, requires_grad=True)
    student = (2 * teacher.detach()).requires_grad_()
    assert float(attention_loss([student], [teacher]).detach()) == pytest.approx(0, abs=1e-12)
    other = torch.randn(2, 6, 4, 4, requires_grad=True)
    torch.autograd.backward(attention_loss([other], [teacher]))
    assert other.grad is not None and bool(other.grad.any()) and teacher.grad is None
    with pytest.raises(ValueError, match=r"block 0: the student's map is \(2, 2\), the teacher's \(4, 4\)"):
        attention_loss([torch.zeros(1, 1, 2, 2)], [torch.zeros(1, 1, 4, 4)])
    with pytest.raises(ValueError, match="attention maps pair blocks one to one, not 1 and 0"):
        attention_loss([other], [])


def test_distribution_loss_is_cross_entropy_with_soft_targets() -> None:
    student, teacher = torch.randn(4, 10, requires_grad=True), torch.randn(4, 10, requires_grad=True)
    loss = distribution_loss(student, teacher)
    torch.testing.assert_close(loss, F.cross_entropy(student, teacher.detach().softmax(1)))
    torch.autograd.backward(loss)
    torch.testing.assert_close(student.grad, (student.softmax(1) - teacher.softmax(1)).detach() / 4)
    assert teacher.grad is None


@pytest.mark.parametrize(
    ("gradient", "expected"), [("default", [0.0, 1, 1, 1, 0]), ("approx", [0.0, 1, 2, 1, 0])]
)
def test_heaviside_is_the_step_with_a_pseudo_gradient(gradient: str, expected: list[float]) -> None:
    config = QuantizerConfig("binary", gradient=gradient)  # type: ignore[arg-type]
    quantizer = HeavisideQuantizer(parse_tensor_format("UINT1"), config, "activation", name="x")
    x = torch.tensor([-1.5, -0.5, 0.0, 0.5, 1.5], requires_grad=True)
    y = quantizer(x)
    assert y.tolist() == [0, 0, 0, 1, 1]
    torch.autograd.backward(y.sum())
    assert x.grad is not None and x.grad.tolist() == expected
    levels = quantizer.tensor_format.format
    encoded = levels.encode(quantizer.transform(x).detach().numpy(), 1.0, 0)
    assert levels.decode(encoded, 1.0, 0).tolist() == y.tolist()
    assert bool(quantizer(torch.tensor([float("nan")])).isnan().all())


def test_settings_of_the_training_repairs() -> None:
    plain = repair_settings("w1a1")
    assert plain.weight == plain.activation == QuantizerConfig("binary")
    assert (dict(plain.recipe), plain.stages, plain.labels, plain.attention, plain.flips) == (
        {},
        (),
        True,
        False,
        False,
    )
    many = repair_settings("w1a1+grad=eda+libra+two_stage+teacher+attention_match+adam")
    assert (many.weight.gradient, many.weight.normalize, many.activation.gradient) == ("eda", "libra", "eda")
    assert many.recipe == {"optimizer": "adam", "distillation": 1.0, "temperature": 1.0}
    assert (many.stages, many.labels, many.attention) == (TWO_STAGE, False, True)
    flips = repair_settings("w1a1+bop")
    assert flips.flips and flips.recipe == {"optimizer": "adam", "weight_decay": 0.0, "ema": None}
    assert repair_settings("w1a1+sgd+decay").recipe == {"optimizer": "sgd", "weight_decay": 1e-4}
    assert repair_settings("w1a1+weight_norm+scale_xnor").weight == QuantizerConfig(
        "binary", normalize="standardize", magnitude=True
    )


def test_weights_that_flip_have_no_sharpening_gradient() -> None:
    found = repair_settings("w1a1+grad=eda+bop")
    assert (found.weight.gradient, found.activation.gradient) == ("default", "eda")


def test_stages_have_real_weights_first() -> None:
    assert [(s.binary_weights, s.weight_decay) for s in TWO_STAGE] == [(False, 1e-5), (True, 0.0)]
