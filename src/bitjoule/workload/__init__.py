"""What is computed: the graph of a network, its layers, and which Format every edge has."""

from bitjoule.workload.graph import Graph, GraphError, Node, Tensor

__all__ = ["Graph", "GraphError", "Node", "Tensor"]
