"""A mapping as text: the loop nest, what every level holds, where the energy goes, and the certificate.

Outermost level first. A level's line says how much of each tensor it holds and how full it is; loops of bound
1 are left out; `on x`, `on y` are loops that run at the same time on the instances of the level below.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from bitjoule.mapping.accelerator import Accelerator, StorageLevel
from bitjoule.mapping.evaluate import Evaluation, LevelCost, TensorCost
from bitjoule.mapping.nest import LevelNest
from bitjoule.mapping.result import MappingResult

__all__ = ["certificate", "draw", "energy_table", "loop_nest", "summary"]

STEP = "  "
PJ_PER_UJ = 1e6


def draw(result: MappingResult, accelerator: Accelerator) -> str:
    """Loop nest, utilisation, energy by level and tensor, and certificate of one result."""
    parts = (
        loop_nest(result, accelerator),
        summary(result, accelerator),
        energy_table(result.evaluation),
        certificate(result),
    )
    return "\n\n".join(parts)


def loop_nest(result: MappingResult, accelerator: Accelerator) -> str:
    """The loops, outermost first, each level with its tiles and how full it is.

    dram           weights 12 (4 bit), inputs 64 (4 bit), outputs 96 (4 bit) in 43 words
    |  for K in 0:4
    glb            inputs 64 (4 bit) in 16 words, 67 % of 24
    |    on x: K in 0:3
    mac            3 of 4 units
    """
    costs = {level.name: level for level in result.evaluation.levels}
    nests = result.mapping.levels[::-1]
    width = max(len(nest.name) for nest in nests) + 2
    lines: list[str] = []
    depth = 1
    for nest in nests:
        level = accelerator.level(nest.name)
        said = [_holdings(level, costs.get(nest.name))]
        bypassing = [tensor for tensor in level.keeps if tensor not in nest.keeps]
        said += [f"bypassed by {', '.join(bypassing)}"] if bypassing else []
        lines.append(f"{nest.name:<{width}}{'; '.join(text for text in said if text)}".rstrip())
        for text in _loops(nest):
            lines.append(f"|{STEP * depth}{text}")
            depth += 1
    used = result.evaluation.mac_instances
    lines.append(f"{'mac':<{width}}{used:,} of {accelerator.mac_count:,} units")
    return "\n".join(lines)


def summary(result: MappingResult, accelerator: Accelerator) -> str:
    """Energy, cycles, how busy the units are, and what bounds the cycles."""
    found = result.evaluation
    per_mac = result.energy_pj / found.macs
    lines = [
        f"energy {_uj(result.energy_pj)} uJ, {per_mac:.3g} pJ per MAC, {found.macs:,} MACs",
        f"cycles {found.latency_cycles:,} ({found.compute_cycles:,} to compute), bound by {found.bounding}",
        f"units used {found.mac_instances:,} of {accelerator.mac_count:,}: utilisation "
        f"{100 * found.utilization:.1f} %",
    ]
    return "\n".join(lines)


def energy_table(evaluation: Evaluation) -> str:
    """Energy in uJ by level and tensor, with transfers, leakage and MACs; the parts sum to the total."""
    tensors = [t for t in ("weights", "inputs", "outputs") if _has(evaluation, t)]
    total = evaluation.energy_pj or 1.0
    rows: list[list[str]] = [["level", *tensors, "transfers", "leakage", "uJ", "share"]]
    for level in reversed(evaluation.levels):
        by_tensor = {cost.tensor: cost.energy_pj for cost in level.tensors}
        noc = math.fsum(cost.noc_pj for cost in level.tensors)
        whole = math.fsum((*by_tensor.values(), noc, level.leak_pj))
        if not level.tensors and not whole:
            continue
        cells = [_uj(by_tensor[tensor]) if tensor in by_tensor else "" for tensor in tensors]
        rows.append(
            [level.name, *cells, _uj_or_nothing(noc), _uj_or_nothing(level.leak_pj), *_sum(whole, total)]
        )
    empty = [""] * len(tensors)
    mac_pj = evaluation.mac_energy_pj + evaluation.mac_leak_pj
    rows.append(["mac", *empty, "", _uj_or_nothing(evaluation.mac_leak_pj), *_sum(mac_pj, total)])
    rows.append(["total", *empty, "", "", *_sum(evaluation.energy_pj, total)])
    return _aligned(rows)


def certificate(result: MappingResult) -> str:
    """What is proven, in one line.

    proven optimal (energy): bound = value, 1,204 complete mappings evaluated, map space of 3.1e+09
    """
    looked = (
        f"{result.evaluated:,} complete mapping{'s' * (result.evaluated != 1)} evaluated, "
        f"map space of {_count(result.space_size)}"
    )
    if result.padding_macs:
        looked += f", {result.padding_macs:,} MACs of padding"
    if result.optimal:
        return f"proven optimal ({result.objective}): bound = value, {looked}"
    return (
        f"not proven ({result.objective}): at most {100 * result.gap:.2g} % above the optimum, "
        f"the search was cut short; {looked}"
    )


def _holdings(level: StorageLevel, cost: LevelCost | None) -> str:
    """Tiles with their words and the level's fill, and the tensors that live here as a whole."""
    if cost is None or not cost.tensors:
        return "" if level.keeps else f"fan-out to {level.fanout:,}"
    tiles = [tensor for tensor in cost.tensors if tensor.tensor not in level.holds]
    living = [f"{t.tensor}{_bits(t)}" for t in cost.tensors if t.tensor in level.holds]
    said = []
    if tiles:
        words = sum(tensor.tile_words for tensor in tiles)
        held = ", ".join(f"{tensor.tensor} {tensor.tile:,}{_bits(tensor)}" for tensor in tiles)
        fill = f", {100 * words / level.words:.0f} % of {level.words:,}" if level.words else ""
        said.append(f"{held} in {words:,} word{'s' * (words != 1)}{fill}")
    if living:
        said.append(f"{', '.join(living)} live here as a whole")
    return "; ".join(said)


