"""What is computed: the graph of a network, its layers, and which Format every edge has."""

from bitjoule.workload.assign import Assignment, Edge, QuantPoint, assign
from bitjoule.workload.graph import Graph, GraphError, Node, Tensor
from bitjoule.workload.layer import Layer, layer_of
from bitjoule.workload.onnx_graph import from_onnx, graph_from_onnx
from bitjoule.workload.workload import Operation, StoredTensor, Workload, workload_of

__all__ = [
    "Assignment",
    "Edge",
    "Graph",
    "GraphError",
    "Layer",
    "Node",
    "Operation",
    "QuantPoint",
    "StoredTensor",
    "Tensor",
    "Workload",
    "assign",
    "from_onnx",
    "graph_from_onnx",
    "layer_of",
    "workload_of",
]
