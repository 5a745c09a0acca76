"""Formats on edges: the drawings of training.md section 2, as edge lists."""

import pytest

from bitjoule.scheme import SchemeError, parse_scheme
from bitjoule.workload import Graph, assign
from tests.graphs import inverted_residual, resnet_block, vgg

SCHEMES = ("w4a4", "hpr-w4a4", "int8", "w1a1", "moons-4", "fp16", "float32", "w4a4[preadd=b]", "w2a8")
GRAPHS = {
    "vgg": vgg(),
    "block": resnet_block(),
    "downsample": resnet_block(downsample=True),
    "inverted": inverted_residual(),
}


def edges(graph: Graph, scheme: str) -> dict[tuple[str, str], str]:
    return {(edge.tensor, edge.consumer): edge.format for edge in assign(graph, parse_scheme(scheme)).edges()}


def test_resnet_block_in_sp() -> None:
    """x:UINT4 -> conv1 -> BN -> ReLU -> [UINT4] -> conv2 -> BN -> acc -> (+) -> ReLU -> [UINT4]."""
    assert edges(resnet_block(), "w4a4") == {
        ("image", "conv1"): "INT8",
        ("conv1", "bn1"): "acc",
        ("bn1", "relu"): "acc",
        ("relu", "block.conv1"): "UINT4",
        ("block.conv1", "block.bn1"): "acc",
        ("block.bn1", "block.relu1"): "acc",
        ("block.relu1", "block.conv2"): "UINT4",
        ("block.conv2", "block.bn2"): "acc",
        ("block.bn2", "block.add"): "acc",
        ("relu", "block.add"): "UINT4",
        ("block.add", "block.relu2"): "acc",
        ("block.relu2", "pool"): "UINT4",
        ("pool", "flatten"): "UINT8",
        ("flatten", "linear"): "UINT8",
        ("linear", "output"): "acc",
    }


def test_resnet_block_in_hpr() -> None:
    """x:INT16 -> [UINT4] -> conv1 ...-> conv2 -> BN -> [INT16] -> (+) -> ReLU -> [INT16]."""
    found = edges(resnet_block(), "hpr-w4a4")
    assert found["relu", "block.conv1"] == "UINT4"
    assert found["relu", "block.add"] == "INT16"
    assert found["block.relu1", "block.conv2"] == "UINT4"
    assert found["block.bn2", "block.add"] == "INT16"
    assert found["block.relu2", "pool"] == "INT16"
    points = {point.name: point for point in assign(resnet_block(), parse_scheme("hpr-w4a4")).points}
    assert points["relu@UINT4"].readers == (("block.conv1", 0),)
    assert points["relu"].kind == "stored"
    assert str(points["relu"].format) == "INT16"


def test_a_shortcut_with_a_convolution() -> None:
    """One operand of the add is stored: the shortcut's; the main path stays in the accumulator."""
    found = edges(resnet_block(downsample=True), "w4a4")
    assert found["block.bn2", "block.add"] == "acc"
    assert found["block.shortcut.1", "block.add"] == "INT4"
    assert found["relu", "block.shortcut.0"] == "UINT4"
    high = edges(resnet_block(downsample=True), "hpr-w4a4")
    assert high["block.shortcut.1", "block.add"] == high["block.bn2", "block.add"] == "INT16"
    assert edges(resnet_block(downsample=True), "w4a4[preadd=b]")["block.bn2", "block.add"] == "INT4"


def test_inverted_residuals() -> None:
    sp, hpr = edges(inverted_residual(), "w4a4"), edges(inverted_residual(), "hpr-w4a4")
    assert sp["b0.n3", "b1.expand"] == sp["b0.n3", "b1.add"] == "INT4"
    assert sp["b1.r1", "b1.depthwise"] == sp["b1.r2", "b1.project"] == "UINT4"
    assert sp["b1.n3", "b1.add"] == "acc"
    assert (hpr["b0.n3", "b1.expand"], hpr["b0.n3", "b1.add"], hpr["b1.n3", "b1.add"]) == (
        "INT4",
        "INT16",
        "INT16",
    )
    assert hpr["b1.add", "head"] == "INT4"
    assert hpr["relu", "b0.expand"] == "UINT4"


