"""The identity of `ptq.md` section 4.1."""

import pytest
import torch

from bitjoule.quant.rounding import Gram, quadratic_error, weight_target


def layer(seed, n=6, count=400, noise=0.05):
    g = torch.Generator().manual_seed(seed)
    x = torch.relu(torch.randn(count, n, generator=g, dtype=torch.float64))
    hat = x + noise * torch.randn(count, n, generator=g, dtype=torch.float64)
    w = torch.randn(4, n, generator=g, dtype=torch.float64)
    rounded = w + 0.1 * torch.randn(4, n, generator=g, dtype=torch.float64)
    return x, hat, w, rounded, Gram((hat.T @ hat / count)[None], (hat.T @ x / count)[None], count)


@pytest.mark.parametrize("seed", range(5))
def test_error_of_the_layer_is_the_quadratic_form_plus_a_constant(seed):
    x, hat, w, rounded, gram = layer(seed)
    target = weight_target(w, gram, damping=0.0)
    assert not target.kept.any()

    def measured(v):
        return (x @ w.T - hat @ v.T).square().mean(0)

    constant = measured(target.weights)
    expected = quadratic_error(rounded, target.weights, gram.a) + constant
    assert torch.allclose(measured(rounded), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("damping", [0.0, 0.01])
def test_equal_inputs_give_the_weights(damping):
    _, _, w, _, gram = layer(0)
    target = weight_target(w, Gram(gram.a, gram.a, 400), damping)
    assert torch.allclose(target.weights, w, rtol=0, atol=1e-9)


def test_damped_formula():
    _, _, w, _, gram = layer(1)
    d = 0.01 * gram.a[0].diagonal().mean() * torch.eye(6, dtype=torch.float64)
    expected = w @ (gram.b[0] + d).T @ torch.linalg.inv(gram.a[0] + d)
    assert torch.allclose(weight_target(w, gram).weights, expected, rtol=0, atol=1e-9)


def test_far_targets_are_not_followed():
    _, _, w, _, gram = layer(2)
    target = weight_target(w, Gram(gram.a, -gram.b, 400))
    assert target.kept.all()
    assert torch.equal(target.weights, w)


def test_no_input_keeps_the_weights_and_groups_are_apart():
    _, _, w, _, gram = layer(3)
    nothing = torch.zeros_like(gram.a)
    both = Gram(torch.cat([gram.a, nothing]), torch.cat([gram.b, nothing]), 400)
    target = weight_target(w, both)
    assert torch.equal(target.weights[2:], w[2:])
    assert torch.allclose(target.weights[:2], weight_target(w[:2], gram).weights, rtol=0, atol=1e-12)
    assert target.kept.tolist()[2:] == [True, True]
