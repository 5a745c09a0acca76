"""What it costs: energy, cycles and memory of one inference of a Workload on a Hardware.

The room can be called: `bitjoule.energy(network, "w4a4", "moons-4mb")` is the cost of a Network (or a Graph,
or a Workload) under a scheme on a hardware.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Protocol

from bitjoule.energy.braintta import braintta
from bitjoule.energy.cost import Cost, CostItem
from bitjoule.energy.hierarchy import HierarchyPlan, hierarchy, hierarchy_plan
from bitjoule.energy.hierarchy_items import price
from bitjoule.energy.infeasible import Infeasible
from bitjoule.energy.model import CostOptions, cost, cost_model_version
from bitjoule.energy.moons import moons
from bitjoule.energy.operations import UnknownOperation
from bitjoule.energy.residency import FeatureMap, ResidencyPlan, Step, residency
from bitjoule.hardware import Hardware, load
from bitjoule.scheme import Scheme
from bitjoule.workload import Graph, Workload, workload_of

__all__ = [
    "Cost",
    "CostItem",
    "CostOptions",
    "FeatureMap",
    "HasGraph",
    "HierarchyPlan",
    "Infeasible",
    "ResidencyPlan",
    "Step",
    "UnknownOperation",
    "braintta",
    "cost",
    "cost_model_version",
    "hierarchy",
    "hierarchy_plan",
    "moons",
    "price",
    "residency",
]


class HasGraph(Protocol):
    """Anything captured: it knows its graph, such as a Network."""

    @property
    def graph(self) -> Graph:
        """The network as operators and tensors."""
        ...


class _Room(ModuleType):
    """This module, callable."""

    def __call__(
        self,
        network: HasGraph | Graph | Workload,
        scheme: Scheme | str | None = None,
        hardware: Hardware | str | os.PathLike[str] | Mapping[str, object] = "moons-4mb",
        *,
        options: CostOptions | None = None,
    ) -> Cost:
        """Energy, cycles and footprint of one inference.

        `scheme` None: what the network has (a Network's own scheme, the Formats of a Workload), else float32.

        Raises:
            Infeasible: the hardware cannot run the network; the text says why and what would mend it.
            ValueError: a scheme or a hardware that cannot be read; a scheme for a Workload, which has one.
        """
        described = hardware if isinstance(hardware, Hardware) else load(hardware)
        if isinstance(network, Workload):
            if scheme is not None and str(scheme) != network.scheme:
                raise ValueError(
                    f"this workload has the Formats of {network.scheme!r}; to price {str(scheme)!r} give the "
                    "Network or the Graph it was made of"
                )
            return cost(network, described, options=options)
        if not isinstance(network, Graph) and not hasattr(network, "graph"):
            raise TypeError(
                f"energy takes a Network, a Graph or a Workload, not {type(network).__name__}: "
                "capture the module first, net = bitjoule.capture(module, input_shape=...)"
            )
        graph = network if isinstance(network, Graph) else network.graph
        own = getattr(network, "scheme", None)
        return cost(workload_of(graph, scheme or own or "float32"), described, options=options)


sys.modules[__name__].__class__ = _Room
