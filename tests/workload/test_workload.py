"""Layers and workloads: exact counts, running order, stored tensors, JSON."""

import json

import pytest

from bitjoule.workload import Graph, GraphError, Layer, Node, Tensor, Workload, layer_of, workload_of
from tests.graphs import ALL, GraphBuilder, concatenated, inverted_residual, resnet_block, vgg


def brute_force_macs(layer: Layer) -> int:
    """One multiplication at a time."""
    count = 0
    for _n in range(layer.N):
        for _k in range(layer.K):
            for _c in range(layer.C // layer.groups):
                for _p in range(layer.P):
                    for _q in range(layer.Q):
                        for _r in range(layer.R):
                            for _s in range(layer.S):
                                count += 1
    return count


@pytest.mark.parametrize("graph", [vgg((4, 4)), resnet_block(downsample=True), inverted_residual()])
def test_macs_equal_a_loop_nest(graph: Graph) -> None:
    for node in graph.mac_nodes():
        layer = layer_of(graph, node)
        assert layer.macs == brute_force_macs(layer)
        weight = node.parameters["weight"]
        assert layer.weight_elements == Tensor("w", weight).elements
        assert layer.output_elements == graph.tensors[node.output].elements
        assert layer.input_elements == graph.tensors[node.inputs[0]].elements


def test_depthwise_is_counted_per_group() -> None:
    graph = inverted_residual()
    layer = layer_of(graph, graph.node("b0.depthwise"))
    assert layer.is_depthwise
    assert (layer.groups, layer.macs, layer.weight_elements) == (48, 48 * 9 * 64, 48 * 9)


def test_matrix_product_of_heads() -> None:
    tensors = {"q": Tensor("q", (1, 3, 5, 4)), "k": Tensor("k", (1, 3, 4, 7)), "s": Tensor("s", (1, 3, 5, 7))}
    graph = Graph("attention", ("q", "k"), ("s",), (Node("s", "matmul", ("q", "k"), "s"),), tensors)
    layer = layer_of(graph, graph.nodes[0])
    assert (layer.macs, layer.groups, layer.output_elements, layer.weight_elements) == (
        3 * 5 * 4 * 7,
        3,
        105,
        0,
    )


def test_linear_over_tokens() -> None:
    tensors = {"x": Tensor("x", (1, 65, 128)), "fc": Tensor("fc", (1, 65, 256))}
    node = Node("fc", "linear", ("x",), "fc", {}, {"weight": (256, 128), "bias": (256,)})
    layer = layer_of(Graph("tokens", ("x",), ("fc",), (node,), tensors), node)
    assert (layer.macs, layer.output_elements, layer.bias_elements) == (65 * 128 * 256, 65 * 256, 256)


def test_the_layer_with_the_fused_add_runs_after_the_shortcut() -> None:
    workload = workload_of(resnet_block(downsample=True), "w4a4")
    assert workload.order == ("conv1", "block.conv1", "block.shortcut.0", "block.conv2", "pool", "linear")
    assert workload.layer("block.conv2").inputs == ("block.relu1", "block.shortcut.1")
    assert workload.layer("block.conv2").output == "block.relu2"
    assert [layer.name for layer in workload.layers] == [s for s in workload.order if s != "pool"]


def test_an_add_of_its_own_in_hpr() -> None:
    workload = workload_of(resnet_block(), "hpr-w4a4")
    add = next(operation for operation in workload.operations if operation.kind == "add")
    assert (add.inputs, add.output, add.fused_into) == (("block.bn2", "relu"), "block.relu2", "")
    assert "block.add" in workload.order
    assert workload.tensors["block.relu2"].bits == 16


def test_stored_tensors() -> None:
    tensors = workload_of(vgg(), "w4a4").tensors
    assert {name: (t.elements, t.bits, t.role) for name, t in tensors.items()} == {
        "image": (192, 8, "input"),
        "relu0": (512, 4, "feature"),
        "pool0": (128, 4, "feature"),
        "relu1": (256, 8, "feature"),
        "pool1": (64, 8, "feature"),
        "classifier": (10, 32, "output"),
    }


@pytest.mark.parametrize(
    "scheme", ["float32", "w4a4", "hpr-w4a4", "w4a4[preadd=b]", "w1a1", "moons-4", "fp16"]
)
@pytest.mark.parametrize("name", ALL)
def test_every_step_reads_what_was_made_before(name: str, scheme: str) -> None:
    graph = ALL[name]
    workload = workload_of(graph, scheme)
    made = set(graph.inputs)
    steps = {layer.name: layer for layer in workload.layers} | {
        operation.name: operation for operation in workload.operations if not operation.fused_into
    }
    assert set(steps) == set(workload.order)
    for step in workload.order:
        assert set(steps[step].inputs) <= made, step
        made.add(steps[step].output)
    assert made == set(workload.tensors) | set(graph.inputs)
    for operation in workload.operations:
        assert set(operation.inputs) <= made
    for layer in workload.layers:
        assert layer.output_bits == workload.tensors[layer.output].bits
        main = workload.tensors[layer.inputs[0]]
        assert layer.input_bits <= main.bits


def test_what_reads_a_concat_reads_its_parts() -> None:
    workload = workload_of(concatenated(), "w4a4")
    assert workload.layer("joined").inputs == ("left.relu", "right.relu")
    assert "cat" not in workload.tensors


def test_totals() -> None:
    workload = workload_of(vgg(), "w4a4")
    assert workload.macs == 8 * 27 * 64 + 16 * 8 * 9 * 16 + 64 * 10
    assert (workload.weight_elements, workload.bias_elements) == (216 + 1152 + 640, 24)
    assert workload.weight_bits == 8 * 216 + 4 * 1152 + 8 * 640
    assert workload.output_elements == 512 + 256 + 10
    assert workload.parameters == 216 + 1152 + 640 + 24 + 2 * 24
    assert workload_of(vgg()).weight_bits == 32 * workload.weight_elements


def test_json_round_trip() -> None:
    for scheme in ("float32", "w4a4", "hpr-w4a4", "moons-4"):
        workload = workload_of(resnet_block(downsample=True), scheme)
        again = Workload.from_json(json.loads(json.dumps(workload.to_json())))
        assert again == workload
        assert again.hash == workload.hash
    graph = inverted_residual()
    assert Graph.from_json(json.loads(json.dumps(graph.to_json()))).hash == graph.hash


def test_errors() -> None:
    with pytest.raises(GraphError, match=r"schema 'bitjoule\.workload/1', not None"):
        Workload.from_json({})
    with pytest.raises(
        GraphError, match="workload 'vgg' has no layer 'conv9'; layers: conv0, conv1, classifier"
    ):
        workload_of(vgg()).layer("conv9")
    builder = GraphBuilder("empty", (1, 3, 4, 4))
    with pytest.raises(GraphError, match="graph 'empty' has no convolution"):
        workload_of(builder.graph(builder.same("relu", "relu", "image")))
    with pytest.raises(GraphError, match=r"layer 'x': K must be a positive integer, not 0"):
        Layer("x", "conv", 1, 0, 1, 1, 1, 1, 1)
    with pytest.raises(GraphError, match="groups=2 must divide K=3 and C=4"):
        Layer("x", "conv", 1, 3, 4, 1, 1, 1, 1, groups=2)
    with pytest.raises(GraphError, match="node 'fc' has unknown operator 'fft'"):
        Graph(
            "g",
            ("x",),
            ("x",),
            (Node("fc", "fft", ("x",), "y"),),
            {"x": Tensor("x", (1,)), "y": Tensor("y", (1,))},
        )
    with pytest.raises(GraphError, match="reads 'z' before anything makes it"):
        Graph(
            "g",
            ("x",),
            ("x",),
            (Node("r", "relu", ("z",), "r"),),
            {"x": Tensor("x", (1,)), "r": Tensor("r", (1,))},
        )
