"""Matching blocks of a student and its teacher, and their outputs (repair `attention_match`).

From a binary layer the teacher's graph is followed to the first add, or to the next layers. Blocks end in
these adds; in a teacher where no binary layer is followed by an add, in the last operator before the next
layers. A pair is such an end that student and teacher both have, by name and resolution; quantizers and
operators that repairs put into the student do not matter.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, fx

from bitjoule.network import Network
from bitjoule.network.captured_module import CapturedModule
from bitjoule.network.graph_writer import MARK
from bitjoule.quant.repairs import attention_loss
from bitjoule.scheme import RepairError
from bitjoule.workload import Graph
from bitjoule.workload.graph import MAC_OPS

__all__ = ["AttentionMatch", "matching_blocks", "tapped"]

IMAGE = 4
"""Dimensions of a tensor with rows and columns, of which a map can be made."""


class AttentionMatch:
    """Student and teacher run on the same images, with the distance of the attention maps of their blocks.

    Raises:
        RepairError: no block of the two pairs.
    """

    def __init__(self, student: Network, teacher: Network) -> None:
        self.blocks = matching_blocks(student, teacher)
        self.student = tapped(student, self.blocks)
        self.teacher = tapped(teacher, self.blocks)

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The student's logits and the attention loss, whose gradient reaches the student alone."""
        logits, ours = self.student(images)
        with torch.no_grad():
            _, theirs = self.teacher(images)
        return logits, attention_loss([x.float() for x in ours], [x.float() for x in theirs])


def matching_blocks(student: Network, teacher: Network) -> tuple[str, ...]:
    """Names of the operators whose outputs pair, in running order.

    Raises:
        RepairError: there is none; the text says what a teacher needs.
    """
    ours, theirs = student.graph, teacher.graph
    names = {name for name, _ in _images(ours).items() & _images(theirs).items()}
    formats = {} if student.assignment is None else student.assignment.weights
    binary = [name for name, found in formats.items() if found.format.bits == 1]
    ops = {node.name: node.op for node in theirs.nodes}
    branches = [_branch(theirs, name) for name in binary if name in ops]
    adds = {name for branch in branches for name in branch if ops[name] == "add" and name in names}
    if not adds:
        last = [[name for name in branch if name in names][-1:] for branch in branches]
        adds = {name for found in last for name in found}
    if not adds:
        raise RepairError(
            f"attention_match: no block of {student.name} with binary layers ends in an operator that the "
            f"teacher {teacher.name} has too, by name and resolution; give the float parent of the same "
            "network as teacher, and a network of convolutions"
        )
    return tuple(node.name for node in ours.nodes if node.name in adds)


def tapped(net: Network, names: Sequence[str]) -> CapturedModule:
    """A module over the parameters and modules of `net` that returns (output, [outputs of `names`]).

    >>> from bitjoule import zoo
    >>> from bitjoule.network import capture
    >>> import torch
    >>> net = capture(zoo.tfc(inputs=64), input_shape=(1, 1, 8, 8))
    >>> tapped(net, ["hidden.hidden1.linear"])(torch.zeros(2, 1, 8, 8))[1][0].shape
    torch.Size([2, 64])
    """
    graph = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    output = graph.graph_copy(net.module.graph, copies)
    marked = {node.meta[MARK]: copies[node] for node in net.module.graph.nodes if MARK in node.meta}
    graph.output((output, [marked[name] for name in names]))
    graph.lint()
    return CapturedModule(net.module, graph)


def _images(graph: Graph) -> dict[str, tuple[int, ...]]:
    """Rows and columns of every operator's output that has them."""
    shapes = {node.name: graph.tensors[node.output].shape for node in graph.nodes}
    return {name: shape[2:] for name, shape in shapes.items() if len(shape) == IMAGE}


def _branch(graph: Graph, layer: str) -> list[str]:
    """The operators that follow from `layer` (included) up to the first adds or the next layers, in order."""
    found = [layer]
    reached = {layer}
    for node in graph.nodes:
        if node.op in MAC_OPS or not reached & set(node.inputs):
            continue
        found.append(node.name)
        if node.op != "add":
            reached.add(node.name)
    return found
