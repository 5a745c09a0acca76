"""The mappings behind a cost as a study keeps them: one document per group of equal layers.

`layers`: their names; `mapping`: the loop nest as `mapping/nest.py` reads it back; `nest`: the same drawn;
`utilization`, `bounding`, `energy_pj`, `latency_cycles` and `certificate` of one of these layers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from bitjoule.mapping.accelerator import Accelerator
from bitjoule.mapping.draw import certificate, loop_nest
from bitjoule.mapping.search import MappingResult
from bitjoule.search.trial import Json

__all__ = ["mapping_documents"]


def mapping_documents(mappings: Mapping[str, MappingResult], accelerator: Accelerator) -> list[Json]:
    """Documents in the order of the layers; layers that differ in nothing but their name share one."""
    names: dict[object, list[str]] = {}
    first: dict[object, MappingResult] = {}
    for name, result in mappings.items():
        same = (replace(result.problem, name=""), result.mapping, result.energy_pj)
        names.setdefault(same, []).append(name)
        first.setdefault(same, result)
    return [
        {
            "layers": names[same],
            "mapping": result.mapping.to_json(),
            "nest": loop_nest(result, accelerator),
            "utilization": result.evaluation.utilization,
            "bounding": result.evaluation.bounding,
            "energy_pj": result.energy_pj,
            "latency_cycles": result.latency_cycles,
            "certificate": certificate(result),
        }
        for same, result in first.items()
    ]
