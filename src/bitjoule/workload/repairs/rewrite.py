"""Repairs of a Scheme applied to a Graph, in one fixed order whatever order they are named in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from bitjoule.scheme import RepairError, Scheme, check_repairs, repair
from bitjoule.scheme.repairs import bases_of
from bitjoule.workload.assign import assign
from bitjoule.workload.graph import Graph
from bitjoule.workload.repairs.activations import dprelu, prelu, rprelu
from bitjoule.workload.repairs.bases import binary_bases
from bitjoule.workload.repairs.edit import Edit
from bitjoule.workload.repairs.scales import bn_out, scale_input, scale_xnorpp, se8
from bitjoule.workload.repairs.shortcuts import double_residual, hp_downsample
from bitjoule.workload.repairs.sign_inputs import learned_shift, pre_bn
from bitjoule.workload.repairs.sites import binary_layers

__all__ = ["RepairedGraph", "repair_graph", "repaired_graph"]

Rewriting = Callable[[Edit, tuple[str, ...]], None]

REWRITINGS: Mapping[str, Rewriting] = {
    "hp_downsample": hp_downsample,
    "pre_bn": pre_bn,
    "double_residual": double_residual,
    "learned_shift": learned_shift,
    "scale_input": scale_input,
    "scale_xnorpp": scale_xnorpp,
    "se8": se8,
    "bn_out": bn_out,
    "prelu": prelu,
    "rprelu": rprelu,
    "dprelu": dprelu,
}
"""In this order: shortcuts, inputs of signs, scales of results, batch norm, activation; `bases_m` last."""


@dataclass(frozen=True)
class RepairedGraph:
    """A Graph with its repairs, and in words what they left as it was."""

    graph: Graph
    notes: tuple[str, ...] = ()


def repaired_graph(graph: Graph, scheme: Scheme) -> Graph:
    """`graph` with the topology repairs of `scheme` that it does not have yet.

    Raises:
        RepairError: there is no binary layer under `scheme`.
    """
    return repair_graph(graph, scheme, scheme.topology_repairs).graph


def repair_graph(graph: Graph, scheme: Scheme, names: Iterable[str]) -> RepairedGraph:
    """`graph` with the topology repairs of `names` that it does not have yet; `scheme` says which layers are
    binary and how wide the high precision is.

    Every ReLU and hardtanh in whose place the sign stands goes first: the sign reads what it read. Training
    repairs among `names` change nothing here.

    Raises:
        RepairError: an unknown name, two that exclude each other (also one here and one in `graph`), or no
            binary layer.
    """
    asked = check_repairs(names)
    check_repairs(dict.fromkeys((*graph.repairs, *asked)))
    missing = tuple(name for name in asked if repair(name).rewrites and name not in graph.repairs)
    plain = replace(scheme, repairs=())
    for name in asked:
        both = repair(name).reads_bits
        if not binary_layers(graph, plain, inputs=both):
            raise RepairError(
                f"{graph.name} has no layer with binary weights{' and input' if both else ''} under scheme "
                f"{str(plain)!r}, so there is nothing for repair {name!r} to mend; use w1a1, or an override "
                "that makes layers binary"
            )
    if not missing:
        return RepairedGraph(graph)
    edit = Edit(graph, scheme.high_bits)
    for layer in binary_layers(graph, plain):
        edit.change(layer, {"mended": True})
    _drop_replaced_clips(edit, graph, plain)
    for name, rewriting in REWRITINGS.items():
        if name in missing:
            rewriting(edit, binary_layers(edit.graph(()), plain))
    if (bases := bases_of(missing)) > 1:
        binary_bases(edit, binary_layers(edit.graph(()), plain), bases)
    applied = check_repairs(dict.fromkeys((*graph.repairs, *missing)))
    return RepairedGraph(edit.graph(applied), tuple(edit.notes))


def _drop_replaced_clips(edit: Edit, graph: Graph, scheme: Scheme) -> None:
    """Take out the clips that quantizers to -1 and +1 absorb, and identities between operators."""
    absorbed = assign(graph, scheme).absorbed
    for node in graph.nodes:
        if node.name in absorbed or node.op == "identity":
            edit.remove(node.name)
