"""Small graphs drawn by hand: the blocks of training.md section 2, for rooms that load no torch."""

from bitjoule.workload import Graph, Node, Tensor

__all__ = ["ALL", "GraphBuilder", "inverted_residual", "resnet_block", "vgg"]


class GraphBuilder:
    """Adds operators one after another and keeps the shapes."""

    def __init__(self, name: str, shape: tuple[int, ...]) -> None:
        self.name = name
        self.tensors = {"image": Tensor("image", shape)}
        self.nodes: list[Node] = []

    def put(self, node: Node, shape: tuple[int, ...]) -> str:
        self.nodes.append(node)
        self.tensors[node.output] = Tensor(node.output, shape)
        return node.output

    def conv(
        self,
        name: str,
        source: str,
        k: int,
        size: int = 3,
        stride: int = 1,
        groups: int = 1,
        bias: bool = False,
    ) -> str:
        _, c, h, w = self.tensors[source].shape
        pad = size // 2
        p, q = (h + 2 * pad - size) // stride + 1, (w + 2 * pad - size) // stride + 1
        parameters = {"weight": (k, c // groups, size, size)} | ({"bias": (k,)} if bias else {})
        attributes = {
            "kernel": (size, size), "stride": (stride, stride), "padding": (pad,) * 4, "dilation": (1, 1),
            "groups": groups, "in_channels": c, "out_channels": k, "transposed": False,
        }  # fmt: skip
        return self.put(Node(name, "conv", (source,), name, attributes, parameters, name), (1, k, p, q))

    def same(self, name: str, op: str, *sources: str) -> str:
        shape = self.tensors[sources[0]].shape
        parameters = {"weight": (shape[1],), "bias": (shape[1],)} if op == "batch_norm" else {}
        return self.put(Node(name, op, sources, name, {}, parameters, name), shape)

    def max_pool(self, name: str, source: str) -> str:
        n, c, h, w = self.tensors[source].shape
        return self.put(
            Node(name, "max_pool", (source,), name, {"kernel": (2, 2), "stride": (2, 2)}),
            (n, c, h // 2, w // 2),
        )

    def pool(self, name: str, source: str) -> str:
        n, c, *_ = self.tensors[source].shape
        return self.put(Node(name, "global_avg_pool", (source,), name), (n, c, 1, 1))

    def flatten(self, name: str, source: str) -> str:
        n, *rest = self.tensors[source].shape
        size = 1
        for extent in rest:
            size *= extent
        return self.put(Node(name, "flatten", (source,), name, {"start_dim": 1}), (n, size))

    def linear(self, name: str, source: str, features: int) -> str:
        n, c = self.tensors[source].shape
        attributes = {"in_features": c, "out_features": features}
        return self.put(
            Node(name, "linear", (source,), name, attributes, {"weight": (features, c)}, name), (n, features)
        )

    def graph(self, *outputs: str) -> Graph:
        return Graph(self.name, ("image",), outputs, tuple(self.nodes), self.tensors)


def vgg(filters: tuple[int, ...] = (8, 16), size: int = 8) -> Graph:
    """conv-BN-ReLU-maxpool per entry, then a linear classifier."""
    b = GraphBuilder("vgg", (1, 3, size, size))
    x = "image"
    for index, k in enumerate(filters):
        x = b.conv(f"conv{index}", x, k, bias=True)
        x = b.same(f"relu{index}", "relu", b.same(f"bn{index}", "batch_norm", x))
        x = b.max_pool(f"pool{index}", x)
    return b.graph(b.linear("classifier", b.flatten("flatten", x), 10))


def resnet_block(*, downsample: bool = False) -> Graph:
    """Stem, one basic block (optionally with stride and a 1x1 convolution on the shortcut), pool, linear."""
    b = GraphBuilder("resnet", (1, 3, 8, 8))
    x = b.same("relu", "relu", b.same("bn1", "batch_norm", b.conv("conv1", "image", 16)))
    stride, width = (2, 32) if downsample else (1, 16)
    y = b.conv("block.conv1", x, width, stride=stride)
    y = b.same("block.relu1", "relu", b.same("block.bn1", "batch_norm", y))
    y = b.same("block.bn2", "batch_norm", b.conv("block.conv2", y, width))
    if downsample:
        x = b.conv("block.shortcut.0", x, width, size=1, stride=2)
        x = b.same("block.shortcut.1", "batch_norm", x)
    x = b.same("block.relu2", "relu", b.same("block.add", "add", y, x))
    return b.graph(b.linear("linear", b.flatten("flatten", b.pool("pool", x)), 10))


def inverted_residual() -> Graph:
    """Stem, two MobileNetV2 blocks of which the second has a shortcut, pool, linear."""
    b = GraphBuilder("mobilenet", (1, 3, 8, 8))
    x = b.same("relu", "relu6", b.same("bn", "batch_norm", b.conv("conv", "image", 8)))
    for index in (0, 1):
        y = b.same(
            f"b{index}.r1",
            "relu6",
            b.same(f"b{index}.n1", "batch_norm", b.conv(f"b{index}.expand", x, 48, size=1)),
        )
        y = b.same(
            f"b{index}.r2",
            "relu6",
            b.same(f"b{index}.n2", "batch_norm", b.conv(f"b{index}.depthwise", y, 48, groups=48)),
        )
        y = b.same(f"b{index}.n3", "batch_norm", b.conv(f"b{index}.project", y, 8, size=1))
        x = b.same(f"b{index}.add", "add", x, y) if index else y
    x = b.same("head.relu", "relu6", b.conv("head", x, 32, size=1))
    return b.graph(b.linear("linear", b.flatten("flatten", b.pool("pool", x)), 10))


def dropout_classifier() -> Graph:
    """conv-ReLU-dropout-conv-ReLU, global pool, flatten, dropout, linear: no-ops wherever they stand."""
    b = GraphBuilder("dropout", (1, 3, 8, 8))
    x = b.same("drop0", "dropout", b.same("relu0", "relu", b.conv("conv0", "image", 8)))
    x = b.same("relu1", "relu", b.same("drop1", "dropout", b.conv("conv1", x, 8)))
    x = b.same("drop2", "dropout", b.flatten("flatten", b.pool("pool", x)))
    return b.graph(b.linear("linear", x, 10))


def concatenated() -> Graph:
    """Two branches joined by concat, read by a convolution (Inception, DenseNet)."""
    b = GraphBuilder("concat", (1, 3, 8, 8))
    x = b.same("relu", "relu", b.conv("conv", "image", 8))
    left = b.same("left.relu", "relu", b.conv("left", x, 8))
    right = b.same("right.relu", "relu", b.conv("right", x, 8))
    cat = b.put(Node("cat", "concat", (left, right), "cat", {"dim": 1}), (1, 16, 8, 8))
    x = b.same("joined.relu", "relu", b.conv("joined", cat, 8))
    return b.graph(b.linear("linear", b.flatten("flatten", b.pool("pool", x)), 10))


def preactivation() -> Graph:
    """BN-ReLU-conv blocks with a shortcut (ResNet v2)."""
    b = GraphBuilder("preactivation", (1, 3, 8, 8))
    x = b.conv("conv", "image", 8)
    for index in range(2):
        y = b.same(f"b{index}.relu1", "relu", b.same(f"b{index}.bn1", "batch_norm", x))
        y = b.conv(f"b{index}.conv1", y, 8)
        y = b.same(f"b{index}.relu2", "relu", b.same(f"b{index}.bn2", "batch_norm", y))
        x = b.same(f"b{index}.add", "add", x, b.conv(f"b{index}.conv2", y, 8))
    x = b.same("relu", "relu", b.same("bn", "batch_norm", x))
    return b.graph(b.linear("linear", b.flatten("flatten", b.pool("pool", x)), 10))


def normalized_image() -> Graph:
    """(image - mean) / std inside the network, pooled before batch norm (XNOR-Net order)."""
    b = GraphBuilder("normalized", (1, 3, 8, 8))
    mean = b.put(Node("mean", "constant", (), "mean"), (3, 1, 1))
    x = b.same("sub", "sub", "image", mean)
    x = b.put(Node("div", "div", (x,), "div", {"value": 0.5}), (1, 3, 8, 8))
    x = b.max_pool("pool0", b.conv("conv0", x, 8))
    x = b.same("relu0", "relu", b.same("bn0", "batch_norm", x))
    x = b.same("relu1", "relu", b.conv("conv1", x, 8))
    return b.graph(b.linear("linear", b.flatten("flatten", x), 10))


def two_heads() -> Graph:
    """The sum of two classifiers, and a feature map, are the outputs."""
    b = GraphBuilder("heads", (1, 3, 8, 8))
    x = b.same("relu", "relu", b.conv("conv", "image", 8))
    x = b.same("relu1", "relu", b.conv("body", x, 8))
    flat = b.flatten("flatten", b.pool("pool", x))
    logits = b.same("sum", "add", b.linear("head0", flat, 10), b.linear("head1", flat, 10))
    return b.graph(logits, x)


def image_shortcut() -> Graph:
    """The image itself is an operand of an add."""
    b = GraphBuilder("image", (1, 3, 8, 8))
    x = b.same("add", "add", b.conv("conv", "image", 3), "image")
    return b.graph(b.linear("linear", b.flatten("flatten", x), 10))


ALL = {
    graph.name + str(index): graph
    for index, graph in enumerate(
        (
            vgg(), resnet_block(), resnet_block(downsample=True), inverted_residual(), dropout_classifier(),
            concatenated(), preactivation(), normalized_image(), two_heads(), image_shortcut(),
        )
    )
}  # fmt: skip
