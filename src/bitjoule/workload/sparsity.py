"""N:M sparsity: which layers of a Graph a Scheme prunes, which stay dense and why, and what is stored.

`prune=N:M` keeps at most N of every M weights along the input channels (C fastest, at fixed r and s;
training.md section 5). Stored are the N survivors of each block and their places, N ceil(log2 M) bits. Left
dense: layers that read the network input, depthwise and other convolutions whose channels per group M does
not divide, weights whose Format has no zero. A weight that several layers read is pruned when all may be.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from bitjoule.scheme import Scheme
from bitjoule.workload.assign import layer_precisions
from bitjoule.workload.graph import Graph, Node
from bitjoule.workload.pipeline import first_layers

__all__ = ["SparseLayers", "Sparsity", "parse_sparsity", "sparse_layers"]


@dataclass(frozen=True)
class Sparsity:
    """At most `kept` of every `block` weights are not zero.

    >>> Sparsity(2, 4).storage_bits(64, 4), 64 * 4  # 32 values of 4 bits, 32 places of 2 bits
    (192, 256)
    """

    kept: int
    block: int

    @property
    def index_bits(self) -> int:
        """Bits that say where in its block a survivor stands: ceil(log2 M)."""
        return (self.block - 1).bit_length()

    def storage_bits(self, elements: int, bits: int) -> int:
        """Storage of `elements` weights of `bits`, zeros included in their number."""
        return -(-elements * self.kept // self.block) * (bits + self.index_bits)

    def __str__(self) -> str:
        return f"{self.kept}:{self.block}"


def parse_sparsity(text: str) -> Sparsity:
    """The Sparsity of `N:M`; ValueError for anything else.

    >>> parse_sparsity("2:4")
    Sparsity(kept=2, block=4)
    """
    match = re.fullmatch(r"([0-9]{1,6}):([0-9]{1,6})", text)
    if match is None or not 1 <= int(match[1]) < int(match[2]):
        raise ValueError(f"sparsity must be N:M with 1 <= N < M, such as 2:4, not {text!r}")
    return Sparsity(int(match[1]), int(match[2]))


@dataclass(frozen=True)
class SparseLayers:
    """The layers that are pruned, and for the others with weights why they are not."""

    pruned: Mapping[str, Sparsity]
    dense: Mapping[str, str]

    def notes(self) -> tuple[str, ...]:
        """One line per reason.

        >>> SparseLayers({}, {"conv1": "it reads the network input"}).notes()
        ('not pruned, because it reads the network input: conv1',)
        """
        reasons: dict[str, list[str]] = {}
        for name, reason in self.dense.items():
            reasons.setdefault(reason, []).append(name)
        return tuple(f"not pruned, because {reason}: {', '.join(names)}" for reason, names in reasons.items())


def sparse_layers(graph: Graph, scheme: Scheme) -> SparseLayers:
    """Which layers of `graph` are pruned under `scheme`; none without `prune`.

    Raises:
        SchemeError: an override matches no layer.
    """
    if scheme.prune is None:
        return SparseLayers({}, {})
    sparsity = Sparsity(*scheme.prune)
    precisions = layer_precisions(graph, scheme)
    first = first_layers(graph)
    layers = [node for node in graph.mac_nodes() if "weight" in node.parameters]
    dense: dict[str, str] = {}
    for node in layers:
        format_ = precisions[node.name].weight_format().format
        reason = (
            "it reads the network input"
            if node.name in first
            else _shape_obstacle(node, sparsity)
            or ("" if format_.has_zero else f"{format_.name} has no zero")
        )
        if reason:
            dense[node.name] = reason
    kept_whole = {shared for node in layers if node.name in dense and (shared := node.shared.get("weight"))}
    for node in layers:
        if node.name not in dense and node.shared.get("weight") in kept_whole:
            dense[node.name] = "a dense layer reads the same weight"
    return SparseLayers({node.name: sparsity for node in layers if node.name not in dense}, dense)


def _shape_obstacle(node: Node, sparsity: Sparsity) -> str:
    """Why the weight (K, C / groups, ...) has no blocks along its input channels, or ""."""
    if node.attributes.get("transposed"):
        return "it is a transposed convolution"
    channels = node.parameters["weight"][1]
    if channels == 1 and node.ints("groups", 1, 1)[0] > 1:
        return "it is depthwise"
    if channels % sparsity.block:
        return f"{channels} input channels are no multiple of {sparsity.block}"
    return ""
