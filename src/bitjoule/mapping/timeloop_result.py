"""What `bitjoule timeloop eval` writes: an Evaluation as JSON of schema `bitjoule.timeloop-eval/1`."""

from __future__ import annotations

from bitjoule.mapping.evaluate import Evaluation, TensorCost
from bitjoule.mapping.packing import Mode

__all__ = ["SCHEMA", "evaluation_document"]

SCHEMA = "bitjoule.timeloop-eval/1"


def evaluation_document(evaluation: Evaluation, mode: Mode, *, priced: bool = True) -> dict[str, object]:
    """Plain JSON of an Evaluation (mapping.md section 5), levels innermost first, pure fan-outs left out.

    `tile_words`, `reads`, `fills`, `updates` are words per instance after packing; energies are pJ over all
    instances, null where the hardware has no prices (`priced` false); cycles are whole numbers. `violations`
    says what does not fit where `valid` is false.
    """

    def price(energy_pj: float) -> float | None:
        return energy_pj if priced else None

    levels: dict[str, dict[str, object]] = {}
    for level in evaluation.levels:
        if level.tensors:
            tensors = {cost.tensor: _tensor(cost, price(cost.energy_pj)) for cost in level.tensors}
            levels[level.name] = {"leak_pj": price(level.leak_pj), **tensors}
    return {
        "schema": SCHEMA,
        "mode": mode,
        "valid": evaluation.valid,
        "violations": list(evaluation.violations),
        "macs": evaluation.macs,
        "compute_cycles": evaluation.compute_cycles,
        "cycles": evaluation.latency_cycles,
        "bounding": evaluation.bounding,
        "energy_pj": price(evaluation.energy_pj),
        "utilization": evaluation.utilization,
        "levels": levels,
        "mac": {
            "count": evaluation.macs,
            "instances": evaluation.mac_instances,
            "energy_pj": price(evaluation.mac_energy_pj),
        },
    }


def _tensor(cost: TensorCost, energy_pj: float | None) -> dict[str, object]:
    return {
        "tile_words": cost.tile_words,
        "instances": cost.instances,
        "clusters": cost.clusters,
        "reads": cost.read_words,
        "fills": cost.fill_words,
        "updates": cost.update_words,
        "bits": cost.bits,
        "energy_pj": energy_pj,
    }
