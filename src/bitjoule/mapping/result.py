"""What the mapper answers: a mapping, its cost and its certificate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bitjoule.mapping.evaluate import Evaluation
from bitjoule.mapping.nest import Mapping
from bitjoule.mapping.problem import Problem

__all__ = ["MAPPER_VERSION", "MappingResult", "Objective", "objective_value"]

MAPPER_VERSION = 2
"""Rises when results can change; part of the key of remembered mappings."""

Objective = Literal["energy", "edp", "latency"]


@dataclass(frozen=True)
class MappingResult:
    """A mapping, what it costs, and how far it is proven.

    `optimal`: no mapping of the map space is better. `bound`: no mapping has a lower objective value; `gap`:
    (value - bound) / bound, 0 when proven. `evaluated`: complete nests priced; `pruned`: what was not, by
    reason; `space_size`: factorisations times keep sets. `padding_macs`: MACs that padding added.
    """

    problem: Problem
    mapping: Mapping
    evaluation: Evaluation
    energy_pj: float
    latency_cycles: int
    optimal: bool
    bound: float
    gap: float
    objective: str
    evaluated: int
    pruned: dict[str, int]
    space_size: int
    seconds: float
    padding_macs: int = 0

    @property
    def value(self) -> float:
        """What was minimised: energy in pJ, energy times cycles, or cycles."""
        return objective_value(self.objective, self.energy_pj, self.latency_cycles)


def objective_value(objective: str, energy_pj: float, cycles: int) -> float:
    """What an objective minimises: energy in pJ, energy times cycles, or cycles."""
    if objective == "energy":
        return energy_pj
    return energy_pj * cycles if objective == "edp" else float(cycles)
