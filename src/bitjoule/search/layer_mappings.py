"""The mappings behind a cost as a study keeps them: one document per group of equal layers.

`layers`: their names; `mapping`: the loop nest as `mapping/nest.py` reads it back; `nest`: the same drawn;
`utilization`, `bounding`, `energy_pj`, `latency_cycles` and `certificate` of one of these layers. Importing
this loads the mapper.
"""

from __future__ import annotations

from collections.abc import Mapping

from bitjoule.mapping.accelerator import Accelerator
from bitjoule.mapping.draw import certificate, loop_nest
from bitjoule.mapping.search import MappingResult
from bitjoule.search.trial import Json

__all__ = ["mapping_documents"]


def mapping_documents(
    mappings: Mapping[str, MappingResult], accelerators: Mapping[str, Accelerator]
) -> list[Json]:
    """Documents in the order of the layers; layers that are drawn alike share one.

    `accelerators`: what the mapping of each layer was found for, with the tensors that live on chip.
    """
    found: dict[tuple[str, str, float], Json] = {}
    for name, result in mappings.items():
        nest, proof = loop_nest(result, accelerators[name]), certificate(result)
        group = found.setdefault(
            (nest, proof, result.energy_pj),
            {
                "layers": [],
                "mapping": result.mapping.to_json(),
                "nest": nest,
                "utilization": result.evaluation.utilization,
                "bounding": result.evaluation.bounding,
                "energy_pj": result.energy_pj,
                "latency_cycles": result.latency_cycles,
                "certificate": proof,
            },
        )
        layers = group["layers"]
        assert isinstance(layers, list)
        layers.append(name)
    return list(found.values())
