"""On-core compute of a network by useful operations: two per MAC, at the published energy per operation.

No epilogue, no element operation, no idle lane: what studies.md S3 derives from 35, 67, 405 fJ per operation.
The cost model counts cycles, in which a lane that is partly used costs a whole one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bitjoule.energy import cost
from bitjoule.energy.core_cycles import operands_of
from bitjoule.hardware import Hardware
from bitjoule.search.claims import Fact
from bitjoule.search.repair_plan import RepairPlan, repaired_name
from bitjoule.workload import Graph, Workload, workload_of

__all__ = ["PricedNetwork", "energy_facts", "priced_networks", "useful_compute_pj"]

PJ_PER_UJ = 1e6
NAMES = {"wTERNARYaTERNARY": "ternary"}
"""What facts call a scheme where not by its name without options."""


@dataclass(frozen=True)
class PricedNetwork:
    """A network under one scheme: whole energy by the cost model, on-core compute by useful operations."""

    scheme: str
    energy_pj: float
    compute_pj: float
    int8_pj: float
    macs: int


def useful_compute_pj(workload: Workload, hardware: Hardware) -> tuple[float, float]:
    """(compute of all layers, of those at 8 bits) in pJ.

    Raises:
        ValueError: hardware that is not of kind tta.
    """
    section = hardware.tta
    if section is None:
        raise ValueError(f"hardware {hardware.name!r} is of kind {hardware.kind}, this needs kind tta")
    whole = narrow = 0.0
    for layer in workload.layers:
        operand = operands_of(layer)
        per_cycle = section.lanes * section.word_bits // operand.bits
        energy = layer.macs * operand.e_cycle_pj(section) / per_cycle
        whole += energy
        narrow += energy if operand.bits < 8 else 0.0
    return whole, whole - narrow


def priced_networks(graph: Graph, hardware: Hardware, schemes: Sequence[str]) -> tuple[PricedNetwork, ...]:
    """One row per scheme, in order."""
    rows = []
    for scheme in schemes:
        workload = workload_of(graph, scheme)
        compute, at_8 = useful_compute_pj(workload, hardware)
        macs = sum(layer.macs for layer in workload.layers)
        rows.append(PricedNetwork(scheme, cost(workload, hardware).energy_pj, compute, at_8, macs))
    return tuple(rows)


def energy_facts(
    plan: RepairPlan, graph: Graph, hardware: Hardware
) -> tuple[tuple[PricedNetwork, ...], Mapping[str, Fact]]:
    """Rows of the plan's schemes and of its topology repairs one after another; the facts of claims."""
    name = plan.energies.network
    topology = plan.energies.topology
    steps = [repaired_name(plan.baseline, topology[:count]) for count in range(len(topology) + 1)]
    order = list(dict.fromkeys([*plan.energies.schemes, *steps]))
    rows = {row.scheme: row for row in priced_networks(graph, hardware, order)}
    facts: dict[str, Fact] = {f"{name}.topology_pj": [rows[scheme].energy_pj for scheme in steps]}
    for scheme in plan.energies.schemes:
        base = scheme.partition("[")[0]
        row, key = rows[scheme], f"{name}.{NAMES.get(base, base)}"
        facts[f"{key}.energy_pj"] = row.energy_pj
        facts[f"{key}.compute_uj"] = row.compute_pj / PJ_PER_UJ
        facts[f"{key}.core_uj"] = (row.compute_pj - row.int8_pj) / PJ_PER_UJ
        facts[f"{key}.rest_uj"] = row.int8_pj / PJ_PER_UJ
        facts[f"{key}.rest_percent"] = 100 * row.int8_pj / row.compute_pj
    return tuple(rows.values()), facts
