"""The networks by name, as study files and the command line ask for them."""

import difflib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from bitjoule.zoo.bireal import bireal18, bireal20, reactnet18, reactnet20
from bitjoule.zoo.cnv import cnv
from bitjoule.zoo.ds_cnn import ds_cnn
from bitjoule.zoo.mlp import lfc, sfc, tfc
from bitjoule.zoo.mobilenet import mobilenet_v1, mobilenet_v2, mobilenet_v2_cifar
from bitjoule.zoo.moons import moons
from bitjoule.zoo.option_ranges import check_options
from bitjoule.zoo.resnet import resnet18, resnet20, resnet32, resnet56
from bitjoule.zoo.resnet8 import resnet8

__all__ = ["NetworkCard", "OptionValue", "build", "input_shape", "network_card", "networks"]

OptionValue = int | float | str | tuple[int, ...]

IMAGE: Mapping[str, OptionValue] = {"width": 1.0, "classes": 10, "in_channels": 3, "image_size": 32}
IMAGENET: Mapping[str, OptionValue] = {"width": 1.0, "classes": 1000, "in_channels": 3, "image_size": 224}
MLP: Mapping[str, OptionValue] = {
    "width": 1.0,
    "classes": 10,
    "inputs": 784,
    "activation": "relu",
    "dropout": 0.0,
}
MOONS: Mapping[str, OptionValue] = {
    "depths": (1, 2, 2),
    "filters": (64, 128, 256),
    **IMAGE,
    "activation": "relu",
}
VGG_MOONS: Mapping[str, OptionValue] = {**MOONS, "depths": (3, 3, 3)}


