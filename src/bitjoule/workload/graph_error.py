"""The one error of the workload room: a graph, layer or document that contradicts itself."""

__all__ = ["GraphError"]


class GraphError(ValueError):
    """A graph that contradicts itself; the text names the node and the tensor."""
