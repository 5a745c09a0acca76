"""Batch statistics of the weights that are evaluated, and what an estimate leaves alone."""

import pytest
import torch

from bitjoule.train.average import IMAGES, WeightAverage, kept_buffers, reestimate_batch_norm
from bitjoule.train.whole import quantized_for
from bitjoule.zoo import Split

NORM = "blocks.block1.bn1"


def statistics(net, name=NORM):
    state = net.state_dict()
    return state[f"{name}.running_mean"].clone(), state[f"{name}.running_var"].clone()


def inputs_of_first_norm(net, data, images):
    """What the first batch norm of `conv` is given."""
    found = []
    handle = net.module.get_submodule(NORM).register_forward_pre_hook(lambda _, args: found.append(args[0]))
    try:
        with torch.no_grad():
            net.eval()(data.preprocessing.apply(images))
    finally:
        handle.remove()
    return found[0]


def test_statistics_are_the_plain_average_over_batches(conv, few):
    """All 400 images in batches of 100, in whatever order: the mean of the means is the mean of all."""
    seen = inputs_of_first_norm(conv, few, few.train.images).double()
    reestimate_batch_norm(conv, few.train, few.preprocessing, 100)
    mean, var = statistics(conv)
    torch.testing.assert_close(mean.double(), seen.mean((0, 2, 3)), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(var.double(), seen.var((0, 2, 3)), rtol=0.02, atol=1e-6)


def test_images_are_augmented_as_in_training(conv, few):
    """Cropped images have borders, so their statistics are others; they repeat themselves."""
    plain = conv.clone()
    reestimate_batch_norm(plain, few.train, few.preprocessing, 100)
    reestimate_batch_norm(conv, few.train, few.preprocessing, 100, "crop-flip")
    assert not torch.allclose(statistics(plain)[0], statistics(conv)[0], rtol=0.01)
    again = conv.clone()
    reestimate_batch_norm(again, few.train, few.preprocessing, 100, "crop-flip")
    assert all(map(torch.equal, statistics(again), statistics(conv)))


def test_the_order_of_the_split_has_no_say(conv, digits):
    """Image folders are sorted by class; the sample must not consist of the first classes."""
    order = torch.argsort(digits.train.labels, stable=True)
    labels = digits.train.labels[order]
    brighter = digits.train.images[order] // 4 + (18 * labels).to(torch.uint8)[:, None, None, None]
    ordered = Split(brighter, labels)
    seen = inputs_of_first_norm(conv, digits, ordered.images)
    reestimate_batch_norm(conv, ordered, digits.preprocessing, 4)  # 50 batches of 4: 200 of 1293 images
    mean, _ = statistics(conv)
    spread = seen.std((0, 2, 3))
    assert float(((mean - seen.mean((0, 2, 3))).abs() / spread).max()) < 0.2
    first = inputs_of_first_norm(conv, digits, ordered.images[:200]).mean((0, 2, 3))
    assert float(((first - seen.mean((0, 2, 3))).abs() / spread).max()) > 0.8


@pytest.mark.parametrize(
    ("batch", "images", "expected"),
    [
        (4, 400, [4] * 50),
        (128, 400, [128] * 3),
        (500, 400, [400]),
        (800, 4000, [800] * 2),
        (1500, 4000, [1500]),
    ],
)
def test_the_sample_is_of_whole_batches_and_small(conv, few, batch, images, expected):
    again = torch.arange(images) % len(few.train)
    seen = []
    conv.module.get_submodule(NORM).register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    split = Split(few.train.images[again], few.train.labels[again])
    reestimate_batch_norm(conv, split, few.preprocessing, batch)
    assert seen == expected and sum(seen) <= max(batch, IMAGES)


def test_an_estimate_repeats_itself_and_leaves_generator_modes_and_counts(conv, few):
    net = quantized_for(conv, "w2a2", few)
    net.train()
    net.module.get_submodule(NORM).eval()
    modes = [module.training for module in net.module.modules()]
    generator = torch.get_rng_state()
    reestimate_batch_norm(net, few.train, few.preprocessing, 50)  # starts the ranges that are missing
    first = statistics(net)
    reestimate_batch_norm(net, few.train, few.preprocessing, 50)
    assert all(torch.equal(a, b) for a, b in zip(first, statistics(net), strict=True))
    assert [module.training for module in net.module.modules()] == modes
    assert torch.equal(generator, torch.get_rng_state())
    norm = net.module.get_submodule(NORM)
    assert norm.momentum == conv.module.get_submodule(NORM).momentum
    assert int(norm.num_batches_tracked) == 0


def test_kept_buffers_come_back(conv, few):
    before = statistics(conv)
    with kept_buffers(conv):
        reestimate_batch_norm(conv, few.train, few.preprocessing, 50)
        assert not torch.equal(statistics(conv)[0], before[0])
    assert all(torch.equal(a, b) for a, b in zip(before, statistics(conv), strict=True))


def test_averages_stand_in_for_the_weights_and_go_again(mlp):
    average = WeightAverage(mlp, 0.9)
    weight = mlp.module.classifier.weight
    old = weight.detach().clone()
    with torch.no_grad():
        weight.add_(1)
    average.update(1000)
    with average.in_place(mlp):
        torch.testing.assert_close(weight.detach(), old + 0.1)
    assert torch.equal(weight.detach(), old + 1)
