"""A quantized network on disk: weights and scales, its workload, and a card that says what it is.

`load.py` reads it back.
"""

from __future__ import annotations

import dataclasses
import math
import os
from pathlib import Path
from typing import Any

from bitjoule.network import Network, NetworkError
from bitjoule.quant import measured_workload
from bitjoule.train.checkpoint import save_weights, write_json
from bitjoule.train.ptq.report import QuantizedNetwork
from bitjoule.train.ptq.sensitivity import Sensitivities
from bitjoule.workload import Workload

__all__ = ["CARD", "SCHEMA", "finite", "save_quantized", "sensitivity_svg", "structure"]

SCHEMA = "bitjoule.ptq/1"
CARD = "card.json"
WEIGHTS, WORKLOAD, PLOT = "weights.safetensors", "workload.json", "sensitivity.svg"

_COLOURS = ("#0b4f6c", "#01a7c2", "#7fb069", "#e6aa04", "#d36135", "#8d3b72", "#555b6e", "#222222")


def save_quantized(
    folder: str | os.PathLike[str],
    net: QuantizedNetwork,
    *,
    sensitivities: Sensitivities | None = None,
    more: dict[str, Any] | None = None,
) -> Path:
    """Write weights, workload, the plot of sensitivities where there are some, and last the card.

    Each file is written whole or not at all, and the card of an earlier result goes first: a folder with a
    card holds one whole result, whenever the writing ended. The workload has the weights as they turned out
    (`quant.measured_workload`); `bitjoule energy FOLDER/workload.json` prices it. `more`: further entries of
    the card. Numbers that are not finite become null.
    """
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    for stale in (CARD, PLOT):
        (path / stale).unlink(missing_ok=True)
    save_weights(path / WEIGHTS, {name: t.contiguous() for name, t in net.state_dict().items()})
    write_json(path / WORKLOAD, _workload(net).to_json())
    card: dict[str, Any] = {
        "schema": SCHEMA,
        "network": net.name,
        "graph": structure(net),
        "weights": WEIGHTS,
        "workload": WORKLOAD,
        **net.quantization_report.to_json(),
        **(more or {}),
    }
    if sensitivities is not None:
        card["sensitivities"] = sensitivities.to_json()
        partial = path / f".{PLOT}.partial"
        try:
            partial.write_text(sensitivity_svg(sensitivities), encoding="utf-8")
            partial.replace(path / PLOT)
        finally:
            partial.unlink(missing_ok=True)
    write_json(path / CARD, finite(card))
    return path


def structure(net: Network) -> str:
    """The hash of a network's graph, whatever the network is called."""
    return dataclasses.replace(net.graph, name="network").hash


def _workload(net: QuantizedNetwork) -> Workload:
    try:
        return measured_workload(net)
    except NetworkError:  # no weight is quantized
        return net.workload()


def finite(document: Any) -> Any:
    """`document` with null for every number that JSON cannot hold.

    >>> finite({"a": [1.0, float("nan")]})
    {'a': [1.0, None]}
    """
    if isinstance(document, dict):
        return {key: finite(value) for key, value in document.items()}
    if isinstance(document, list | tuple):
        return [finite(value) for value in document]
    return None if isinstance(document, float) and not math.isfinite(document) else document


def sensitivity_svg(found: Sensitivities) -> str:
    """Value of every tensor (across) for every Format (a line each), on a logarithmic axis; a static SVG.

    >>> from bitjoule.train.ptq.sensitivity import Sensitivity
    >>> sensitivity_svg(Sensitivities("kl", (Sensitivity("fc", "weight", "4", 0.1, 0.01),)))[:4]
    '<svg'
    """
    from math import floor, inf, isnan, log10

    tensors = list(dict.fromkeys((row.role, row.tensor) for row in found.rows))
    tokens = list(dict.fromkeys(row.token for row in found.rows))
    positive = [row.value for row in found.rows if 0 < row.value < inf] or [1.0]
    low, high = floor(log10(min(positive))), floor(log10(max(positive))) + 1
    step, left, top, tall = 18.0, 60.0, 30.0, 300.0
    wide = left + step * len(tensors) + 120

    def height(value: float) -> float:
        known = 10.0**low if isnan(value) else min(max(value, 10.0**low), 10.0**high)
        share = (log10(known) - low) / (high - low)
        return top + tall * (1 - share)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide:g} {top + tall + 200:g}" '
        f'font-family="sans-serif" font-size="11">'
        f'<text x="{left:g}" y="16">sensitivity ({found.kind}) of each tensor quantized alone</text>'
    ]
    for power in range(low, high + 1):
        y = height(10.0**power)
        parts.append(f'<line x1="{left:g}" x2="{wide - 110:g}" y1="{y:g}" y2="{y:g}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 6:g}" y="{y + 4:g}" text-anchor="end">1e{power}</text>')
    for place, (role, tensor) in enumerate(tensors):
        x = left + step * (place + 0.5)
        name = tensor.replace("&", "&amp;").replace("<", "&lt;")
        parts.append(
            f'<text transform="translate({x + 3:g},{top + tall + 10:g}) rotate(60)" '
            f'fill="{"#000" if role == "weight" else "#777"}">{name} ({role})</text>'
        )
    place_of = {key: left + step * (i + 0.5) for i, key in enumerate(tensors)}
    for index, token in enumerate(tokens):
        colour = _COLOURS[index % len(_COLOURS)]
        for row in found.rows:
            if row.token == token:
                x, y = place_of[row.role, row.tensor], height(row.value)
                shown = f"{row.tensor} at {token}: {row.value:.3g}"
                shown = shown.replace("&", "&amp;").replace("<", "&lt;")
                parts.append(
                    f'<circle cx="{x:g}" cy="{y:g}" r="3.5" fill="{colour}"><title>{shown}</title></circle>'
                )
        y = top + 16 * (index + 1)
        parts.append(f'<circle cx="{wide - 100:g}" cy="{y - 4:g}" r="3.5" fill="{colour}"/>')
        parts.append(f'<text x="{wide - 90:g}" y="{y:g}">{token}</text>')
    return "".join(parts) + "</svg>\n"
