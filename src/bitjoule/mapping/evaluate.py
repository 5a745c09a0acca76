"""What a given mapping costs: E5 of mapping.md section 2, the prices of energy.md section 3.

Packs the element counts into words, words into vector accesses, prices them, and bounds the cycles by
compute and bandwidth. Pure Python in exact integers; the reference of the search kernels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from bitjoule.mapping.accelerator import Accelerator, StorageLevel
from bitjoule.mapping.counts import count, element_bits, packing_of, violations
from bitjoule.mapping.nest import Mapping
from bitjoule.mapping.packing import MODES, Mode, WordPacking, words
from bitjoule.mapping.problem import Problem
from bitjoule.mapping.tally import TensorTally

__all__ = ["Evaluation", "LevelCost", "Mode", "TensorCost", "evaluate"]


@dataclass(frozen=True, slots=True)
class TensorCost:
    """One tensor at one level.

    `bits` of an element here (None: one element per word). Elements per instance: `tile`, `reads`, `fills`,
    `updates`, and of these `final_updates` stored as results. Words per instance: `*_words`. Vector accesses
    over all clusters: `*_accesses`. Energies over all instances: `*_pj`. `noc_words`: words that this level
    sends to every instance below that is filled from here, and takes up from there after reduction; MAC units
    without operand registers hang on the innermost level without a network.
    """

    tensor: str
    instances: int
    clusters: int
    bits: int | None
    partial: bool
    tile: int
    reads: int
    fills: int
    updates: int
    final_updates: int
    tile_words: int
    read_words: int
    fill_words: int
    update_words: int
    read_accesses: int
    fill_accesses: int
    update_accesses: int
    read_pj: float
    fill_pj: float
    update_pj: float
    noc_words: int
    noc_pj: float

    @property
    def energy_pj(self) -> float:
        """Reads, fills and updates; without the network."""
        return math.fsum((self.read_pj, self.fill_pj, self.update_pj))


@dataclass(frozen=True, slots=True)
class LevelCost:
    """One level: `instances` in use, leakage of them, and the tensors it keeps."""

    name: str
    instances: int
    leak_pj: float
    tensors: tuple[TensorCost, ...]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Cost of one mapping; levels innermost first.

    `utilization`: MACs done over what all units could do in `latency_cycles`. `bounding`: what sets the
    cycles, "compute" or "<level> reads" or "<level> writes". `violations`: texts of what does not fit; empty
    = valid. `energy_pj` is the sum of all parts (`math.fsum`).
    """

    energy_pj: float
    latency_cycles: int
    compute_cycles: int
    macs: int
    mac_energy_pj: float
    mac_leak_pj: float
    mac_instances: int
    utilization: float
    levels: tuple[LevelCost, ...]
    bounding: str
    violations: tuple[str, ...]

    @property
    def valid(self) -> bool:
        """True when the mapping fits the hardware."""
        return not self.violations


def evaluate(
    problem: Problem, mapping: Mapping, accelerator: Accelerator, *, mode: Mode = "physical"
) -> Evaluation:
    """Energy, cycles and accesses of `mapping`; counted also where it does not fit (`violations`).

    Raises:
        MappingError: the mapping is not one of this problem on this accelerator.
        ValueError: an unknown mode; in paper mode a tensor wider than the words of a level; in physical mode
            outputs with bits but partial sums without.
    """
    if mode not in MODES:
        raise ValueError(f"mode must be one of {', '.join(MODES)}, not {mode!r}")
    counts = count(problem, mapping, accelerator)
    if mode == "paper":
        _check_paper(problem, mapping, accelerator)
    packing = packing_of(accelerator, mode)
    below: dict[str, int] = {}
    tensors = [
        tuple(
            _tensor_cost(problem, accelerator, index, tally.instances, entry, mode, packing, below)
            for entry in tally.tensors
        )
        for index, tally in enumerate(counts.levels)
    ]
    compute = _ceil_div(counts.steps, problem.macs_per_cycle)
    cycles, bounding = compute, "compute"
    for level, costs in zip(accelerator.levels, tensors, strict=True):
        if level.read_words_per_cycle is not None:
            need = _ceil_div(sum(cost.read_words for cost in costs), level.read_words_per_cycle)
            if need > cycles:
                cycles, bounding = need, f"{level.name} reads"
        if level.write_words_per_cycle is not None:
            written = sum(cost.fill_words + cost.update_words for cost in costs)
            need = _ceil_div(written, level.write_words_per_cycle)
            if need > cycles:
                cycles, bounding = need, f"{level.name} writes"
    levels = tuple(
        LevelCost(level.name, tally.instances, level.leak_pj_per_cycle * cycles * tally.instances, costs)
        for level, tally, costs in zip(accelerator.levels, counts.levels, tensors, strict=True)
    )
    mac_pj = counts.macs * problem.mac_pj
    mac_leak = accelerator.mac_leak_pj_per_cycle * cycles * counts.mac_instances
    parts = [mac_pj, mac_leak]
    for entry in levels:
        parts.append(entry.leak_pj)
        for cost in entry.tensors:
            parts += (cost.read_pj, cost.fill_pj, cost.update_pj, cost.noc_pj)
    return Evaluation(
        energy_pj=math.fsum(parts),
        latency_cycles=cycles,
        compute_cycles=compute,
        macs=counts.macs,
        mac_energy_pj=mac_pj,
        mac_leak_pj=mac_leak,
        mac_instances=counts.mac_instances,
        utilization=counts.macs / (cycles * accelerator.mac_count * problem.macs_per_cycle),
        levels=levels,
        bounding=bounding,
        violations=violations(problem, mapping, accelerator, counts, mode),
    )


