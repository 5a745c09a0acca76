"""What `bitjoule timeloop` prints for people: an evaluation, and how cases compare."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bitjoule.cli.output import print_table

if TYPE_CHECKING:
    from bitjoule.mapping import Evaluation
    from bitjoule.mapping.timeloop_accelerator import TimeloopAccelerator
    from bitjoule.mapping.timeloop_cases import CaseResult

__all__ = ["show_cases", "show_evaluation"]


def show_evaluation(title: str, found: Evaluation, hardware: TimeloopAccelerator, *, no_color: bool) -> None:
    """One row per level and tensor, outermost level first, then cycles and area."""
    from bitjoule.report.tables import energy_text

    def price(energy_pj: float) -> str:
        return energy_text(energy_pj) if hardware.priced else "-"

    columns = {
        "level": "left", "tensor": "left", "tile": "right", "instances": "right", "reads": "right",
        "fills": "right", "updates": "right", "bits": "right", "energy": "right",
    }  # fmt: skip
    rows: list[tuple[Any, ...]] = []
    for level in reversed(found.levels):
        for cost in level.tensors:
            counts = (cost.tile_words, cost.instances, cost.read_words, cost.fill_words, cost.update_words)
            bits = "word" if cost.bits is None else cost.bits
            numbers = (f"{number:,}" for number in counts)
            rows.append((level.name, cost.tensor, *numbers, bits, price(cost.energy_pj)))
    leakage = sum(level.leak_pj for level in found.levels)
    rows.append(("leakage", *[""] * 7, price(leakage)))
    rows.append(("mac", "", "", f"{found.mac_instances:,}", *[""] * 4, price(found.mac_energy_pj)))
    print_table(f"{title}: {price(found.energy_pj)}", columns, rows, no_color=no_color)
    print("tile, reads, fills and updates in words per instance; energies over all instances")
    print(
        f"{found.macs:,} MACs in {found.latency_cycles:,} cycles (set by {found.bounding}; "
        f"{found.compute_cycles:,} to compute), utilization {100 * found.utilization:.2f} %"
    )
    if not hardware.priced:
        print("no energy reference table (--ert): counts and cycles only")
    if hardware.areas_um2:
        print(f"area {sum(hardware.areas_um2.values()) / 1e6:.3f} mm2")


def show_cases(results: Sequence[CaseResult], *, no_color: bool) -> None:
    """One row per case, and how many are equal."""
    columns = {
        "case": "left", "mode": "left", "MACs": "right", "cycles": "right", "energy uJ": "right",
        "integers": "right", "energy off by": "right", "": "left",
    }  # fmt: skip
    rows: list[tuple[Any, ...]] = [
        (
            result.name,
            result.mode,
            f"{result.evaluation.macs:,}",
            f"{result.evaluation.latency_cycles:,}",
            f"{result.evaluation.energy_pj / 1e6:,.3f}",
            result.integers,
            f"{100 * result.energy_error:.4f} %",
            "differs" if result.differences else "equal" if result.integers else "no result",
        )
        for result in results
    ]
    print_table("", columns, rows, no_color=no_color)
    equal = sum(bool(result.integers) and not result.differences for result in results)
    print(
        f"{equal} of {len(results)} cases equal in all counts and cycles, energies within 0.2 % "
        f"({sum(result.integers for result in results):,} integers compared)"
    )
