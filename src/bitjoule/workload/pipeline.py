"""Which tensors are ever stored: the fused pipelines behind the accumulators of a Graph.

A multiply-accumulate operator, what runs on its accumulator (batch norm, activation, arithmetic with
constants, a max pool or reshaping on the way) and, with `fuse_adds`, the residual add that takes its result
run as one pipeline; only the end of a pipeline is stored. A gate (a product with what a side branch computes
from the layer's input) is part of the pipeline too. Of the operands of an add at most one can come
straight from an accumulator, so that layer runs last: the main path where the shortcut has a convolution of
its own, else the layer computed last.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from bitjoule.workload.graph import MAC_OPS, NO_OPS, TRANSPARENT, Graph, Node, Tensor

__all__ = [
    "class_of",
    "first_layers",
    "internal_tensors",
    "is_downsample",
    "last_layers",
    "pipeline_end",
    "pipeline_root",
    "without_no_ops",
]


def without_no_ops(graph: Graph, absorbed: frozenset[str] = frozenset()) -> tuple[Graph, Mapping[str, str]]:
    """`graph` without dropout, identity and the clips `absorbed` by signs, and tensor -> the tensor that
    stands for it there.
    """
    alias = {tensor: tensor for tensor in graph.tensors}
    nodes = []
    for node in graph.nodes:
        if node.op in NO_OPS or node.name in absorbed:
            alias[node.output] = alias[node.inputs[0]]
        else:
            nodes.append(replace(node, inputs=tuple(alias[tensor] for tensor in node.inputs)))
    kept: dict[str, Tensor] = {name: t for name, t in graph.tensors.items() if alias[name] == name}
    outputs = tuple(alias[tensor] for tensor in graph.outputs)
    return Graph(graph.name, graph.inputs, outputs, tuple(nodes), kept, graph.repairs), alias


def internal_tensors(graph: Graph, *, fuse_adds: bool) -> frozenset[str]:
    """Tensors that live in accumulators only. `graph` has no no-ops.

    `fuse_adds`: an add takes one conv result without storing it (`preadd=acc`, training.md section 2).
    """
    internal: set[str] = {node.output for node in graph.nodes if node.op == "constant"}
    for node in graph.nodes:
        if node.op in TRANSPARENT or node.op == "constant":
            continue
        way = _way(graph, node.output)
        uses = graph.consumers(way[-1])
        if len(uses) == 1 and way[-1] not in graph.outputs and graph.is_fused(uses[0][0]):
            internal.update(way)
    for node in graph.nodes:
        if graph.is_gate(node) and _is_fresh(graph, node.inputs[0], internal):
            internal.update(_back_to_producer(graph, node.inputs[0]))
    if fuse_adds:
        step = {node.output: index for index, node in enumerate(graph.nodes)}
        for node in graph.nodes:
            if graph.is_residual_add(node):
                fresh = [
                    tensor for tensor in dict.fromkeys(node.inputs) if _is_fresh(graph, tensor, internal)
                ]
                if fresh:
                    chosen = max(fresh, key=lambda t: (not _is_shortcut(graph, t, internal), step[t]))
                    internal.update(_back_to_producer(graph, chosen))
    return frozenset(internal)


def _way(graph: Graph, tensor: str) -> list[str]:
    """`tensor` and what a chain of moving operators, each the only reader, makes of it."""
    way = [tensor]
    while way[-1] not in graph.outputs:
        uses = graph.consumers(way[-1])
        if len(uses) != 1 or uses[0][0].op not in TRANSPARENT or len(uses[0][0].inputs) != 1:
            break
        way.append(uses[0][0].output)
    return way


def _back_to_producer(graph: Graph, tensor: str) -> list[str]:
    """`tensor` and, through moving operators, the tensor that an operator computed."""
    way = [tensor]
    producer = graph.producer(tensor)
    while producer is not None and producer.op in TRANSPARENT and len(producer.inputs) == 1:
        way.append(producer.inputs[0])
        producer = graph.producer(way[-1])
    return way


def pipeline_root(graph: Graph, tensor: str, internal: frozenset[str] | set[str]) -> Node | None:
    """The operator whose accumulator `tensor` comes from, through fused and moving operators."""
    producer = graph.producer(tensor)
    while producer is not None:
        if producer.op in TRANSPARENT and len(producer.inputs) == 1:
            producer = graph.producer(producer.inputs[0])
        elif _runs_on_accumulator(graph, producer) and graph.operands(producer)[0] in internal:
            producer = graph.producer(graph.operands(producer)[0])
        else:
            break
    return producer


def _runs_on_accumulator(graph: Graph, node: Node) -> bool:
    return graph.is_fused(node) or graph.is_gate(node)


def _is_fresh(graph: Graph, tensor: str, internal: set[str]) -> bool:
    """True for a tensor that only the add reads and that can come straight from an accumulator."""
    way = _back_to_producer(graph, tensor)
    if any(len(graph.consumers(name)) != 1 or name in graph.outputs for name in way):
        return False
    root = pipeline_root(graph, tensor, internal)
    return root is not None and root.op in MAC_OPS


def _is_shortcut(graph: Graph, tensor: str, internal: set[str]) -> bool:
    root = pipeline_root(graph, tensor, internal)
    return root is not None and is_downsample(graph, root)


def pipeline_end(graph: Graph, node: Node, internal: frozenset[str]) -> str:
    """The tensor that is stored when `node` runs: its output, or what fused operators make of it."""
    tensor = node.output
    while tensor in internal:
        tensor = graph.consumers(tensor)[0][0].output
    return tensor


def class_of(graph: Graph) -> dict[str, str]:
    """Tensor -> representative of its class: tensors joined by operators that never change a Format.

    Flatten, reshape, transpose, pad, max pool, slice and concat join their inputs and output. (The chain
    rule of search.md section 1 also joins the operands and result of an add; here each has its own scale.)
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
    """Names of the layers with no layer before them."""
    after: set[str] = set()
    first: set[str] = set()
    for node in graph.nodes:
        behind = any(tensor in after for tensor in node.inputs)
        if node.op in MAC_OPS and not behind:
            first.add(node.name)
        if behind or node.op in MAC_OPS:
            after.add(node.output)
    return frozenset(first)


def last_layers(graph: Graph) -> frozenset[str]:
    """Names of the layers with no layer behind them."""
    before: set[str] = set()
    last: set[str] = set()
    for node in reversed(graph.nodes):
        ahead = node.output in before
        if node.op in MAC_OPS and not ahead:
            last.add(node.name)
        if ahead or node.op in MAC_OPS:
            before.update(node.inputs)
    return frozenset(last)


def is_downsample(graph: Graph, node: Node) -> bool:
    """True for the 1x1 convolution on a shortcut: an add takes its result, its input has other readers.

    A layer that repairs were made for (`mended`) has a shortcut round it and is none.
    """
    if node.op != "conv" or set(node.ints("kernel", 2, 1)) != {1} or node.attributes.get("mended"):
        return False
    tensor = node.output
    while (uses := graph.consumers(tensor)) and len(uses) == 1 and graph.is_fused(uses[0][0]):
        tensor = uses[0][0].output
    if not any(graph.is_residual_add(consumer) for consumer, _ in graph.consumers(tensor)):
        return False
    source = node.inputs[0]
    producer = graph.producer(source)
    while producer is not None and producer.op in ("avg_pool", "max_pool", "slice", "pad"):
        source = producer.inputs[0]
        producer = graph.producer(source)
    return len(graph.consumers(source)) > 1