def _bits(cost: TensorCost) -> str:
    if cost.bits is None:
        return ""
    return f" ({cost.bits} bit{', partial sums' * cost.partial})"


def _loops(nest: LevelNest) -> list[str]:
    temporal = [f"for {dim} in 0:{bound}" for dim, bound in reversed(nest.temporal) if bound > 1]
    spatial = [
        f"on {axis}: {dim} in 0:{bound}"
        for axis, loops in (("y", nest.y), ("x", nest.x))
        for dim, bound in reversed(loops)
        if bound > 1
    ]
    return temporal + spatial


def _has(evaluation: Evaluation, tensor: str) -> bool:
    return any(cost.tensor == tensor for level in evaluation.levels for cost in level.tensors)


def _sum(energy_pj: float, total_pj: float) -> tuple[str, str]:
    return _uj(energy_pj), f"{100 * energy_pj / total_pj:.1f} %"


def _uj(energy_pj: float) -> str:
    """Microjoules with six decimals, so that columns add up."""
    return f"{energy_pj / PJ_PER_UJ:.6f}"


def _uj_or_nothing(energy_pj: float) -> str:
    return _uj(energy_pj) if energy_pj else ""


def _count(number: int) -> str:
    return f"{number:,}" if number < 10**6 else f"{float(number):.2g}" if number < 10**300 else "over 1e300"


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    """First column to the left, the others to the right; a column without a cell is left out."""
    kept = [column for column in range(len(rows[0])) if any(row[column] for row in rows[1:])]
    widths = {column: max(len(row[column]) for row in rows) for column in kept}

    def line(row: Sequence[str]) -> Iterable[str]:
        for column in kept:
            cell = row[column]
            yield cell.ljust(widths[column]) if column == 0 else cell.rjust(widths[column])

    return "\n".join("  ".join(line(row)).rstrip() for row in rows)
