"""Graphs that a study has captured before: capturing takes seconds, reading one back milliseconds.

A graph is stored under the content that decides it: what the join says of the network (options, versions,
the hash of a file) and the topology. A replay of a finished study captures nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from bitjoule.search.key import key
from bitjoule.search.space import Candidate
from bitjoule.search.store import Store
from bitjoule.search.trial import Json
from bitjoule.workload import Graph, GraphError

__all__ = ["StoredGraphs"]


class StoredGraphs:
    """The graph of a candidate, from the store where it is there, else captured and stored.

    Args:
        capture: makes the graph of a candidate.
        content: everything that decides the graph, besides the topology.
        store: where graphs are kept; None captures each time.
        keep: write what was captured; False where the store is only read.
    """

    def __init__(
        self, capture: Callable[[Candidate], Graph], content: Json, store: Store | None, *, keep: bool = True
    ) -> None:
        self._capture = capture
        self._content = content
        self._store = store
        self._keep = keep

    def __call__(self, candidate: Candidate) -> Graph:
        """The graph; a stored one that this version cannot read is captured anew."""
        if self._store is None:
            return self._capture(candidate)
        topology = [[name, value] for name, value in candidate.topology]
        name = "graph:" + key("graph", {"network": self._content, "topology": topology})
        graph = _read(self._store.meta(name))
        if graph is None:
            graph = self._capture(candidate)
            if self._keep:
                self._store.set_meta(name, json.dumps(graph.to_json(), separators=(",", ":")))
        return graph


def _read(text: str | None) -> Graph | None:
    try:
        return None if text is None else Graph.from_json(json.loads(text))
    except (json.JSONDecodeError, GraphError):
        return None
