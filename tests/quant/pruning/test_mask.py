"""N:M masks: which weights survive, the gradient of SR-STE, and when the mask moves."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bitjoule.quant.pruning import NMMask, nm_mask
from bitjoule.workload.sparsity import Sparsity


def slow_mask(weight, kept, block):
    """Block by block: the largest magnitudes, lower channel first among equals."""
    mask = torch.zeros_like(weight, dtype=torch.bool)
    rows, channels, *kernel = weight.shape
    for k in range(rows):
        for place in range(weight[0, 0].numel()):
            r, s = divmod(place, kernel[1])
            for start in range(0, channels, block):
                values = [float(weight[k, start + i, r, s].abs()) for i in range(block)]
                order = sorted(range(block), key=lambda i: (-values[i], i))
                for i in order[:kept]:
                    mask[k, start + i, r, s] = True
    return mask


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6), st.sampled_from([(1, 2), (2, 4), (1, 4), (3, 8)]), st.integers(1, 3))
def test_the_mask_is_that_of_a_slow_loop(seed, rule, blocks):
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randint(-3, 4, (3, blocks * rule[1], 2, 2), generator=generator).float()  # many ties
    assert torch.equal(nm_mask(weight, Sparsity(*rule)), slow_mask(weight, *rule))


def test_channels_last_weights_have_the_same_mask():
    weight = torch.randn(4, 8, 3, 3, generator=torch.Generator().manual_seed(0))
    other = weight.contiguous(memory_format=torch.channels_last)
    assert torch.equal(nm_mask(weight, Sparsity(2, 4)), nm_mask(other, Sparsity(2, 4)))


def test_the_gradient_passes_and_draws_the_pruned_to_zero():
    weight = torch.tensor([[1.0, -2.0, 0.5, 0.25]], dtype=torch.float64, requires_grad=True)
    mask = NMMask(Sparsity(2, 4), (1, 4), decay=0.1)
    mask.update(weight)
    g = torch.tensor([[1.0, 2.0, 3.0, 4.0]], dtype=torch.float64)
    out = mask(weight)
    assert out.tolist() == [[1.0, -2.0, 0.0, 0.0]]
    out.backward(g)
    assert torch.allclose(weight.grad, torch.tensor([[1.0, 2.0, 3.05, 4.025]], dtype=torch.float64))


def test_the_default_decay_is_that_of_the_paper():
    assert NMMask(Sparsity(2, 4), (1, 4)).decay == 2e-4


def test_survivors_are_what_is_left_in_order():
    weight = torch.randn(3, 8, 2, 2, generator=torch.Generator().manual_seed(1))
    mask = NMMask(Sparsity(1, 4), tuple(weight.shape))
    mask.update(weight)
    left = mask.survivors(weight)
    assert left.shape == (3, 2, 2, 2)
    assert torch.equal(left.abs(), weight.view(3, 2, 4, 2, 2).abs().amax(2))


def test_the_mask_follows_the_steps_until_the_last_fifth():
    mask = NMMask(Sparsity(1, 2), (1, 2))
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    first, second = torch.tensor([[2.0, 1.0]]), torch.tensor([[1.0, 2.0]])
    mask.begin_epoch(0, 5, second)
    assert mask.mask.tolist() == [[False, True]]
    mask.after_step(first, optimizer, 0.8)
    assert mask.mask.tolist() == [[True, False]]
    mask.after_step(second, optimizer, 0.81)
    mask.begin_epoch(4, 5, second)  # also where a training is continued
    assert mask.mask.tolist() == [[True, False]]


@pytest.mark.parametrize("shape", [(4, 6), (4,), (0, 0)])
def test_shapes_without_whole_blocks_are_refused(shape):
    with pytest.raises(ValueError) as error:
        nm_mask(torch.zeros(shape), Sparsity(2, 4))
    assert str(error.value) == (
        f"N:M pruning 2:4 needs a weight (K, C, ...) with C a multiple of 4, not shape {shape}"
    )
