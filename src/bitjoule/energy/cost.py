"""A Cost: what one inference takes, as a list of items of which every number is a sum.

Nothing but the items, cycles and footprints is stored, so the parts always make the whole: sums are
`math.fsum`, independent of order.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

__all__ = ["SCHEMA", "Cost", "CostItem"]

SCHEMA = "bitjoule.cost/1"
PJ_PER_UJ = 1e6


@dataclass(frozen=True)
class CostItem:
    """One term of a Cost.

    `layer`: name of the Layer or step. `component`: "mac", "op:add", "level:dram", "moons:compute", ...
    `tensor`: weights, inputs, outputs, psums, residual or none. `action`: compute, read, write, update,
    transfer, leak or static. `count`: actions. `bits_moved`: bits of memory actions, else 0.
    """

    layer: str
    component: str
    tensor: str
    action: str
    count: int
    energy_pj: float
    bits_moved: int = 0

    def __post_init__(self) -> None:
        if not (
            math.isfinite(self.energy_pj) and self.energy_pj >= 0 and self.count >= 0 and self.bits_moved >= 0
        ):
            numbers = f"{self.energy_pj}, {self.count}, {self.bits_moved}"
            raise ValueError(
                f"cost item {self.layer}/{self.component}/{self.tensor}: "
                f"energy_pj, count and bits_moved must be finite and >= 0, not {numbers}"
            )


KEYS = tuple(entry.name for entry in fields(CostItem) if entry.type == "str")
"""What `Cost.by` sums over: layer, component, tensor, action."""


@dataclass(frozen=True)
class Cost:
    """Energy, cycles and footprint of one inference.

    `latency_cycles`: per layer, layers run one after another. `footprint_bits`: (layer, level) -> bits held.
    `outermost`: the component that is DRAM. `notes`: rules and extrapolations behind the numbers.
    `mapping_hashes`: of the loop nest that a layer runs, where it has one.
    `provenance`: component -> where its price comes from. `+` joins costs of different layers.

    >>> cost = Cost((CostItem("a", "mac", "none", "compute", 2, 3.0),), {"a": 5})
    >>> cost.energy_pj, cost.by("component"), cost.total_cycles
    (3.0, {('mac',): 3.0}, 5)
    """

    items: tuple[CostItem, ...] = ()
    latency_cycles: Mapping[str, int] = field(default_factory=dict)
    footprint_bits: Mapping[tuple[str, str], int] = field(default_factory=dict)
    macs: Mapping[str, int] = field(default_factory=dict)
    network: str = ""
    scheme: str = ""
    hardware: str = ""
    hardware_hash: str = ""
    outermost: str = "level:dram"
    notes: tuple[str, ...] = ()
    provenance: Mapping[str, str] = field(default_factory=dict)
    mapping_hashes: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        position = {name: index for index, name in enumerate(self.layers)}
        ordered = tuple(sorted(self.items, key=lambda item: position[item.layer]))
        object.__setattr__(self, "items", ordered)

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of layers and steps, in running order."""
        return tuple(dict.fromkeys((*self.latency_cycles, *self.macs, *(item.layer for item in self.items))))

    @cached_property
    def energy_pj(self) -> float:
        """Energy of one inference."""
        return math.fsum(item.energy_pj for item in self.items)

    @property
    def energy_uj(self) -> float:
        """Energy of one inference in microjoules, for people."""
        return self.energy_pj / PJ_PER_UJ

    @property
    def total_cycles(self) -> int:
        """Cycles of one inference."""
        return sum(self.latency_cycles.values())

    @property
    def dram_pj(self) -> float:
        """Energy of the outermost memory."""
        return math.fsum(item.energy_pj for item in self.items if item.component == self.outermost)

    @property
    def dram_share(self) -> float:
        """Energy of the outermost memory / total; 0 for an empty workload."""
        return self.dram_pj / self.energy_pj if self.energy_pj else 0.0

    @property
    def traffic_bits(self) -> int:
        """Bits that cross the outermost memory."""
        return sum(item.bits_moved for item in self.items if item.component == self.outermost)

    @property
    def dram_shares(self) -> dict[str, float]:
        """Shares of the total energy spent in DRAM on weights, feature maps, psums and residuals."""
        groups = {"inputs": "feature_maps", "outputs": "feature_maps", "residual": "residuals"}
        sums: dict[str, list[float]] = {"weights": [], "feature_maps": [], "psums": [], "residuals": []}
        for item in self.items:
            if item.component == self.outermost:
                sums.setdefault(groups.get(item.tensor, item.tensor), []).append(item.energy_pj)
        total = self.energy_pj or 1.0
        return {name: math.fsum(values) / total for name, values in sums.items()}

    @property
    def peak_footprint_bits(self) -> dict[str, int]:
        """Level -> the most bits it holds at once."""
        peak: dict[str, int] = {}
        for (_, level), bits in self.footprint_bits.items():
            peak[level] = max(peak.get(level, 0), bits)
        return peak

    def by(self, *keys: str) -> dict[tuple[str, ...], float]:
        """Energy in pJ summed by any of layer, component, tensor, action; no key gives the total under ().

        Raises:
            ValueError: a key that items do not have.
        """
        for key in keys:
            if key not in KEYS:
                raise ValueError(f"a cost is summed by {', '.join(KEYS)}, not by {key!r}")
        groups: dict[tuple[str, ...], list[float]] = {} if keys else {(): []}
        for item in self.items:
            groups.setdefault(tuple(getattr(item, key) for key in keys), []).append(item.energy_pj)
        return {group: math.fsum(values) for group, values in groups.items()}

    def __add__(self, other: Cost) -> Cost:
        """Both costs on one hardware; their layers must differ."""
        if not isinstance(other, Cost):
            return NotImplemented
        both = sorted(set(self.layers) & set(other.layers))
        if both:
            raise ValueError(f"costs of the same layers cannot be added: {', '.join(both)}")
        if self.hardware_hash != other.hardware_hash:
            raise ValueError(f"costs on {self.hardware!r} and on {other.hardware!r} cannot be added")
        return Cost(
            items=self.items + other.items,
            latency_cycles={**self.latency_cycles, **other.latency_cycles},
            footprint_bits={**self.footprint_bits, **other.footprint_bits},
            macs={**self.macs, **other.macs},
            network=_joined(self.network, other.network),
            scheme=_joined(self.scheme, other.scheme),
            hardware=self.hardware,
            hardware_hash=self.hardware_hash,
            outermost=self.outermost,
            notes=tuple(dict.fromkeys(self.notes + other.notes)),
            provenance={**self.provenance, **other.provenance},
            mapping_hashes={**self.mapping_hashes, **other.mapping_hashes},
        )

    def to_json(self) -> dict[str, Any]:
        """A JSON document of schema `bitjoule.cost/1`; `from_json` reads it back exactly."""
        layers = []
        for name in self.layers:
            entry: dict[str, Any] = {"name": name}
            if name in self.latency_cycles:
                entry["latency_cycles"] = self.latency_cycles[name]
            if name in self.macs:
                entry["macs"] = self.macs[name]
            if name in self.mapping_hashes:
                entry["mapping_hash"] = self.mapping_hashes[name]
            held = {level: bits for (layer, level), bits in self.footprint_bits.items() if layer == name}
            if held:
                entry["footprint_bits"] = held
            entry["items"] = [
                {key: getattr(item, key) for key in _ITEM_KEYS} for item in self.items if item.layer == name
            ]
            layers.append(entry)
        return {
            "schema": SCHEMA,
            "network": self.network,
            "scheme": self.scheme,
            "hardware": self.hardware,
            "hardware_hash": self.hardware_hash,
            "outermost": self.outermost,
            "totals": {
                "energy_pj": self.energy_pj,
                "latency_cycles": self.total_cycles,
                "dram_pj": self.dram_pj,
                "dram_share": self.dram_share,
            },
            "layers": layers,
            "footprint_bits": self.peak_footprint_bits,
            "notes": list(self.notes),
            "provenance": dict(self.provenance),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Cost:
        """The Cost of a document that `to_json` wrote.

        Raises:
            ValueError: another schema, a missing key, or totals that are not the sum of the items.
        """
        if not isinstance(document, Mapping) or document.get("schema") != SCHEMA:
            found = document.get("schema") if isinstance(document, Mapping) else type(document).__name__
            raise ValueError(f"a cost document has schema {SCHEMA!r}, not {found!r}")
        try:
            layers = document["layers"]
            cost = cls(
                items=tuple(
                    CostItem(layer=entry["name"], **item) for entry in layers for item in entry["items"]
                ),
                latency_cycles={e["name"]: e["latency_cycles"] for e in layers if "latency_cycles" in e},
                footprint_bits={
                    (e["name"], level): bits
                    for e in layers
                    for level, bits in e.get("footprint_bits", {}).items()
                },
                macs={entry["name"]: entry["macs"] for entry in layers if "macs" in entry},
                mapping_hashes={e["name"]: e["mapping_hash"] for e in layers if "mapping_hash" in e},
                notes=tuple(document["notes"]),
                provenance=dict(document["provenance"]),
                **{
                    key: document[key]
                    for key in ("network", "scheme", "hardware", "hardware_hash", "outermost")
                },
            )
            total = document["totals"]["energy_pj"]
        except (KeyError, TypeError) as error:
            raise ValueError(f"a cost document of schema {SCHEMA} cannot be read: {error}") from None
        if total != cost.energy_pj:
            raise ValueError(f"a cost document says {total} pJ, but its items sum to {cost.energy_pj} pJ")
        return cost

    def table(self) -> str:
        """Energy in uJ by layer and component, cycles, and the notes, as aligned text."""
        components = tuple(dict.fromkeys(item.component for item in self.items))
        cells = self.by("layer", "component")
        by_layer, by_component = self.by("layer"), self.by("component")
        rows = [["layer", *components, "total uJ", "share", "cycles"]]
        for name in self.layers:
            energies = [cells.get((name, component), 0.0) for component in components]
            rows.append(
                _row(name, energies, by_layer.get((name,), 0.0), self, self.latency_cycles.get(name, 0))
            )
        totals = [by_component[(component,)] for component in components]
        rows.append(_row("total", totals, self.energy_pj, self, self.total_cycles))
        heading = (
            f"{self.network or 'workload'}, {self.scheme or 'no scheme'}, on {self.hardware or 'no hardware'}"
        )
        lines = [heading, *_aligned(rows), f"DRAM share {self.dram_share:.1%}"]
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])


_ITEM_KEYS = tuple(entry.name for entry in fields(CostItem) if entry.name != "layer")


def _joined(first: str, second: str) -> str:
    return first if first == second else f"{first} + {second}"


def _row(name: str, energies: Iterable[float], total: float, cost: Cost, cycles: int) -> list[str]:
    share = total / cost.energy_pj if cost.energy_pj else 0.0
    return [name, *(f"{pj / PJ_PER_UJ:.6f}" for pj in (*energies, total)), f"{share:.1%}", f"{cycles:,}"]


def _aligned(rows: list[list[str]]) -> list[str]:
    """First column to the left, the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
