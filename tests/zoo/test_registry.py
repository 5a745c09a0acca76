"""The networks by name: defaults, options, errors."""

import inspect
import math

import pytest
import torch

from bitjoule import zoo
from bitjoule.zoo.option_ranges import COUNTS

NAMES = (
    "moons vgg-moons resnet8 resnet18 resnet20 resnet32 resnet56 bireal18 bireal20 reactnet18 reactnet20 "
    "mobilenet_v1 mobilenet_v2 mobilenet_v2_cifar ds_cnn cnv tfc sfc lfc"
)


def test_names_and_default_shapes() -> None:
    cards = zoo.networks()
    assert [card.name for card in cards] == NAMES.split()
    assert {card.name: card.input_shape for card in cards if card.name in ("resnet18", "ds_cnn", "tfc")} == {
        "resnet18": (1, 3, 224, 224),
        "ds_cnn": (1, 1, 49, 10),
        "tfc": (1, 1, 28, 28),
    }
    assert all(card.summary for card in cards)


def test_input_shape_follows_the_options() -> None:
    assert zoo.input_shape("mobilenet_v2", {"image_size": 32}) == (1, 3, 32, 32)
    assert zoo.input_shape("tfc", {"inputs": 3072}) == (1, 3, 32, 32)
    assert zoo.input_shape("tfc", {"inputs": 10}) == (1, 10)


def test_unknown_name_names_the_nearest() -> None:
    with pytest.raises(
        ValueError, match=r"unknown network 'resnet-20', did you mean 'resnet20'\? Networks: moons, "
    ):
        zoo.build("resnet-20", {}, seed=0)


def test_unknown_option_lists_the_options() -> None:
    text = (
        r"network 'resnet20' has no option 'depth'; options with their defaults: "
        r"width=1.0, classes=10, in_channels=3, image_size=32, option='A'"
    )
    with pytest.raises(ValueError, match=text):
        zoo.build("resnet20", {"depth": 3}, seed=0)


@pytest.mark.parametrize(
    ("name", "options", "text"),
    [
        ("resnet20", {"width": "half"}, r"option 'width' must be a number such as 1.0, not 'half'"),
        ("resnet20", {"width": True}, r"option 'width' must be a number such as 1.0, not True"),
        ("resnet20", {"classes": 0}, r"option 'classes' must be an integer of at least 1 such as 10, not 0"),
        (
            "resnet20",
            {"classes": 10.0},
            r"option 'classes' must be an integer of at least 1 such as 10, not 10.0",
        ),
        ("resnet20", {"option": 1}, r"option 'option' must be a word such as 'A', not 1"),
        (
            "moons",
            {"depths": 3},
            r"option 'depths' must be a list of integers of at least 1 such as \(1, 2, 2\), not 3",
        ),
        ("moons", {"filters": [64, 0]}, r"option 'filters' must be a list of integers of at least 1"),
        (
            "resnet20",
            {"width": -1.0},
            r"network 'resnet20': option 'width' must be a positive number such as 0.25 or 1.0, not -1.0",
        ),
        ("vgg-moons", {"width": 0}, r"network 'vgg-moons': option 'width' must be a positive number"),
        (
            "tfc",
            {"dropout": 2},
            r"network 'tfc': option 'dropout' must be a number of at least 0 and below 1, not 2",
        ),
    ],
)
def test_values_of_the_wrong_kind_are_refused(name: str, options: dict[str, object], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        zoo.build(name, options, seed=0)


@pytest.mark.parametrize("name", [card.name for card in zoo.networks() if card.name != "vgg-moons"])
def test_every_function_has_the_defaults_of_its_card(name: str) -> None:
    card = zoo.network_card(name)
    parameters = inspect.signature(card.builder).parameters
    assert card.builder is getattr(zoo, name)
    assert {key: parameter.default for key, parameter in parameters.items()} == {
        key: value for key, value in card.options.items() if not (card.image_free and key == "image_size")
    }


def test_the_two_moons_cards_differ_in_their_depths_alone() -> None:
    small, reference = zoo.network_card("moons"), zoo.network_card("vgg-moons")
    assert {**small.options, "depths": (3, 3, 3)} == reference.options
    assert (small.options["depths"], small.builder) == ((1, 2, 2), reference.builder)


OUT_OF_RANGE = {
    "width": (0, -0.5, math.nan, math.inf, "half"),
    "dropout": (2, 1, -0.1, math.nan),
    **dict.fromkeys(sorted(COUNTS), (0, -1, 1.5)),
}


@pytest.mark.parametrize("name", [card.name for card in zoo.networks() if card.name != "vgg-moons"])
def test_every_function_names_itself_and_the_option_out_of_range(name: str) -> None:
    builder = zoo.network_card(name).builder
    options = [option for option in inspect.signature(builder).parameters if option in OUT_OF_RANGE]
    assert {"width", "classes"} <= set(options)
    for option in options:
        for value in OUT_OF_RANGE[option]:
            with pytest.raises(ValueError) as caught:
                builder(**{option: value})
            assert str(caught.value).startswith(f"network {name!r}: option {option!r} must be ")
            assert str(caught.value).endswith(f", not {value!r}")


def test_initial_weights_follow_he() -> None:
    net = zoo.build("resnet18", {"stem": "cifar"}, seed=0)
    weight = net.state_dict()["layer4.1.conv2.weight"]
    assert float(weight.std()) == pytest.approx((2 / (512 * 9)) ** 0.5, rel=0.01)
    assert torch.count_nonzero(net.state_dict()["fc.bias"]) == 0
