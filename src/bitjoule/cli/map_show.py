"""What `bitjoule map` prints of its answers: the table, the loop nests, and the same as JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bitjoule.cli.output import print_table

if TYPE_CHECKING:
    from bitjoule.mapping.accelerator import Accelerator
    from bitjoule.mapping.batch import Group, NoMapping
    from bitjoule.mapping.evaluate import Evaluation
    from bitjoule.mapping.search import MappingResult

__all__ = ["Answered", "answered_document", "show_answers", "show_modes"]

COLUMNS = {
    "layers": "left",
    "MACs": "right",
    "energy": "right",
    "pJ/MAC": "right",
    "cycles": "right",
    "units busy": "right",
    "bound by": "left",
    "certificate": "left",
}


@dataclass(frozen=True)
class Answered:
    """The answers of one mode: one per group of equal layers."""

    mode: str
    groups: tuple[Group, ...]
    answers: tuple[MappingResult | NoMapping, ...]

    @property
    def found(self) -> list[tuple[Group, MappingResult]]:
        """Groups that have a mapping."""
        pairs = zip(self.groups, self.answers, strict=True)
        return [(group, answer) for group, answer in pairs if not isinstance(answer, Exception)]

    @property
    def unmapped(self) -> list[tuple[Group, NoMapping]]:
        """Groups that have none, and why: nothing fits, a latency cap that none meets, a time limit."""
        pairs = zip(self.groups, self.answers, strict=True)
        return [(group, answer) for group, answer in pairs if isinstance(answer, Exception)]

    @property
    def energy_pj(self) -> float:
        """Of all layers that have a mapping."""
        return math.fsum(len(group.names) * result.energy_pj for group, result in self.found)

    @property
    def cycles(self) -> int:
        """Of all layers that have a mapping, one after another."""
        return sum(len(group.names) * result.latency_cycles for group, result in self.found)


def show_answers(
    title: str, answered: Answered, accelerator: Accelerator, *, nests: bool, no_color: bool
) -> None:
    """The table of all groups, then the loop nest of each and what does not fit."""
    from bitjoule.mapping.draw import draw
    from bitjoule.report.units import count_text, energy_text

    rows: list[tuple[object, ...]] = []
    for group, result in answered.found:
        cost = result.evaluation
        rows.append(
            (
                _names(group),
                count_text(cost.macs),
                energy_text(result.energy_pj),
                f"{result.energy_pj / cost.macs:.3g}",
                f"{result.latency_cycles:,}",
                f"{100 * cost.utilization:.0f} %",
                cost.bounding,
                "optimal" if result.optimal else f"gap {_gap_percent(result.gap)} %",
            )
        )
    for group, error in answered.unmapped:
        rows.append((_names(group), count_text(group.problem.macs), _no(error), "", "", "", "", ""))
    layers = sum(len(group.names) for group, _ in answered.found)
    rows.append(
        (
            f"{layers} layer{'s' * (layers != 1)}",
            "",
            energy_text(answered.energy_pj),
            "",
            f"{answered.cycles:,}",
            "",
            "",
            "",
        )
    )
    print_table(f"{title}, {answered.mode} mode: every layer from DRAM", COLUMNS, rows, no_color=no_color)
    if nests:
        for group, result in answered.found:
            print(_heading(group))
            print(draw(result, accelerator))
            print()
    for group, error in answered.unmapped:
        more = f" (and {', '.join(group.names[1:])})" if len(group.names) > 1 else ""
        print(f"{error}{more}\n")


def show_modes(title: str, answered: Sequence[Answered], *, no_color: bool) -> None:
    """Energy of every layer in both modes, side by side."""
    from bitjoule.report.units import energy_text

    first, second = ({n: r for g, r in one.found for n in g.names} for one in answered)
    rows: list[tuple[object, ...]] = [
        (
            name,
            energy_text(first[name].energy_pj),
            energy_text(second[name].energy_pj),
            f"{second[name].energy_pj / first[name].energy_pj:.3f}",
        )
        for name in first
        if name in second
    ]
    a, b = answered
    if a.energy_pj:
        ratio = f"{b.energy_pj / a.energy_pj:.3f}"
        rows.append(("total", energy_text(a.energy_pj), energy_text(b.energy_pj), ratio))
    columns = {"layer": "left", a.mode: "right", b.mode: "right", f"{b.mode} / {a.mode}": "right"}
    print_table(f"{title}: {a.mode} and {b.mode} mode", columns, rows, no_color=no_color)


def answered_document(answered: Answered) -> dict[str, Any]:
    """The answers of one mode as JSON."""
    return {
        "mode": answered.mode,
        "layers": [
            {
                "names": list(group.names),
                "bounds": list(group.problem.bounds),
                "mapping": result.mapping.to_json(),
                "energy_pj": result.energy_pj,
                "latency_cycles": result.latency_cycles,
                "padding_macs": result.padding_macs,
                **_evaluation_document(result.evaluation),
                "certificate": {
                    "objective": result.objective,
                    "optimal": result.optimal,
                    "bound": result.bound,
                    "gap": result.gap,
                    "evaluated": result.evaluated,
                    "pruned": dict(result.pruned),
                    "space_size": result.space_size,
                    "seconds": result.seconds,
                },
            }
            for group, result in answered.found
        ],
        "infeasible": [
            {"names": list(group.names), "kind": _no(error), "text": str(error)}
            for group, error in answered.unmapped
        ],
        "totals": {"energy_pj": answered.energy_pj, "latency_cycles": answered.cycles},
    }


def _evaluation_document(cost: Evaluation) -> dict[str, Any]:
    levels = {
        level.name: {
            "instances": level.instances,
            "leak_pj": level.leak_pj,
            **{
                tensor.tensor: {
                    "tile": tensor.tile,
                    "tile_words": tensor.tile_words,
                    "bits": tensor.bits,
                    "partial": tensor.partial,
                    "energy_pj": tensor.energy_pj,
                    "noc_pj": tensor.noc_pj,
                }
                for tensor in level.tensors
            },
        }
        for level in reversed(cost.levels)
    }
    return {
        "macs": cost.macs,
        "compute_cycles": cost.compute_cycles,
        "utilization": cost.utilization,
        "bounding": cost.bounding,
        "mac_energy_pj": cost.mac_energy_pj,
        "mac_leak_pj": cost.mac_leak_pj,
        "levels": levels,
    }


def _no(error: NoMapping) -> str:
    """Two or three words where the energy would stand."""
    from bitjoule.mapping.infeasible import InfeasibleMapping

    if isinstance(error, InfeasibleMapping):
        return "does not fit"
    return "time is up" if isinstance(error, TimeoutError) else "no mapping"


def _gap_percent(gap: float) -> str:
    return f"{100 * gap:.2g}" if gap >= 1e-4 else "< 0.01"


def _names(group: Group) -> str:
    """The first layer and how many there are; the heading of the loop nest has all names."""
    return group.names[0] if len(group.names) == 1 else f"{group.names[0]} (x{len(group.names)})"


def _heading(group: Group) -> str:
    from bitjoule.mapping.problem import DIMS

    bounds = " ".join(f"{d}{b}" for d, b in zip(DIMS, group.problem.bounds, strict=True) if b > 1)
    word = "layer" if len(group.names) == 1 else "layers"
    return f"{word} {', '.join(group.names)}: {bounds or 'one MAC'}"
