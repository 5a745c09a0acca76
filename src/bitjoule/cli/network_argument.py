"""What the word NETWORK of a command may be: a zoo name, an ONNX file, or a graph saved as JSON."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bitjoule.network import Network
    from bitjoule.workload import Graph
    from bitjoule.zoo import Dataset

__all__ = ["graph_of", "parse_settings", "parse_shape", "zoo_network"]

FILE_SUFFIXES = (".onnx", ".json")


def parse_settings(settings: Sequence[str], *, width: float | None = None) -> dict[str, object]:
    """Network options from `KEY=VALUE` words; a value is a number, a word, or numbers joined by commas.

    >>> parse_settings(["filters=32,64,64", "option=B"], width=0.5)
    {'filters': (32, 64, 64), 'option': 'B', 'width': 0.5}
    """
    options: dict[str, object] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or not key:
            raise ValueError(
                f"--set takes KEY=VALUE, such as classes=10 or filters=32,64,64, not {setting!r}"
            )
        options[key.strip()] = _value(value.strip())
    if width is not None:
        options["width"] = width
    return options


def _value(text: str) -> object:
    if "," in text:
        return tuple(_number(part) for part in text.split(",") if part)
    return _number(text)


def _number(text: str) -> object:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def parse_shape(text: str | None) -> tuple[int, ...] | None:
    """The shape of a network's input from numbers joined by commas.

    >>> parse_shape("1,3,96,96")
    (1, 3, 96, 96)
    """
    if text is None:
        return None
    shape = tuple(int(part) if part.strip().isdecimal() else 0 for part in text.split(","))
    if not all(shape):
        raise ValueError(f"--input-shape takes whole numbers > 0 such as 1,3,96,96, not {text!r}")
    return shape


def graph_of(
    network: str, options: Mapping[str, object], input_shape: tuple[int, ...] | None = None
) -> Graph:
    """The Graph of a zoo network (built and captured), of an ONNX file, or of a saved graph.

    `input_shape` stands in place of the zoo network's own.

    Raises:
        ValueError: no such network or file, or options or a shape given for a file.
    """
    path = Path(network)
    if path.suffix in FILE_SUFFIXES:
        if options:
            raise ValueError(
                f"{network}: options ({', '.join(options)}) are for networks of the zoo, not files"
            )
        if input_shape is not None:
            raise ValueError(f"{network}: --input-shape is for networks of the zoo; a file has its shapes")
        return _graph_in(path)
    from bitjoule import zoo
    from bitjoule.network import capture

    names = [card.name for card in zoo.networks()]
    if network not in names:
        near = difflib.get_close_matches(network, names, n=1, cutoff=0.5)
        mend = f"did you mean {near[0]!r}?" if near else f"networks: {', '.join(names)}; or an .onnx file"
        raise ValueError(f"unknown network {network!r}; {mend}")
    model = zoo.build(network, options, seed=0)
    return capture(model, input_shape=input_shape or zoo.input_shape(network, options), name=network).graph


def zoo_network(
    network: str, options: Mapping[str, object], dataset: Dataset, seed: int, weights: Path | None = None
) -> Network:
    """A network of the zoo for the images and classes of `dataset`, captured, with the weights of a file or
    those of `seed`.

    Raises:
        ValueError: options that the data contradict, or weights of another network.
    """
    from bitjoule import zoo
    from bitjoule.front_door import fitted_options
    from bitjoule.network import capture

    fitted = fitted_options(network, options, dataset)
    model = zoo.build(network, fitted, seed)
    if weights is not None:
        zoo.load_weights(model, weights)
    return capture(model, input_shape=zoo.input_shape(network, fitted), name=network)


def _graph_in(path: Path) -> Graph:
    from bitjoule.workload import Graph, graph_from_onnx

    if path.suffix == ".onnx":
        return graph_from_onnx(path)
    if not path.is_file():
        raise FileNotFoundError(f"no file {str(path)!r} here")
    try:
        return Graph.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not JSON ({error})") from None
