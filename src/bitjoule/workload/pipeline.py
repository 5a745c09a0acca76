"""Which tensors are ever stored: the fused pipelines behind the accumulators of a Graph.

A multiply-accumulate operator, the batch norm and activation that follow it, and (with `fuse_adds`)
the residual add that takes its result run as one pipeline; only the end of a pipeline is stored.
Of the operands of an add at most one can come straight from an accumulator, so that layer runs last: the
main path where the shortcut has a convolution of its own, else the layer computed last.
"""

from __future__ import annotations

from bitjoule.workload.graph import FUSED, MAC_OPS, TRANSPARENT, Graph, Node

__all__ = ["class_of", "first_layers", "internal_tensors", "is_downsample", "last_layers", "pipeline_end"]


def internal_tensors(graph: Graph, *, fuse_adds: bool) -> frozenset[str]:
    """Tensors that live in accumulators only.

    `fuse_adds`: an add takes one conv result without storing it (`preadd=acc`, training.md section 2).
    """
    internal: set[str] = set()
    step = {node.output: index for index, node in enumerate(graph.nodes)}
    for node in graph.nodes:
        tensor = node.output
        uses = graph.consumers(tensor)
        if (
            len(uses) == 1
            and tensor not in graph.outputs
            and node.op not in TRANSPARENT
            and uses[0][0].op in FUSED
        ):
            internal.add(tensor)
    if fuse_adds:
        for node in graph.nodes:
            if node.op != "add":
                continue
            fresh = [
                tensor
                for tensor in dict.fromkeys(node.inputs)
                if len(graph.consumers(tensor)) == 1
                and tensor not in graph.outputs
                and (root := _pipeline_root(graph, tensor, internal)) is not None
                and root.op in MAC_OPS
            ]
            if fresh:
                shortcut = {tensor: _is_shortcut(graph, tensor, internal) for tensor in fresh}
                internal.add(max(fresh, key=lambda tensor: (not shortcut[tensor], step[tensor])))
    return frozenset(internal)


def _pipeline_root(graph: Graph, tensor: str, internal: set[str]) -> Node | None:
    producer = graph.producer(tensor)
    while producer is not None and producer.op in FUSED and producer.inputs[0] in internal:
        producer = graph.producer(producer.inputs[0])
    return producer


def _is_shortcut(graph: Graph, tensor: str, internal: set[str]) -> bool:
    root = _pipeline_root(graph, tensor, internal)
    return root is not None and is_downsample(graph, root)


def pipeline_end(graph: Graph, node: Node, internal: frozenset[str]) -> str:
    """The tensor that is stored when `node` runs: its output, or what fused operators make of it."""
    tensor = node.output
    while tensor in internal:
        tensor = graph.consumers(tensor)[0][0].output
    return tensor


def class_of(graph: Graph) -> dict[str, str]:
    """Tensor -> representative of its class: tensors joined by operators that never change a Format.

    Flatten, reshape, transpose, pad, max pool, slice and concat join their input and output
    (the activation chain rule of search.md section 1).
    """
    parent = {tensor: tensor for tensor in graph.tensors}

    def find(tensor: str) -> str:
        while parent[tensor] != tensor:
            parent[tensor] = parent[parent[tensor]]
            tensor = parent[tensor]
        return tensor

    for node in graph.nodes:
        if node.op in TRANSPARENT:
            for tensor in node.inputs:
                root, other = find(node.output), find(tensor)
                parent[root] = other
    return {tensor: find(tensor) for tensor in graph.tensors}


def first_layers(graph: Graph) -> frozenset[str]:
    """Names of the layers that read a network input, directly or through BN, activation or reshaping."""
    image = set(graph.inputs)
    first: set[str] = set()
    for node in graph.nodes:
        if not image.intersection(node.inputs):
            continue
        if node.op in MAC_OPS:
            first.add(node.name)
        elif node.op in FUSED | TRANSPARENT:
            image.add(node.output)
    return frozenset(first)


def last_layers(graph: Graph) -> frozenset[str]:
    """Names of the layers whose result leaves the network without meeting another layer or an add."""
    leaving = set(graph.outputs)
    last: set[str] = set()
    for node in reversed(graph.nodes):
        if node.output not in leaving:
            continue
        if node.op in MAC_OPS:
            last.add(node.name)
        elif node.op != "add":
            leaving.update(node.inputs)
    return frozenset(last)


def is_downsample(graph: Graph, node: Node) -> bool:
    """True for the 1x1 convolution on a shortcut: an add takes its result, its input has other readers."""
    if node.op != "conv" or set(node.ints("kernel", 2, 1)) != {1}:
        return False
    if any(consumer.op in MAC_OPS for consumer, _ in graph.consumers(node.output)):
        return False
    tensor = node.output
    while (uses := graph.consumers(tensor)) and len(uses) == 1 and uses[0][0].op in FUSED:
        tensor = uses[0][0].output
    if not any(consumer.op == "add" for consumer, _ in graph.consumers(tensor)):
        return False
    source = node.inputs[0]
    producer = graph.producer(source)
    while producer is not None and producer.op in ("avg_pool", "max_pool", "slice", "pad"):
        source = producer.inputs[0]
        producer = graph.producer(source)
    return len(graph.consumers(source)) > 1
