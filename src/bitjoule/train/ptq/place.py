"""Quantizers with fixed scales on every weight and edge of a folded network, before their scales are known.

Signed integer activations of few bits get a zero-point, and layers without a bias get one of zeros where bias
correction will need it.
"""

from __future__ import annotations

import dataclasses
import warnings

import torch
from torch import nn

from bitjoule.formats import TensorFormat
from bitjoule.network import Network, insert_quantizers
from bitjoule.network.graph_writer import MARK
from bitjoule.quant import FakeQuantizer, QuantizerConfig, make_activation_quantizer, make_weight_quantizer
from bitjoule.quant.calibration import activation_format
from bitjoule.quant.choose import METHODS, natural_method
from bitjoule.quant.config import Role
from bitjoule.quant.grouped import GroupedQuantizer
from bitjoule.quant.pruning import insert_masks
from bitjoule.scheme import Scheme
from bitjoule.train.ptq.config import PtqError, PtqWarning
from bitjoule.workload import Assignment, assign
from bitjoule.workload.graph import Node
from bitjoule.workload.sparsity import sparse_layers

__all__ = ["frozen_config", "is_frozen", "placed", "with_biases"]


def placed(
    net: Network, scheme: Scheme, *, asymmetric_below_bits: int, image_signed: bool, per_tensor: bool = False
) -> Network:
    """A new Network that reads every weight and activation through a quantizer of scale 1.

    Weights that the scheme prunes pass a mask of their N greatest magnitudes first.

    Raises:
        PtqError: a Format that no quantizer can hold fixed; pruned weights with scales in groups.
    """
    assignment = _asymmetric(assign(net.graph, scheme, image_signed=image_signed), asymmetric_below_bits)
    if per_tensor:
        weights = {n: _whole(tf) for n, tf in assignment.weights.items()}
        assignment = dataclasses.replace(assignment, weights=weights)
    sparse = sparse_layers(net.graph, scheme) if scheme.prune is not None else None
    for name in sparse.pruned if sparse is not None else ():
        if assignment.weights[name].scaling.granularity == "group":
            raise PtqError(
                f"ptq: {name}: N:M pruning does not know scales in groups ({assignment.weights[name]}); give "
                "it weights with a scale per channel, or drop prune"
            )
    narrow = [name for name, tf in assignment.weights.items() if tf.format.bits == 1]
    narrow += [point.name for point in assignment.points if point.format.format.bits == 1]
    if narrow:
        warnings.warn(
            f"ptq: {len(narrow)} tensors of {net.name} have 1 bit (first: {narrow[0]}); expect near-chance "
            "accuracy without training",
            PtqWarning,
            stacklevel=3,
        )

    def weight(node: Node, tensor_format: TensorFormat) -> nn.Module:
        return make_weight_quantizer(node, tensor_format, frozen_config(tensor_format, "weight", node.name))

    quantized = insert_quantizers(
        net,
        assignment,
        weight,
        lambda point: make_activation_quantizer(point, frozen_config(point.format, "activation", point.name)),
    )
    if sparse is not None:
        quantized = insert_masks(quantized, sparse)
    return quantized.eval()


def frozen_config(tensor_format: TensorFormat, role: Role, name: str) -> QuantizerConfig:
    """The method that holds a Format at a scale given from outside, or the Format's own."""
    held = METHODS["ste"].accepts(tensor_format, role) or GroupedQuantizer.accepts(tensor_format, role)
    if held and tensor_format.format.fixed_scale is None:
        return QuantizerConfig("ste", range="fixed", scale=1.0)
    try:
        return QuantizerConfig(natural_method(tensor_format, role))
    except ValueError as error:
        raise PtqError(f"ptq: {name}: {tensor_format} cannot be quantized after training: {error}") from None


def is_frozen(quantizer: FakeQuantizer) -> bool:
    """Whether the scale of `quantizer` is given from outside."""
    return quantizer.method == "ste"


def _whole(tf: TensorFormat) -> TensorFormat:
    if tf.scaling.granularity == "tensor":
        return tf
    return TensorFormat(tf.format, dataclasses.replace(tf.scaling, granularity="tensor", group_size=0))


def _asymmetric(assignment: Assignment, below_bits: int) -> Assignment:
    """`assignment` with a zero-point on every signed integer activation of fewer bits."""

    def changed(tf: TensorFormat | None) -> TensorFormat | None:
        if tf is None or not tf.format.signed:
            return tf
        return activation_format(tf, -1.0, below_bits)

    def of(tf: TensorFormat) -> TensorFormat:
        return changed(tf) or tf

    return dataclasses.replace(
        assignment,
        stored={name: changed(tf) for name, tf in assignment.stored.items()},
        reads={use: changed(tf) for use, tf in assignment.reads.items()},
        points=tuple(dataclasses.replace(point, format=of(point.format)) for point in assignment.points),
    )


def with_biases(net: Network) -> Network:
    """A new Network whose convolutions and linear modules all have a bias; new ones are zero.

    Functional calls, and modules called more than once, stay as they are.

    >>> from bitjoule.network import capture
    >>> net = capture(nn.Sequential(nn.Linear(4, 2, bias=False)), input_shape=(1, 4))
    >>> with_biases(net).graph.nodes[0].parameters["bias"]
    (2,)
    """
    clone = net.clone()
    marked = {node.meta[MARK]: node for node in clone.module.graph.nodes if MARK in node.meta}
    nodes = []
    for node in net.graph.nodes:
        call = marked.get(node.name)
        bare = node.op in ("conv", "linear") and "bias" not in node.parameters
        if bare and call is not None and call.op == "call_module":
            module = clone.module.get_submodule(str(call.target))
            size = int(_out_channels(node))
            if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear):
                like = module.weight
                zeros = torch.zeros(size, dtype=like.dtype, device=like.device)
                module.bias = nn.Parameter(zeros, requires_grad=like.requires_grad)
                node = dataclasses.replace(node, parameters={**node.parameters, "bias": (size,)})
        nodes.append(node)
    graph = dataclasses.replace(net.graph, nodes=tuple(nodes))
    return Network(graph, clone.module, notes=net.notes)


def _out_channels(node: Node) -> int:
    key = "out_channels" if node.op == "conv" else "out_features"
    return node.ints(key, 1)[0]
