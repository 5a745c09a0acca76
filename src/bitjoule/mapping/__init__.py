"""How it is placed: access counts of a loop nest, packing, prices, and the proven best mapping.

Compiled kernels are loaded only when a search is asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from bitjoule.mapping.accelerator import Accelerator, Axis, StorageLevel
from bitjoule.mapping.counts import count
from bitjoule.mapping.evaluate import Evaluation, LevelCost, TensorCost, evaluate
from bitjoule.mapping.nest import LevelNest, Mapping, MappingError
from bitjoule.mapping.packing import Mode, words
from bitjoule.mapping.problem import DIMS, TENSORS, Problem
from bitjoule.mapping.tally import Counts, LevelTally, TensorTally

if TYPE_CHECKING:
    from bitjoule.mapping.hardware_levels import accelerator_of
    from bitjoule.mapping.infeasible import InfeasibleMapping
    from bitjoule.mapping.layer_problem import problem_of, psum_warning
    from bitjoule.mapping.search import MappingResult, best_mapping, pareto_mappings, solve
    from bitjoule.mapping.space import SpaceOptions

__all__ = [
    "DIMS",
    "TENSORS",
    "Accelerator",
    "Axis",
    "Counts",
    "Evaluation",
    "InfeasibleMapping",
    "LevelCost",
    "LevelNest",
    "LevelTally",
    "Mapping",
    "MappingError",
    "MappingResult",
    "Mode",
    "Problem",
    "SpaceOptions",
    "StorageLevel",
    "TensorCost",
    "TensorTally",
    "accelerator_of",
    "best_mapping",
    "count",
    "evaluate",
    "pareto_mappings",
    "problem_of",
    "psum_warning",
    "solve",
    "words",
]

_HOME = {
    "InfeasibleMapping": "infeasible",
    "MappingResult": "search",
    "SpaceOptions": "space",
    "accelerator_of": "hardware_levels",
    "best_mapping": "search",
    "pareto_mappings": "search",
    "problem_of": "layer_problem",
    "psum_warning": "layer_problem",
    "solve": "search",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"bitjoule.mapping.{_HOME[name]}"), name)
    raise AttributeError(f"module 'bitjoule.mapping' has no attribute {name!r}; it has: {', '.join(__all__)}")
