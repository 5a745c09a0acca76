"""A quantized network read back from the folder that `save_quantized` wrote.

The steps before calibration are repeated on the float network as the card says, then every weight and scale
comes from the file.
"""

from __future__ import annotations

import json
import math
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bitjoule.network import Network
from bitjoule.scheme import parse_scheme
from bitjoule.train.ptq.check import check_network, gathered
from bitjoule.train.ptq.config import PtqConfig, PtqError, PtqWarning
from bitjoule.train.ptq.place import placed
from bitjoule.train.ptq.prepare import prepared, pruned_scheme
from bitjoule.train.ptq.report import QuantizationReport, QuantizedNetwork, TensorRow
from bitjoule.train.ptq.save import CARD, SCHEMA, structure
from bitjoule.train.ptq.trace import quantizer_of
from bitjoule.zoo.weights import read_weights

__all__ = ["load_quantized"]


def load_quantized(
    folder: str | os.PathLike[str],
    net: Network,
    *,
    images: Tensor | np.ndarray[Any, Any] | None = None,
) -> QuantizedNetwork:
    """The result in `folder`, bit for bit, with its report.

    net
        the float network that was quantized. Its weights matter only where they decided the structure
        (`split_ratio`, `prune=channels:...`, `relu6`); otherwise the network may be untrained.
    images
        the calibration images, only where `prune=channels:...` chose channels by them.

    Raises:
        PtqError: no whole result in `folder`, or `net` is not the network that it was made of.

    loaded = load_quantized("out", bj.capture(model, input_shape=(1, 3, 32, 32)).eval())
    """
    path = Path(folder)
    card = _card(path)
    report = _report(path, card)
    check_network(net)
    settings = report.config
    scheme = pruned_scheme(parse_scheme(report.scheme), settings)
    wanted = {row.name: row.format for row in report.rows}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PtqWarning)  # given when it was made
        found = None if images is None else gathered(images, net, settings.calibration_count, report.preset)
        plain = prepared(net, scheme, settings, found)
        for signed in (True, False):
            quantized = placed(
                plain,
                scheme,
                asymmetric_below_bits=settings.asymmetric_below_bits,
                image_signed=signed,
                per_tensor=settings.per_tensor,
            )
            if _formats(quantized) == wanted:
                break
    if _formats(quantized) != wanted or structure(quantized) != card.get("graph"):
        raise PtqError(
            f"{path}: this result was not made of this {net.name}: give the float network that was "
            "quantized, with its weights, and images= if channels were pruned by them"
        )
    state = read_weights(path / str(card["weights"]))
    try:
        quantized.load_state_dict(state)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise PtqError(f"{path}: its weights do not fit this {net.name}: {reason}") from None
    quantized.notes = report.notes
    return QuantizedNetwork(quantized.to(memory_format=torch.contiguous_format).eval(), report)


def _formats(net: Network) -> dict[str, str]:
    found = (quantizer_of(net, node) for node in net.module.graph.nodes)
    return {q.name: str(q.tensor_format) for q in found if q is not None}


def _card(path: Path) -> dict[str, Any]:
    file = path / CARD
    if not file.is_file():
        raise PtqError(
            f"{path}: holds no {CARD}: expected the folder of a finished bitjoule ptq -o (or of "
            "save_quantized); a run that was stopped while it wrote leaves none, run it again"
        )
    try:
        card = json.loads(file.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise PtqError(f"{file}: not JSON ({error}); run bitjoule ptq -o again") from None
    if not isinstance(card, dict) or card.get("schema") != SCHEMA:
        got = card.get("schema") if isinstance(card, dict) else card
        raise PtqError(f"{file}: schema {got!r} is not {SCHEMA!r}; run bitjoule ptq -o again")
    return card


def _report(path: Path, card: dict[str, Any]) -> QuantizationReport:
    try:
        rows = tuple(_row(row) for row in card["tensors"])
        return QuantizationReport(
            scheme=card["scheme"],
            preset=card["preset"],
            config=PtqConfig(**card["config"]),
            seed=card["seed"],
            images=card["images"],
            rows=rows,
            seconds=card["seconds"],
            notes=tuple(card["notes"]),
            float_accuracy=card["float_accuracy"],
            accuracy=card["accuracy"],
        )
    except (KeyError, TypeError) as error:
        raise PtqError(
            f"{path / CARD}: not a card of this version of bitjoule ({error}); run bitjoule ptq -o again"
        ) from None


def _row(row: dict[str, Any]) -> TensorRow:
    values: dict[str, Any] = {key: math.nan if value is None else value for key, value in row.items()}
    return TensorRow(**values)