@dataclass(frozen=True)
class NetworkCard:
    """One network of the zoo: its name, a line about it, and its options with their defaults.

    `image_free` networks take any image size, so `image_size` only decides `input_shape`.
    """

    name: str
    summary: str
    builder: Callable[..., nn.Module]
    options: Mapping[str, OptionValue]
    image_free: bool = False

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The input shape at the default options, batch 1."""
        return shape_of(self.options)


CARDS = (
    NetworkCard("moons", "VGG-like blocks of Moons 2017; by default 1x64 2x128 2x256", moons, MOONS),
    NetworkCard(
        "vgg-moons", "the reference network of Moons 2017's energy table, 3x64 3x128 3x256", moons, VGG_MOONS
    ),
    NetworkCard("resnet8", "MLPerf Tiny image classification", resnet8, IMAGE),
    NetworkCard("resnet18", "ResNet-18, torchvision names", resnet18, {**IMAGENET, "stem": "imagenet"}, True),
    NetworkCard("resnet20", "ResNet-20 for CIFAR", resnet20, {**IMAGE, "option": "A"}, True),
    NetworkCard("resnet32", "ResNet-32 for CIFAR", resnet32, {**IMAGE, "option": "A"}, True),
    NetworkCard("resnet56", "ResNet-56 for CIFAR", resnet56, {**IMAGE, "option": "A"}, True),
    NetworkCard(
        "bireal18",
        "Bi-Real-18: a shortcut round every conv",
        bireal18,
        {**IMAGENET, "stem": "imagenet"},
        True,
    ),
    NetworkCard("bireal20", "Bi-Real-20 for CIFAR", bireal20, IMAGE, True),
    NetworkCard(
        "reactnet18",
        "ReActNet-18: Bi-Real-18 with RSign and RPReLU",
        reactnet18,
        {**IMAGENET, "stem": "imagenet"},
        True,
    ),
    NetworkCard("reactnet20", "ReActNet-20 for CIFAR", reactnet20, IMAGE, True),
    NetworkCard("mobilenet_v1", "MobileNetV1", mobilenet_v1, IMAGENET, True),
    NetworkCard(
        "mobilenet_v2", "MobileNetV2, torchvision names", mobilenet_v2, {**IMAGENET, "dropout": 0.2}, True
    ),
    NetworkCard(
        "mobilenet_v2_cifar",
        "MobileNetV2 with stem and 24-channel blocks at stride 1",
        mobilenet_v2_cifar,
        {**IMAGE, "dropout": 0.2},
        True,
    ),
    NetworkCard(
        "ds_cnn",
        "MLPerf Tiny keyword spotting",
        ds_cnn,
        {"width": 1.0, "classes": 12, "in_channels": 1, "frames": 49, "coefficients": 10},
    ),
    NetworkCard("cnv", "FINN's CIFAR-10 network", cnv, {**IMAGE, "activation": "relu"}),
    NetworkCard("tfc", "FINN's MNIST network, 3 x 64 neurons", tfc, MLP),
    NetworkCard("sfc", "FINN's MNIST network, 3 x 256 neurons", sfc, MLP),
    NetworkCard("lfc", "FINN's MNIST network, 3 x 1024 neurons", lfc, MLP),
)


def networks() -> tuple[NetworkCard, ...]:
    """Return the card of every network.

    >>> len(networks())
    19
    """
    return CARDS


def network_card(name: str) -> NetworkCard:
    """Return the card of `name`; an unknown name raises ValueError and names the nearest."""
    for card in CARDS:
        if card.name == name:
            return card
    names = [card.name for card in CARDS]
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.0)
    raise ValueError(f"unknown network {name!r}, did you mean {near[0]!r}? Networks: {', '.join(names)}")


def build(name: str, options: Mapping[str, object], seed: int) -> nn.Module:
    """Return the network `name` with `options` over its defaults, its weights drawn from `seed`.

    The same seed gives the same weights; torch's global generator is left as it was. Raises ValueError for
    an unknown name or option, or a value of the wrong type.

    >>> sum(p.numel() for p in build("resnet20", {"width": 0.5}, seed=0).parameters())
    68050
    """
    card = network_card(name)
    chosen = merged(card, options)
    if card.image_free:
        chosen.pop("image_size")
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return card.builder(**chosen)


def input_shape(name: str, options: Mapping[str, object]) -> tuple[int, ...]:
    """Return the input shape of `build(name, options, seed)` with batch 1.

    The fully connected networks flatten any input; theirs is a square image of 1 or 3 channels where
    `inputs` allows, else a row.

    >>> input_shape("mobilenet_v2", {"image_size": 32, "classes": 10}), input_shape("tfc", {"inputs": 64})
    ((1, 3, 32, 32), (1, 1, 8, 8))
    """
    return shape_of(merged(network_card(name), options))


def merged(card: NetworkCard, options: Mapping[str, object]) -> dict[str, OptionValue]:
    """Return the card's options with `options` put over them, checked."""
    chosen = dict(card.options)
    for key, value in options.items():
        if key not in chosen:
            listed = ", ".join(f"{option}={default!r}" for option, default in card.options.items())
            raise ValueError(
                f"network {card.name!r} has no option {key!r}; options with their defaults: {listed}"
            )
        chosen[key] = checked(card.name, key, value, chosen[key])
    check_options(card.name, chosen)
    return chosen


def checked(name: str, key: str, value: object, default: OptionValue) -> OptionValue:
    """Return `value` if it has the kind of `default` (a list counts as a tuple, an int as a float)."""
    if isinstance(default, str):
        if isinstance(value, str):
            return value
        expected = "a word"
    elif isinstance(default, tuple):
        items = tuple(value) if isinstance(value, list | tuple) else ()
        if items and all(is_count(item) for item in items):
            return items
        expected = "a list of integers of at least 1"
    elif isinstance(default, float):
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        expected = "a number"
    else:
        if isinstance(value, int) and is_count(value):
            return value
        expected = "an integer of at least 1"
    raise ValueError(
        f"network {name!r}: option {key!r} must be {expected} such as {default!r}, not {value!r}"
    )


def is_count(value: object) -> bool:
    """Whether `value` is an integer of at least 1 (and no bool)."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def shape_of(options: Mapping[str, OptionValue]) -> tuple[int, ...]:
    """Return the input shape that a full set of options describes."""
    integers = {key: value for key, value in options.items() if isinstance(value, int)}
    if "image_size" in integers:
        return (1, integers["in_channels"], integers["image_size"], integers["image_size"])
    if "frames" in integers:
        return (1, integers["in_channels"], integers["frames"], integers["coefficients"])
    inputs = integers["inputs"]
    for channels in (1, 3):
        side = math.isqrt(inputs // channels)
        if channels * side * side == inputs:
            return (1, channels, side, side)
    return (1, inputs)
