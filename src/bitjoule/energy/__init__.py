"""What it costs: energy, cycles and memory of one inference of a Workload on a Hardware."""

from bitjoule.energy.braintta import braintta
from bitjoule.energy.cost import Cost, CostItem
from bitjoule.energy.infeasible import Infeasible
from bitjoule.energy.model import CostOptions, cost, cost_model_version
from bitjoule.energy.moons import moons
from bitjoule.energy.operations import UnknownOperation
from bitjoule.energy.residency import FeatureMap, ResidencyPlan, Step, residency

__all__ = [
    "Cost",
    "CostItem",
    "CostOptions",
    "FeatureMap",
    "Infeasible",
    "ResidencyPlan",
    "Step",
    "UnknownOperation",
    "braintta",
    "cost",
    "cost_model_version",
    "moons",
    "residency",
]
