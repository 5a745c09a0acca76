"""Cost of candidates through the network's graph: workload, then the energy model of the hardware.

A graph is asked for once per topology; its hash stands for the network in every content key.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, cast

from bitjoule.energy import Infeasible, cost, cost_model_version
from bitjoule.hardware import Hardware, load
from bitjoule.search.proxies import proxies
from bitjoule.search.space import Candidate
from bitjoule.search.trial import CostRecord, Json
from bitjoule.workload import Graph, Workload, workload_of

__all__ = ["NetworkCost", "priced_job"]

WORKLOAD_VERSION = 2
"""Raised when `workload_of` counts the same graph and scheme differently."""


class NetworkCost:
    """The CostFunction of studies; `graph` gives the network of a candidate."""

    def __init__(self, graph: Callable[[Candidate], Graph]) -> None:
        self._graph_of = graph
        self._graphs: dict[tuple[tuple[str, int | float], ...], Graph] = {}
        self._hardware: dict[str, Hardware] = {}

    def hardware_hash(self, hardware: str) -> str:
        """Content hash of a preset or file."""
        return self._load(hardware).hash

    def network_payload(self, candidate: Candidate) -> Json:
        """Name, topology and the hash of the captured graph."""
        return {
            "name": candidate.network,
            "topology": [[name, value] for name, value in candidate.topology],
            "graph": self._graph(candidate).hash,
        }

    def payload(self, candidate: Candidate, hardware: str) -> Json:
        """Graph and scheme, of which the workload follows; hardware; versions of what counts and prices."""
        loaded = self._load(hardware)
        return {
            "graph": self._graph(candidate).hash,
            "workload_version": WORKLOAD_VERSION,
            "scheme": candidate.scheme.name,
            "hardware": loaded.hash,
            "model": loaded.kind,
            "model_version": cost_model_version(loaded),
            **_mapper_version(loaded),
        }

    def __call__(self, candidate: Candidate, hardware: str) -> CostRecord:
        """Energy, latency and DRAM of one inference, with the breakdown that reports show."""
        return _record(workload_of(self._graph(candidate), candidate.scheme), self._load(hardware))

    def pricing_job(self, candidate: Candidate, hardware: str) -> Json | None:
        """What `priced_job` needs in another process; None where no layer must be mapped."""
        if self._load(hardware).kind != "hierarchy":
            return None
        graph = self._graph(candidate).to_json()
        return {"graph": graph, "scheme": candidate.scheme.name, "hardware": hardware}

    def _graph(self, candidate: Candidate) -> Graph:
        if candidate.topology not in self._graphs:
            self._graphs[candidate.topology] = self._graph_of(candidate)
        return self._graphs[candidate.topology]

    def _load(self, hardware: str) -> Hardware:
        if hardware not in self._hardware:
            self._hardware[hardware] = load(hardware)
        return self._hardware[hardware]


def priced_job(job: Json) -> CostRecord:
    """The cost record of a `NetworkCost.pricing_job`."""
    graph = Graph.from_json(cast("dict[str, Any]", job["graph"]))
    return _record(workload_of(graph, str(job["scheme"])), load(str(job["hardware"])))


def _record(workload: Workload, described: Hardware) -> CostRecord:
    """Energy, latency and DRAM of one inference, or why the hardware cannot run it."""
    breakdown = _description(workload)
    try:
        if described.kind == "hierarchy":
            document, mapped = _mapped(workload, described)
            breakdown |= mapped
        else:
            document = cost(workload, described).to_json()
    except Infeasible as error:
        return CostRecord(None, None, None, breakdown, str(error))
    totals = cast(Mapping[str, float], document["totals"])
    return CostRecord(
        energy_pj=float(totals["energy_pj"]),
        latency_cycles=int(totals["latency_cycles"]),
        dram_pj=float(totals["dram_pj"]),
        breakdown={**breakdown, "cost": document},
    )


def _mapped(workload: Workload, hardware: Hardware) -> tuple[Json, Json]:
    """The cost on a memory hierarchy, its mappings, and the seconds that the mapper took."""
    from bitjoule.energy.hierarchy import hierarchy_plan
    from bitjoule.mapping.search import MappingResult
    from bitjoule.search.layer_mappings import mapping_documents

    started = time.monotonic()
    plan = hierarchy_plan(workload, hardware)
    seconds = round(time.monotonic() - started, 3)
    found = {name: result for name, result in plan.mappings.items() if isinstance(result, MappingResult)}
    documents = mapping_documents(found, plan.accelerators)
    return plan.cost.to_json(), {"mappings": documents, "mapping_s": seconds}


def _mapper_version(hardware: Hardware) -> Json:
    """Part of the key where the mapper decides the cost."""
    if hardware.kind != "hierarchy":
        return {}
    from bitjoule.mapping.search import MAPPER_VERSION  # loads the kernels: only where they are needed

    return {"mapper_version": MAPPER_VERSION}


def _description(workload: Workload) -> Json:
    return {
        "weight_bits": workload.weight_bits,
        "macs": workload.macs,
        "proxies": proxies(workload.layers),
        "formats": [
            {
                "layer": layer.name,
                "kind": layer.kind,
                "macs": layer.macs,
                "weights": _text(layer.weight_format),
                "input": _text(layer.input_format),
                "output": _text(layer.output_format),
            }
            for layer in workload.layers
        ],
    }


def _text(tensor_format: object) -> str:
    return "FLOAT32" if tensor_format is None else str(tensor_format)