def test_first_and_last_layer() -> None:
    graph = vgg()
    found = assign(graph, parse_scheme("w2a2"))
    weights = {layer: str(format_) for layer, format_ in found.weights.items()}
    assert weights == {
        "conv0": "INT8_NARROW/channel",
        "conv1": "INT2_NARROW/channel",
        "classifier": "INT8_NARROW/channel",
    }
    assert edges(graph, "w2a2")["pool1", "flatten"] == "UINT8"
    same = assign(graph, parse_scheme("w2a2[first=same,last=same]"))
    assert str(same.weights["conv0"]) == "INT2_NARROW/channel"
    assert edges(graph, "w2a2[last=same]")["pool1", "flatten"] == "UINT2"


def test_max_pool_comes_after_the_quantizer() -> None:
    points = assign(vgg(), parse_scheme("w4a4")).points
    assert [point.tensor for point in points] == ["image", "relu0", "relu1"]
    assert edges(vgg(), "w4a4")["relu0", "pool0"] == edges(vgg(), "w4a4")["pool0", "conv1"] == "UINT4"


def test_moons_formats_and_image() -> None:
    found = edges(vgg(), "moons-4")
    assert found["image", "conv0"] == "INT8"
    assert found["pool0", "conv1"] == found["flatten", "classifier"] == "MOONS4_RELU"
    assert {str(f) for f in assign(vgg(), parse_scheme("moons-4")).weights.values()} == {"MOONS4"}


@pytest.mark.parametrize("scheme", ["w1a1", "moons-1", "hpr-w1a1"])
def test_one_bit_quantizers_absorb_the_relu_before_them(scheme: str) -> None:
    graph = resnet_block()
    absorbed = assign(graph, parse_scheme(scheme)).absorbed
    assert {"relu", "block.relu1"} <= absorbed
    assert not assign(graph, parse_scheme("w2a2")).absorbed


def test_binary_networks_keep_the_downsample_at_8_bits() -> None:
    graph = resnet_block(downsample=True)
    weights = assign(graph, parse_scheme("w1a1")).weights
    assert str(weights["block.shortcut.0"]) == "INT8_NARROW/channel"
    assert str(weights["block.conv2"]) == "BIPOLAR/channel"
    assert (
        str(assign(graph, parse_scheme("w1a1[downsample=same]")).weights["block.shortcut.0"])
        == "BIPOLAR/channel"
    )
    projection = assign(inverted_residual(), parse_scheme("w1a1")).weights["b1.project"]
    assert str(projection) == "BIPOLAR/channel"


def test_overrides() -> None:
    found = assign(vgg(), parse_scheme("w4a4{conv1:w2a6}"))
    assert str(found.weights["conv1"]) == "INT2_NARROW/channel"
    assert str(found.stored["relu0"]) == "UINT6"
    with pytest.raises(SchemeError) as caught:
        assign(vgg(), parse_scheme("w4a4{cnv1:w8a8}"))
    assert (
        str(caught.value)
        == "scheme 'w4a4{cnv1:w8a8}': override 'cnv1' matches no layer; did you mean 'conv1'?"
    )


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("name", GRAPHS)
def test_laws(name: str, scheme: str) -> None:
    """Every edge has an entry; no layer reads an accumulator; readers agree with points; SP stores b bits."""
    graph = GRAPHS[name]
    found = assign(graph, parse_scheme(scheme))
    assert set(found.stored) == set(graph.tensors)
    assert set(found.reads) == {(node.name, i) for node in graph.nodes for i in range(len(node.inputs))}
    for layer in graph.mac_nodes():
        assert found.reads[layer.name, 0] is not None
        assert layer.name in found.weights
    for point in found.points:
        assert point.readers
        assert point.tensor not in found.internal
        assert all(graph.node(reader).inputs[operand] == point.tensor for reader, operand in point.readers)
    assert len({point.name for point in found.points}) == len(found.points)
    if scheme == "float32":
        assert found.points == ()
    adds = [node for node in graph.nodes if node.op == "add"]
    for node in adds:
        kinds = [found.reads[node.name, operand] is None for operand in range(2)]
        assert sum(kinds) == (0 if "hpr" in scheme or "preadd=b" in scheme else 1)


def test_hpr_without_adds_is_sp() -> None:
    assert edges(vgg(), "hpr-w4a4") == edges(vgg(), "w4a4")