def _tensor_cost(
    problem: Problem,
    accelerator: Accelerator,
    index: int,
    instances: int,
    tally: TensorTally,
    mode: Mode,
    packing: WordPacking,
    below: dict[str, int],
) -> TensorCost:
    """`below`: words that fill all instances of the next level inwards, per tensor; updated."""
    level = accelerator.levels[index]
    bits = element_bits(problem, tally, mode)
    width = level.word_bits
    read_words = words(tally.reads, bits, width, packing)
    fill_words = words(tally.fills, bits, width, packing)
    update_words = words(tally.updates - tally.final_updates, bits, width, packing)
    if tally.final_updates:
        final_bits = problem.output_bits if mode != "native" else None
        update_words += words(tally.final_updates, final_bits, width, packing)
    there = -(-accelerator.total_instances(index) // level.cluster)
    clusters = min(instances, max(there, -(-instances // level.cluster)))  # more where a fan-out overflows
    reads, fills, updates = (clusters * _accesses(n, level) for n in (read_words, fill_words, update_words))
    arriving = below.get(tally.tensor)
    noc_words = 0
    if level.noc_pj_per_word and arriving is not None:
        noc_words = arriving + update_words * instances
    below[tally.tensor] = fill_words * instances
    return TensorCost(
        tensor=tally.tensor,
        instances=instances,
        clusters=clusters,
        bits=bits,
        partial=tally.partial,
        tile=tally.tile,
        reads=tally.reads,
        fills=tally.fills,
        updates=tally.updates,
        final_updates=tally.final_updates,
        tile_words=words(tally.tile, bits, width, packing),
        read_words=read_words,
        fill_words=fill_words,
        update_words=update_words,
        read_accesses=reads,
        fill_accesses=fills,
        update_accesses=updates,
        read_pj=reads * level.read_pj,
        fill_pj=fills * level.write_pj,
        update_pj=updates * level.update_price_pj,
        noc_words=noc_words,
        noc_pj=noc_words * level.noc_pj_per_word,
    )


def _accesses(count: int, level: StorageLevel) -> int:
    """Vector accesses of one cluster for `count` words of an instance: ceil(count / block), exactly."""
    return -(-count * level.word_bits * level.cluster // level.width_bits)


def _ceil_div(count: int, rate: float) -> int:
    """ceil(count / rate), in integers where the rate is whole."""
    whole = int(rate)
    return -(-count // whole) if whole == rate else math.ceil(count / rate)


def _check_paper(problem: Problem, mapping: Mapping, accelerator: Accelerator) -> None:
    bits = {"weights": problem.weight_bits, "inputs": problem.input_bits, "outputs": problem.output_bits}
    for nest, level in zip(mapping.levels, accelerator.levels, strict=True):
        for tensor in nest.keeps:
            width = bits[tensor]
            if width is not None and width > level.word_bits:
                raise ValueError(
                    f"layer {problem.name!r} in paper mode: {tensor} have {width} bits, level {level.name!r} "
                    f"takes 1..{level.word_bits}; use mode physical, or words of at least {width} bits"
                )
