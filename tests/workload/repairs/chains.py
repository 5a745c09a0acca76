"""Small graphs with binary layers under w1a1: a stem, two convolutions with batch norm, pool, classifier."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from bitjoule.workload import Graph, Node, Tensor, Workload


@dataclass(frozen=True)
class Shape:
    """C H W in, K channels out, a square kernel of odd size, a stride."""

    C: int = 8
    K: int = 8
    H: int = 6
    W: int = 4
    R: int = 3
    stride: int = 1

    @property
    def P(self) -> int:
        return -(-self.H // self.stride)

    @property
    def Q(self) -> int:
        return -(-self.W // self.stride)

    @property
    def inputs(self) -> int:
        return self.C * self.H * self.W

    @property
    def outputs(self) -> int:
        return self.K * self.P * self.Q


class Chain:
    """Appends operators one behind the other."""

    def __init__(self, channels: int, rows: int, columns: int) -> None:
        self.tensors = {"x": Tensor("x", (1, channels, rows, columns))}
        self.nodes: list[Node] = []

    def put(self, name, op, inputs, shape, attributes=None, parameters=None) -> str:  # type: ignore[no-untyped-def]
        self.nodes.append(Node(name, op, inputs, name, attributes or {}, parameters or {}, name))
        self.tensors[name] = Tensor(name, shape)
        return str(name)

    def conv(self, name: str, source: str, channels: int, kernel: int = 3, stride: int = 1) -> str:
        _, inner, rows, columns = self.tensors[source].shape
        shape = (1, channels, -(-rows // stride), -(-columns // stride))
        attributes = {
            "kernel": (kernel, kernel),
            "stride": (stride, stride),
            "dilation": (1, 1),
            "padding": (kernel // 2,) * 4,
            "groups": 1,
            "in_channels": inner,
            "out_channels": channels,
            "transposed": False,
        }
        return self.put(
            name, "conv", (source,), shape, attributes, {"weight": (channels, inner, kernel, kernel)}
        )

    def norm(self, name: str, source: str) -> str:
        shape = self.tensors[source].shape
        sizes = {"weight": (shape[1],), "bias": (shape[1],)}
        return self.put(name, "batch_norm", (source,), shape, {"features": shape[1], "eps": 1e-5}, sizes)

    def graph(self, source: str) -> Graph:
        channels = self.tensors[source].shape[1]
        pool = self.put("pool", "global_avg_pool", (source,), (1, channels), {"keepdim": False})
        sizes = {"weight": (10, channels)}
        self.put("fc", "linear", (pool,), (1, 10), {"in_features": channels, "out_features": 10}, sizes)
        return Graph("chain", ("x",), ("fc",), tuple(self.nodes), self.tensors)


def plain(shape: Shape) -> Graph:
    """stem-BN-conv-BN: `conv` is the only binary layer."""
    chain = Chain(3, shape.H, shape.W)
    read = chain.norm("bn0", chain.conv("stem", "x", shape.C))
    return chain.graph(chain.norm("bn", chain.conv("conv", read, shape.K, shape.R, shape.stride)))


def block(shape: Shape, shortcut: str = "conv") -> Graph:
    """stem-BN, then conv1-BN-conv2-BN and a shortcut: nothing, a `conv` 1x1, or a `slice` and a pad."""
    chain = Chain(3, shape.H, shape.W)
    read = chain.norm("bn0", chain.conv("stem", "x", shape.C))
    middle = chain.norm("bn1", chain.conv("conv1", read, shape.K, shape.R, shape.stride))
    end = chain.norm("bn2", chain.conv("conv2", middle, shape.K, shape.R))
    way = read
    if shortcut == "conv":
        way = chain.norm("bn3", chain.conv("short", read, shape.K, 1, shape.stride))
    elif shortcut == "slice":
        way = chain.put("slice", "slice", (read,), (1, shape.C, shape.P, shape.Q), {"dim": 2, "step": 2})
        pads = (0, 0, 0, 0, 0, shape.K - shape.C)
        way = chain.put("pad", "pad", (way,), (1, shape.K, shape.P, shape.Q), {"pads": pads, "value": 0.0})
    total = chain.put("add", "add", (end, way), chain.tensors[end].shape)
    return chain.graph(total)


def elements(workload: Workload) -> Counter[str]:
    """Elements of every kind of operation."""
    found: Counter[str] = Counter()
    for operation in workload.operations:
        found[operation.kind] += operation.elements
    return found


def added(after: Workload, before: Workload) -> dict[str, int]:
    """What `after` has more of each kind."""
    more = elements(after)
    more.subtract(elements(before))
    return {kind: count for kind, count in more.items() if count}
