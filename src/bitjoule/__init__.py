"""bitjoule: the quantization that costs the fewest joules at the accuracy you need.

Names load what they need when they are first used: importing the package loads neither torch nor SciPy.
`energy`, `hardware` and `train` are rooms that can be called: `bitjoule.energy(net, "w4a4", "moons-4mb")`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bitjoule import energy, hardware, train, zoo
    from bitjoule.energy import Cost
    from bitjoule.formats import Format, parse_format
    from bitjoule.front_door import Study, best_mapping
    from bitjoule.hardware import Hardware
    from bitjoule.network import Network, capture
    from bitjoule.scheme import Scheme, parse_scheme
    from bitjoule.train.ptq import ptq
    from bitjoule.workload import Graph, Workload, from_onnx

__version__ = "0.1.0"

__all__ = [
    "Cost",
    "Format",
    "Graph",
    "Hardware",
    "Network",
    "Scheme",
    "Study",
    "Workload",
    "best_mapping",
    "capture",
    "energy",
    "from_onnx",
    "hardware",
    "parse_format",
    "parse_scheme",
    "ptq",
    "train",
    "zoo",
]

_HOME = {
    "Cost": "bitjoule.energy",
    "Format": "bitjoule.formats",
    "Graph": "bitjoule.workload",
    "Hardware": "bitjoule.hardware",
    "Network": "bitjoule.network",
    "Scheme": "bitjoule.scheme",
    "Study": "bitjoule.front_door",
    "Workload": "bitjoule.workload",
    "best_mapping": "bitjoule.front_door",
    "capture": "bitjoule.network",
    "from_onnx": "bitjoule.workload",
    "parse_format": "bitjoule.formats",
    "parse_scheme": "bitjoule.scheme",
    "ptq": "bitjoule.train.ptq",
}
_ROOMS = ("energy", "hardware", "train", "zoo")


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(f"bitjoule.{name}")
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'bitjoule' has no attribute {name!r}; it has: {', '.join(__all__)}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
