"""What every network of the zoo has in common, by its card, and what some have of their own."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bitjoule import zoo
from bitjoule.zoo.same_padding import same_padding

SMALL: dict[str, dict[str, object]] = {
    "moons": {"depths": [1, 1, 1], "filters": [8, 8, 16]},
    "vgg-moons": {"width": 0.125},
    "resnet18": {"image_size": 32},
    "bireal18": {"image_size": 32},
    "reactnet18": {"image_size": 32},
    "mobilenet_v1": {"image_size": 32},
    "mobilenet_v2": {"image_size": 32},
    "mobilenet_v2_cifar": {"image_size": 8},
    "resnet56": {"image_size": 8},
    "resnet32": {"image_size": 8},
}


def small(name: str) -> dict[str, object]:
    return {"width": 0.25, **SMALL.get(name, {})}


@pytest.mark.parametrize("name", [card.name for card in zoo.networks()])
def test_every_network_runs_exports_and_reloads(name: str) -> None:
    options = {**small(name), "classes": 7}
    net = zoo.build(name, options, seed=1).eval()
    x = torch.randn(zoo.input_shape(name, options), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        y = net(x)
        assert y.shape == (1, 7) and bool(torch.isfinite(y).all()) and float(y.abs().max()) > 0
        exported = torch.export.export(net, (x,)).module()
        torch.testing.assert_close(exported(x), y)
        other = zoo.build(name, options, seed=2).eval()
        assert not torch.equal(other(x), y)
        other.load_state_dict(net.state_dict())
        assert torch.equal(other(x), y)


@pytest.mark.parametrize("name", [card.name for card in zoo.networks()])
def test_build_depends_on_its_seed_alone(name: str) -> None:
    before = torch.random.get_rng_state()
    first = zoo.build(name, small(name), seed=3).state_dict()
    torch.rand(1)
    torch.random.set_rng_state(before)
    second = zoo.build(name, small(name), seed=3).state_dict()
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("name", ["moons", "resnet8", "resnet20", "mobilenet_v2_cifar", "tfc"])
def test_grey_digits_of_8x8_train_one_step(name: str) -> None:
    options: dict[str, object] = {"in_channels": 1, "image_size": 8, **small(name), "width": 0.25}
    if name == "tfc":
        options = {"inputs": 64}
    net = zoo.build(name, options, seed=0).train()
    assert zoo.input_shape(name, options) == (1, 1, 8, 8)
    loss = F.cross_entropy(net(torch.rand(4, 1, 8, 8)), torch.tensor([0, 1, 2, 3]))
    torch.autograd.backward(loss)
    assert all(p.grad is not None for p in net.parameters())


def test_activations_are_modules_a_quantizer_can_replace() -> None:
    soft = zoo.moons(filters=(8, 8, 8), activation="hardtanh")
    assert sum(isinstance(m, nn.Hardtanh) for m in soft.modules()) == 5
    assert sum(isinstance(m, nn.ReLU) for m in zoo.moons(filters=(8, 8, 8)).modules()) == 5
    with pytest.raises(ValueError, match="activation must be one of relu, hardtanh, not 'gelu'"):
        zoo.tfc(activation="gelu")


def test_option_a_shortcut_slices_and_pads_half_before_and_half_after() -> None:
    x = torch.arange(2 * 16 * 4 * 4, dtype=torch.float32).reshape(2, 16, 4, 4)
    shortcut = zoo.resnet20().layer2[0].shortcut
    expected = torch.zeros(2, 32, 2, 2)
    for channel in range(16):
        for row in range(2):
            for column in range(2):
                expected[:, channel + 8, row, column] = x[:, channel, 2 * row, 2 * column]
    assert torch.equal(shortcut(x), expected)


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "expected"),
    [  # TensorFlow: total = max((ceil(n/s) - 1) s + k - n, 0), before = total // 2
        ((32, 32), (3, 3), 2, (0, 1, 0, 1)),
        ((7, 7), (3, 3), 2, (1, 1, 1, 1)),
        ((49, 10), (10, 4), 2, (1, 1, 4, 5)),
        ((8, 8), (3, 3), 1, (1, 1, 1, 1)),
        ((8, 8), (1, 1), 2, (0, 0, 0, 0)),
    ],
)
def test_same_padding(
    size: tuple[int, int], kernel: tuple[int, int], stride: int, expected: tuple[int, int, int, int]
) -> None:
    assert same_padding(size, kernel, stride) == expected


@pytest.mark.parametrize("size", [7, 8, 28, 32])
def test_resnet8_halves_any_size_upwards(size: int) -> None:
    sizes: list[int] = []
    net = zoo.resnet8(image_size=size).eval()
    net.block3.register_forward_hook(lambda _m, _i, output: sizes.append(output.shape[-1]))
    net(torch.zeros(1, 3, size, size))
    assert sizes == [-(-size // 4)]


def test_impossible_shapes_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"moons: image_size 4 is too small for 3 max pools: give at least 8"
    ):
        zoo.moons(image_size=4)
    with pytest.raises(ValueError, match=r"one number per block, not \(1, 2\) and \(64,\)"):
        zoo.moons(depths=(1, 2), filters=(64,))
    with pytest.raises(ValueError, match=r"depths \(0,\) and filters \(64,\) must all be at least 1"):
        zoo.moons(depths=(0,), filters=(64,))
    with pytest.raises(ValueError, match="cnv: image_size 28 is too small"):
        zoo.cnv(image_size=28)
    with pytest.raises(ValueError, match="resnet8: image_size must be at least 4, not 2"):
        zoo.resnet8(image_size=2)
    with pytest.raises(ValueError, match="the shortcut option must be 'A'"):
        zoo.resnet20(option="C")
    with pytest.raises(ValueError, match="stem must be 'imagenet'"):
        zoo.resnet18(stem="tiny")
    with pytest.raises(ValueError, match="frames and coefficients must be at least 4, not 2 and 10"):
        zoo.ds_cnn(frames=2)


def test_first_convolution_of_ds_cnn_is_padded_like_tensorflow() -> None:
    net = zoo.ds_cnn().eval()
    x = torch.rand(1, 1, 49, 10)
    stem = net.stem[0]
    padded = torch.zeros(1, 1, 58, 12)
    padded[:, :, 4:53, 1:11] = x
    expected: Tensor = F.conv2d(padded, stem.weight, stem.bias, stride=2)
    assert expected.shape == (1, 64, 25, 5)
    assert torch.equal(stem(net.pad(x)), expected)
