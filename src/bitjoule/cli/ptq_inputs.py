"""What `bitjoule ptq` works on: data, the trained network, calibration images.

Data are opened only where something is done with them: without images, a network for a kind of data of known
shape is built without its files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bitjoule.cli.network_argument import parse_settings, zoo_network

if TYPE_CHECKING:
    from torch import Tensor

    from bitjoule.network import Network
    from bitjoule.zoo import Dataset

__all__ = [
    "NORMALISATIONS",
    "calibration_images",
    "evaluator",
    "float_network",
    "opened",
    "refuse_file",
    "refuse_normalisation",
]

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
WEIGHT_FILES = (".safetensors", ".th", ".pth", ".pt", ".ckpt", ".bin")
GRAPH_FILES = (".onnx", ".json")
NORMALISATIONS = ("signed", "unit", "moons", "imagenet")
"""What --normalise takes; the first where it is not given."""


@dataclass(frozen=True)
class _Shape:
    """What a network must know of data: classes, and one image as a batch of one."""

    classes: int
    input_shape: tuple[int, int, int, int]


SHAPES: Mapping[str, _Shape] = {
    "digits": _Shape(10, (1, 1, 8, 8)),
    "mnist": _Shape(10, (1, 1, 28, 28)),
    "cifar10": _Shape(10, (1, 3, 32, 32)),
    "cifar100": _Shape(100, (1, 3, 32, 32)),
    "svhn": _Shape(10, (1, 3, 32, 32)),
}
"""Kinds of data whose files always have these shapes."""


def refuse_file(network: str) -> None:
    """PtqError for a file in the place of NETWORK, with the call that was meant."""
    from bitjoule import zoo
    from bitjoule.train.ptq.config import PtqError

    path = Path(network)
    suffix = path.suffix.lower()
    if suffix in GRAPH_FILES:
        raise PtqError(
            f"ptq: {network}: a graph file holds nothing that can be quantized here; NETWORK is a name of "
            "the zoo (bitjoule networks). For any other network use Python: "
            "bj.ptq(bj.capture(model, input_shape=...).eval(), images, 'w4a8')"
        )
    if suffix in WEIGHT_FILES or path.is_file():
        names = sorted((card.name for card in zoo.networks() if card.name in path.name), key=len)
        name = names[-1] if names else "NAME"
        raise PtqError(
            f"ptq: {network} is a file; NETWORK is a name of the zoo (bitjoule networks), and its weights "
            f"are an option: bitjoule ptq {name} --weights {network}"
        )


def refuse_normalisation(name: str | None) -> None:
    """PtqError for an unknown name of --normalise."""
    from bitjoule.train.ptq.config import PtqError

    if name is not None and name not in (*NORMALISATIONS, "standard"):
        raise PtqError(f"ptq: --normalise must be one of {', '.join(NORMALISATIONS)}; not {name!r}")


def opened(kind: str, folder: Path | None, normalise: str | None) -> Dataset:
    """The dataset, read, with the normalisation that the network was trained with."""
    from bitjoule import zoo
    from bitjoule.train.ptq.config import PtqError
    from bitjoule.zoo.data import DataError
    from bitjoule.zoo.data.layout import KINDS, REMEDY

    if kind in KINDS and kind != "digits" and folder is None:
        raise PtqError(
            f"ptq: data kind {kind!r} needs --images, the folder that holds its files; "
            "--preset data-free needs none"
        )
    if normalise == "imagenet":
        mean, std = IMAGENET
        preprocessing: Any = zoo.Preprocessing("standard", mean=mean, std=std)
    else:
        preprocessing = normalise or NORMALISATIONS[0]
    try:
        return zoo.load_dataset(kind, folder, preprocessing=preprocessing)
    except DataError as error:
        text = str(error).replace(REMEDY, "give --images the folder that holds these files")
        raise PtqError(f"ptq: {text}") from None


def float_network(
    name: str, weights: Path | None, options: list[str], kind: str, dataset: Dataset | None, seed: int
) -> Network:
    """The network of the zoo with its trained weights, in evaluation mode.

    What the data decide (classes, channels, image size) comes from `dataset`, or from the kind where the data
    are not opened; of other kinds from the options alone.
    """
    from bitjoule import zoo
    from bitjoule.network import capture
    from bitjoule.train.ptq.config import PtqError
    from bitjoule.zoo.data.layout import KINDS
    from bitjoule.zoo.weights import WeightsError

    if weights is None:
        raise PtqError(
            f"ptq: {name} needs trained weights; give --weights FILE "
            f"(bitjoule train {name} -o FOLDER makes one)"
        )
    given = parse_settings(options)
    known: Any = dataset or SHAPES.get(kind)
    if known is not None:
        try:
            return zoo_network(name, given, known, seed, weights).eval()
        except WeightsError as error:
            channels, height, width = known.input_shape[1:]
            raise PtqError(
                f"ptq: {error}. Here --data {kind} makes it a network of {known.classes} classes for images "
                f"of {channels} x {height} x {width}"
            ) from None
    if kind not in KINDS:
        raise PtqError(f"ptq: unknown data kind {kind!r}; kinds: {', '.join(KINDS)}")
    model = zoo.build(name, given, seed)
    zoo.load_weights(model, weights)
    return capture(model, input_shape=zoo.input_shape(name, given), name=name).eval()


def calibration_images(dataset: Dataset, count: int, seed: int) -> Tensor:
    """`count` images of the training split, drawn by `seed` from its first 4 * count."""
    import torch

    from bitjoule import zoo

    size = min(4 * count, len(dataset.train))
    found = []
    for x, _ in zoo.batches(dataset.train, 256, preprocessing=dataset.preprocessing):
        found.append(x)
        if sum(map(len, found)) >= size:
            break
    images = torch.cat(found)[:size]
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    return images[order[:count]]


def evaluator(dataset: Dataset) -> Any:
    """Top-1 of a network on the test images."""
    from bitjoule.train.accuracy import measure

    return lambda net: measure(net, dataset.test, dataset.preprocessing).fraction
