"""What a stored cost says in detail: energy by component, DRAM by tensor."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from bitjoule.search.trial import Json

__all__ = ["StoredItem", "by_component", "dram_by_tensor", "stored_items"]


@dataclass(frozen=True)
class StoredItem:
    """One item of a stored Cost, of `layer`."""

    layer: str
    component: str
    tensor: str
    energy_pj: float


def stored_items(breakdown: Mapping[str, object]) -> Iterator[StoredItem]:
    """Items of the `Cost.to_json` document in a breakdown; none where there is no such document."""
    document = breakdown.get("cost")
    layers = document.get("layers") if isinstance(document, Mapping) else None
    for layer in layers if isinstance(layers, list) else ():
        for item in layer["items"]:
            yield StoredItem(
                str(layer["name"]), str(item["component"]), str(item["tensor"]), float(item["energy_pj"])
            )


def by_component(breakdown: Json) -> dict[str, float]:
    """Energy in pJ by component, in the order of the cost.

    >>> item = {"component": "mac", "tensor": "none", "energy_pj": 2.0}
    >>> by_component({"cost": {"layers": [{"name": "fc", "items": [item, item]}]}})
    {'mac': 4.0}
    """
    return _summed([(item.component, item.energy_pj) for item in stored_items(breakdown)])


def dram_by_tensor(breakdown: Json) -> dict[str, float]:
    """DRAM energy in pJ by tensor (weights, inputs, outputs, psums ...).

    >>> item = {"component": "level:DRAM", "tensor": "weights", "energy_pj": 2.0}
    >>> dram_by_tensor({"cost": {"layers": [{"name": "fc", "items": [item]}]}})
    {'weights': 2.0}
    """
    return _summed(
        [
            (item.tensor, item.energy_pj)
            for item in stored_items(breakdown)
            if item.component.rpartition(":")[2].lower() == "dram"
        ]
    )


def _summed(pairs: list[tuple[str, float]]) -> dict[str, float]:
    groups: dict[str, list[float]] = {}
    for name, energy_pj in pairs:
        groups.setdefault(name, []).append(energy_pj)
    return {name: math.fsum(values) for name, values in groups.items()}
