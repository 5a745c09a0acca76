"""Which parameters several nodes of a Graph read: they are one tensor in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace

from bitjoule.workload.graph import Node

__all__ = ["with_shared"]


def with_shared(nodes: Iterable[Node], sources: Mapping[tuple[str, str], str]) -> tuple[Node, ...]:
    """`nodes` with `shared` filled in from `sources`: (node name, role) -> the parameter read there.

    A parameter that is read once is not named: its node owns it.

    >>> one, two = (Node(name, "linear", ("x",), name, {}, {"weight": (2, 2)}) for name in ("fc", "fc@1"))
    >>> sources = {("fc", "weight"): "w", ("fc@1", "weight"): "w"}
    >>> [dict(node.shared) for node in with_shared((one, two), sources)]
    [{'weight': 'w'}, {'weight': 'w'}]
    """
    kept = tuple(nodes)
    reads = Counter(
        sources[node.name, role] for node in kept for role in node.parameters if (node.name, role) in sources
    )
    return tuple(
        replace(
            node,
            shared={
                role: source
                for role in node.parameters
                if reads[source := sources.get((node.name, role), "")] > 1
            },
        )
        for node in kept
    )
