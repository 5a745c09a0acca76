"""Which operators a one-bit quantizer absorbs: they only move its threshold.

Batch norm then sign is a comparison of the accumulator with T_k, one constant per channel (training.md
section 1.5); the same holds for a learned shift before the sign. Such operators cost nothing of their own.
"""

from __future__ import annotations

import math

from bitjoule.workload.assign import Assignment
from bitjoule.workload.graph import TRANSPARENT, Graph, Node

__all__ = ["threshold_nodes"]


def threshold_nodes(graph: Graph, assignment: Assignment) -> frozenset[str]:
    """Names of the batch norms and additions of one constant per channel whose result is only compared: what
    is stored of it has one bit. `graph` is without the clips that signs absorb.

    A run of them that starts on a stored tensor counts where it starts with a batch norm; a shift of a stored
    tensor that is no threshold of anything before it stays an addition (training.md section 3). The first
    node of a run on a stored tensor is the step that compares.
    """
    found: set[str] = set()
    for node in graph.nodes:
        stored = assignment.stored.get(node.output)
        if stored is None or stored.format.bits != 1 or node.op in TRANSPARENT:
            continue
        run: list[Node] = []
        step: Node | None = node
        while step is not None and (step is node or step.output in assignment.internal):
            if step.op in TRANSPARENT and step is not node:
                step = graph.producer(step.inputs[0])
            elif _moves_a_threshold(graph, step):
                run.append(step)
                step = graph.producer(graph.operands(step)[0])
            else:
                break
        else:
            while run and run[-1].op != "batch_norm":
                run.pop()
        found.update(step.name for step in run)
    return frozenset(found)


def _moves_a_threshold(graph: Graph, node: Node) -> bool:
    if node.op == "batch_norm":
        return True
    if node.op not in ("add", "sub") or len(graph.operands(node)) != 1:
        return False
    channels = graph.tensors[node.output].shape[1] if len(graph.tensors[node.output].shape) > 1 else 1
    return all(
        math.prod(graph.tensors[tensor].shape) in (1, channels)
        for tensor in node.inputs
        if tensor not in graph.operands(node)
    )
