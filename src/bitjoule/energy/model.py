"""One door to the cost models: which one runs is decided by the kind of the hardware."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from bitjoule.energy.braintta import braintta
from bitjoule.energy.cost import Cost
from bitjoule.energy.feature_memory import ResidencyMode
from bitjoule.energy.hierarchy import hierarchy
from bitjoule.energy.moons import moons
from bitjoule.hardware import Hardware
from bitjoule.mapping.nest import Mapping as Nest
from bitjoule.workload import Workload

__all__ = ["COST_MODEL_VERSIONS", "CostOptions", "cost", "cost_model_version"]

COST_MODEL_VERSIONS = {"hierarchy": 2, "moons": 1, "tta": 2}
"""Kind -> version; it rises when a model's numbers change, so that stored results are computed again."""


@dataclass(frozen=True)
class CostOptions:
    """What may be chosen beside the hardware.

    `residency`: feature maps stay on chip in the `optimal` way, `none` of them, or `ideal`ly all (a lower
    bound for reports). The closed form of Moons has a rule of its own (`f_re_rule`) and does not read it.
    `mode`: how a hierarchy counts partial sums, `physical` at their own width or as the `paper` of the
    quantization fork of Timeloop at output width. `pin_weights`: weights of whole layers may stay in the
    residency level of a hierarchy across inferences. The other models read neither.
    """

    residency: ResidencyMode = "optimal"
    mode: Literal["physical", "paper"] = "physical"
    pin_weights: bool = False

    def __post_init__(self) -> None:
        if self.residency not in ("optimal", "none", "ideal"):
            raise ValueError(f"residency must be optimal, none or ideal, not {self.residency!r}")
        if self.mode not in ("physical", "paper"):
            raise ValueError(f"mode must be physical or paper, not {self.mode!r}")
        if not isinstance(self.pin_weights, bool):
            raise ValueError(f"pin_weights must be true or false, not {self.pin_weights!r}")


def cost(
    workload: Workload,
    hardware: Hardware,
    *,
    mappings: Mapping[str, Nest] | None = None,
    options: CostOptions | None = None,
) -> Cost:
    """Energy, cycles and footprint of one inference of `workload` on `hardware`.

    `mappings`: on a hierarchy, the nests of some layers by name; the others get their best one.

    Raises:
        Infeasible: the hardware cannot run the workload; the text says why and what would mend it.
        ValueError: a workload that does not hang together; mappings for a hardware that is no hierarchy.

    >>> from bitjoule.hardware import load
    >>> cost(Workload("empty", "int8", ()), load("moons-4mb")).energy_pj
    0.0
    """
    chosen = options or CostOptions()
    if hardware.kind == "hierarchy":
        return hierarchy(
            workload,
            hardware,
            residency=chosen.residency,
            mode=chosen.mode,
            pin_weights=chosen.pin_weights,
            mappings=mappings,
        )
    if mappings:
        raise ValueError(
            f"hardware {hardware.name!r} is of kind {hardware.kind}; mappings are for hierarchies"
        )
    if hardware.kind == "moons":
        return moons(workload, hardware)
    return braintta(workload, hardware, residency=chosen.residency)


def cost_model_version(hardware: Hardware) -> int:
    """Version of the model that prices `hardware`, part of the content key of stored results."""
    return COST_MODEL_VERSIONS[hardware.kind]
