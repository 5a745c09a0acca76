"""Where a binary layer begins and ends in a Graph: what it reads, its result, its shortcut."""

from __future__ import annotations

from bitjoule.scheme import Scheme
from bitjoule.workload.assign import layer_precisions
from bitjoule.workload.graph import MAC_OPS, TRANSPARENT, Graph, Node
from bitjoule.workload.repairs.edit import Edit

__all__ = [
    "behind_norm",
    "behind_scale",
    "behind_shortcut",
    "binary_layers",
    "channel_shape",
    "entry",
    "has_shift",
    "is_residual_add",
    "norm_of",
    "source",
    "traced",
]


def binary_layers(graph: Graph, scheme: Scheme, *, inputs: bool = True) -> tuple[str, ...]:
    """Convolutions and linear layers in running order whose weights and, with `inputs`, input have one bit
    under `scheme`.
    """
    precisions = layer_precisions(graph, scheme)
    return tuple(
        node.name
        for node in graph.mac_nodes()
        if "weight" in node.parameters
        and not node.attributes.get("transposed")
        and len(graph.tensors[node.output].shape) in (2, 4)
        and precisions[node.name].weight_bits == 1
        and (precisions[node.name].activation_bits == 1 or not inputs)
    )


def channel_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of one value per channel of a tensor: (1, C) or (1, C, 1, 1)."""
    return (1, shape[1], *(1 for _ in shape[2:]))


def is_residual_add(edit: Edit, node: Node | None) -> bool:
    """An add of two activations."""
    return node is not None and node.op == "add" and len(edit.operands(node)) > 1


def entry(edit: Edit, layer: str) -> str:
    """The node that begins a layer: a padding of its own before it, else the layer."""
    node = edit.producer(edit.nodes[layer].inputs[0])
    pads = node.attributes.get("pads") if node is not None and node.op == "pad" else None
    alone = node is not None and edit.only_reader(node.output) is not None
    return node.name if node is not None and alone and isinstance(pads, tuple) and len(pads) == 4 else layer


def source(edit: Edit, layer: str) -> str:
    """The tensor a binary layer reads, before its padding and what repairs, or the network itself (RSign of
    ReActNet), put before its sign.
    """
    tensor = edit.nodes[entry(edit, layer)].inputs[0]
    node = edit.producer(tensor)
    while node is not None and (node.attributes.get("before_sign") or _shifts_for_one(edit, node)):
        tensor = edit.operands(node)[0]
        node = edit.producer(tensor)
    return tensor


def has_shift(edit: Edit, layer: str) -> bool:
    """Whether a learned shift of its own stands before the sign of a layer."""
    node = edit.producer(edit.nodes[entry(edit, layer)].inputs[0])
    return node is not None and _shifts_for_one(edit, node)


def _shifts_for_one(edit: Edit, node: Node) -> bool:
    """Whether a node adds constants to a tensor for one reader, while others read the tensor as it is: a
    shift that is part of that reader's sign.
    """
    operands = edit.operands(node)
    return (
        node.op in ("add", "sub")
        and len(operands) == 1
        and len(node.inputs) == 2
        and edit.only_reader(node.output) is not None
        and edit.only_reader(operands[0]) is None
    )


def behind_norm(edit: Edit, layer: str) -> str:
    """The result of a layer behind its scale, its gate and its batch norm."""
    tensor = behind_scale(edit, layer)
    norm = norm_of(edit, tensor)
    return tensor if norm is None else norm.output


def behind_scale(edit: Edit, layer: str) -> str:
    """The result of a layer behind the scales and gates that repairs put on it."""
    tensor = edit.nodes[layer].output
    node = edit.only_reader(tensor)
    while node is not None and node.attributes.get("behind_conv") and node.inputs[0] == tensor:
        tensor = node.output
        node = edit.only_reader(tensor)
    return tensor


def norm_of(edit: Edit, tensor: str) -> Node | None:
    """The batch norm of a result: its only reader, unless that norm belongs to the next sign."""
    node = edit.only_reader(tensor)
    return node if node and node.op == "batch_norm" and not node.attributes.get("before_sign") else None


def behind_shortcut(edit: Edit, layer: str) -> str:
    """The result of a layer behind the residual add that takes it, if one does."""
    tensor = behind_norm(edit, layer)
    node = edit.only_reader(tensor)
    return node.output if node is not None and is_residual_add(edit, node) else tensor


def traced(edit: Edit, tensor: str, binary: frozenset[str]) -> list[str]:
    """The tensors from which `tensor` comes on a straight way that no binary layer and no add cuts."""
    way = [tensor]
    node = edit.producer(tensor)
    while node is not None and node.name not in binary and len(edit.operands(node)) == 1:
        if node.op not in MAC_OPS | TRANSPARENT | {"batch_norm", "avg_pool", "identity"}:
            break
        way.append(edit.operands(node)[0])
        node = edit.producer(way[-1])
    return way
