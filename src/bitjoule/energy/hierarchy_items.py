"""Items of a Cost on a hierarchy: of an evaluated mapping, and of whole tensors that move.

Components: "mac", "level:<name>", "noc:<name>", "leak:<name>" ("leak:mac" of the MAC units). Actions of a
level are read, write (fills) and update; `bits_moved` = accesses * width of an access. Outputs that are
partial sums are the tensor "psums"; the second operand of a matrix product is a feature map, so "inputs".
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from bitjoule.energy.cost import CostItem
from bitjoule.hardware import Hardware
from bitjoule.mapping.accelerator import Accelerator, StorageLevel
from bitjoule.mapping.evaluate import Evaluation, TensorCost
from bitjoule.mapping.hardware_levels import accelerator_of
from bitjoule.mapping.packing import words
from bitjoule.workload import Layer

__all__ = ["Transfer", "evaluation_items", "leak_items", "price", "transfer"]


def price(evaluation: Evaluation, layer: Layer, hardware: Hardware) -> tuple[CostItem, ...]:
    """The items of one evaluated mapping; they sum to `evaluation.energy_pj`.

    Element operations and what lives on chip between layers are no part of a mapping: see `hierarchy`.
    """
    return tuple(evaluation_items(evaluation, layer, accelerator_of(hardware)))


def evaluation_items(evaluation: Evaluation, layer: Layer, accelerator: Accelerator) -> Iterator[CostItem]:
    """As `price`, on the accelerator that was evaluated; nothing for what did not happen."""
    name, cycles = layer.name, evaluation.latency_cycles
    yield CostItem(name, "mac", "none", "compute", evaluation.macs, evaluation.mac_energy_pj)
    if evaluation.mac_leak_pj:
        count = cycles * evaluation.mac_instances
        yield CostItem(name, "leak:mac", "none", "leak", count, evaluation.mac_leak_pj)
    outputs_home = [level.name for level in accelerator.levels if "outputs" in level.keeps][-1]
    for cost in reversed(evaluation.levels):  # outermost first
        level = accelerator.level(cost.name)
        for tensor in cost.tensors:
            label = _label(layer, tensor)
            moved = [
                (label, "read", tensor.read_accesses, tensor.read_pj),
                (label, "write", tensor.fill_accesses, tensor.fill_pj),
            ]
            if tensor.partial and cost.name == outputs_home:
                moved += _last_updates(tensor, level, accelerator)
            else:
                moved.append((label, "update", tensor.update_accesses, tensor.update_pj))
            for part, action, accesses, energy in moved:
                if accesses:
                    bits = accesses * level.width_bits
                    yield CostItem(name, f"level:{cost.name}", part, action, accesses, energy, bits)
            if tensor.noc_words:
                yield CostItem(name, f"noc:{cost.name}", label, "transfer", tensor.noc_words, tensor.noc_pj)
        if cost.leak_pj:
            yield CostItem(name, f"leak:{cost.name}", "none", "leak", cycles * cost.instances, cost.leak_pj)


def _label(layer: Layer, tensor: TensorCost) -> str:
    if tensor.tensor == "outputs":
        return "psums" if tensor.partial else "outputs"
    return "inputs" if layer.kind == "matmul" else tensor.tensor


def _last_updates(
    tensor: TensorCost, level: StorageLevel, accelerator: Accelerator
) -> list[tuple[str, str, int, float]]:
    """Updates of the outermost level of outputs: the last of each is the result, the others partial sums."""
    early = tensor.updates - tensor.final_updates
    held = words(early, tensor.bits, level.word_bits, accelerator.packing) * tensor.clusters
    total = max(1, tensor.update_words * tensor.clusters)
    partial = min(tensor.update_accesses, round(tensor.update_accesses * held / total))
    energy = tensor.update_pj * partial / max(1, tensor.update_accesses)
    return [
        ("psums", "update", partial, energy),
        ("outputs", "update", tensor.update_accesses - partial, tensor.update_pj - energy),
    ]


@dataclass(frozen=True)
class Transfer:
    """A whole tensor read from, or written to, one level: its item, and the cycles it takes."""

    item: CostItem
    cycles: int


def transfer(step: str, level: StorageLevel, action: str, tensor: str, held_words: int) -> Transfer:
    """`held_words` words of `level`, read once (action "read") or written once ("write")."""
    accesses = math.ceil(held_words * level.word_bits / level.width_bits)
    energy = accesses * (level.read_pj if action == "read" else level.write_pj)
    rate = level.read_words_per_cycle if action == "read" else level.write_words_per_cycle
    cycles = 0 if rate is None else math.ceil(held_words / rate)
    bits = accesses * level.width_bits
    return Transfer(CostItem(step, f"level:{level.name}", tensor, action, accesses, energy, bits), cycles)


def leak_items(step: str, cycles: int, accelerator: Accelerator) -> Iterator[CostItem]:
    """Leakage of the whole hardware over cycles that belong to no mapping."""
    rates = [
        (level.name, level.leak_pj_per_cycle, accelerator.total_instances(index))
        for index, level in enumerate(accelerator.levels)
    ]
    rates.append(("mac", accelerator.mac_leak_pj_per_cycle, accelerator.mac_count))
    for name, rate, instances in rates:
        count = cycles * instances
        if rate and count:
            yield CostItem(step, f"leak:{name}", "none", "leak", count, count * rate)
