"""What a Cost on a hierarchy says beside its numbers: rules, certificates, warnings, sources of prices."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from bitjoule.energy.feature_memory import ResidencyMode
from bitjoule.energy.hierarchy_prices import HierarchyPrices
from bitjoule.energy.mapping_table import PlacedMapping
from bitjoule.energy.measured_notes import measured_notes, shift_add_notes
from bitjoule.energy.sparsity_notes import sparsity_notes
from bitjoule.hardware import Hardware
from bitjoule.mapping.evaluate import Mode
from bitjoule.mapping.layer_problem import psum_warning
from bitjoule.workload import Workload

__all__ = ["notes", "provenance"]


def notes(
    workload: Workload,
    hardware: Hardware,
    prices: HierarchyPrices,
    placed: Mapping[str, PlacedMapping],
    *,
    residency: ResidencyMode,
    mode: Mode,
    pin_weights: bool,
) -> Iterator[str]:
    """Rules, certificate of the mappings, what is not exact, what may overflow."""
    home = prices.home
    where = f"feature maps stay in {home.name}" if home else "no level holds feature maps between layers"
    psums = "auto" if hardware.psum_bits == "auto" else f"{hardware.psum_bits} bits"
    yield (
        f"memory hierarchy {hardware.name}, mode {mode}, residency {residency} ({where}), partial sums "
        f"{psums}, packing {hardware.packing}; "
        f"{'other ' if prices.pinned else ''}weights are streamed in every inference"
    )
    proven = sum(entry.solved.optimal and not entry.constrained for entry in placed.values())
    if proven == len(placed):
        yield f"all {proven} layer mappings proven optimal"
    else:
        yield f"{proven} of {len(placed)} layer mappings proven optimal"
    constrained = {name: entry for name, entry in placed.items() if entry.constrained}
    if constrained:
        above = math.fsum(entry.energy_pj - entry.bound_pj for entry in constrained.values())
        bound = math.fsum(entry.bound_pj for entry in constrained.values())
        yield (
            "partial sums of an output on chip need room that the unconstrained optimum does not leave; "
            f"best of three narrower map spaces, at most {100 * above / bound:.2g} % above the optimum: "
            f"{', '.join(constrained)}"
        )
    if mode == "physical":
        warnings = [text for layer in workload.layers if (text := psum_warning(layer, hardware))]
        if warnings:
            others = f" (and {len(warnings) - 1} more layers)" if len(warnings) > 1 else ""
            yield warnings[0] + others
    if pin_weights:
        yield from _pinned_notes(prices)
    yield from sparsity_notes(workload)
    yield from measured_notes(workload)
    if mode == "physical":
        yield from shift_add_notes(workload, hardware)


def _pinned_notes(prices: HierarchyPrices) -> Iterator[str]:
    home = prices.home
    if prices.pinned and home is not None:
        names = ", ".join(prices.works[step].name for step in sorted(prices.pinned))
        yield (
            f"weights that stay in {home.name} across inferences, {prices.pinned_bits:,} bits in every step "
            f"(their first arrival is not counted): {names}"
        )
    elif home is None or "weights" not in home.keeps:
        where = "no level holds feature maps" if home is None else f"{home.name} keeps no weights"
        yield f"no weights stay on chip across inferences, as pin_weights would have them: {where}"
    else:
        yield f"no weights stay in {home.name} across inferences: none save energy there"


def provenance(hardware: Hardware) -> dict[str, str]:
    """Component -> where its price comes from."""
    found = {"mac": f"anchor_pj: {hardware.source_of('mac.anchor_pj').status}"}
    if hardware.mac is not None and hardware.mac.shift_add is not None:
        found["mac"] += f"; shift_add: {hardware.source_of('mac.shift_add').status}"
    for level in hardware.levels:
        if level.stores:
            key = "read_pj" if level.read_pj is not None else "read_pj_per_bit"
            found[f"level:{level.name}"] = f"{key}: {hardware.source_of(f'levels.{level.name}.{key}').status}"
    found["op"] = "add, mul: published fits at 45 nm (google/qkeras); other operations assumed from them"
    return found
