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
    from bitjoule.mapping.layer_problem import problem_of, psum_warning

__all__ = [
    "DIMS",
    "TENSORS",
    "Accelerator",
    "Axis",
    "Counts",
    "Evaluation",
    "LevelCost",
    "LevelNest",
    "LevelTally",
    "Mapping",
    "MappingError",
    "Mode",
    "Problem",
    "StorageLevel",
    "TensorCost",
    "TensorTally",
    "count",
    "evaluate",
    "problem_of",
    "psum_warning",
    "words",
]

_HOME = {"problem_of": "layer_problem", "psum_warning": "layer_problem"}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"bitjoule.mapping.{_HOME[name]}"), name)
    raise AttributeError(f"module 'bitjoule.mapping' has no attribute {name!r}; it has: {', '.join(__all__)}")
