"""Topology repairs as surgery on a Network: `apply(net, names)` and `repaired(net, scheme)`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from bitjoule.network import Network
from bitjoule.network.rebuild import rebuild
from bitjoule.scheme import Scheme, parse_scheme
from bitjoule.workload.repairs import repair_graph

__all__ = ["apply", "repaired"]


def apply(net: Network, names: Iterable[str], scheme: Scheme | str | None = None) -> Network:
    """A new Network with the operators of the repairs `names`; `net` stays as it is.

    `scheme` says which layers are binary and how wide high precision is: by default the scheme applied to
    `net`, or w1a1. The result has no scheme applied, for it is another graph. Training repairs add no
    operators; `repair_settings` has what they change. What a repair had to leave stands in `notes`.

    Raises:
        RepairError: an unknown name, two that exclude each other, or no binary layer.
        NetworkError: quantizers were inserted already.

    >>> from bitjoule import zoo
    >>> from bitjoule.network import capture
    >>> net = capture(zoo.moons(depths=(2,), filters=(8,), image_size=8), input_shape=(1, 3, 8, 8))
    >>> [node.op for node in apply(net, ["double_residual", "prelu"]).graph.nodes][2:7]
    ['conv', 'batch_norm', 'add', 'prelu', 'max_pool']
    """
    parsed = parse_scheme(scheme) if isinstance(scheme, str) else scheme or net.scheme or parse_scheme("w1a1")
    made = repair_graph(net.graph, parsed, tuple(names))
    if made.graph is net.graph:
        return net.clone()
    return rebuild(net, made.graph, made.notes)


def repaired(net: Network, scheme: Scheme | str) -> Network:
    """A new Network with the topology repairs that `scheme` names and `net` does not have yet.

    Raises:
        SchemeError: the scheme does not parse.
        RepairError: there is no binary layer under it.
    """
    parsed = parse_scheme(scheme) if isinstance(scheme, str) else scheme
    return apply(net, parsed.repairs, replace(parsed, repairs=()))
