"""Formats on edges: the drawings of training.md section 2, as edge lists."""

import pytest

from bitjoule.scheme import SchemeError, parse_scheme
from bitjoule.workload import Graph, assign
from bitjoule.workload.graph import NO_OPS, TRANSPARENT
from tests.graphs import (
    ALL,
    concatenated,
    dropout_classifier,
    image_shortcut,
    inverted_residual,
    normalized_image,
    preactivation,
    resnet_block,
    two_heads,
    vgg,
)

SCHEMES = ("w4a4", "hpr-w4a4", "int8", "w1a1", "moons-4", "fp16", "float32", "w4a4[preadd=b]", "w2a8")


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
@pytest.mark.parametrize("name", ALL)
def test_laws(name: str, scheme: str) -> None:
    """Every edge has an entry; layers read Formats; what is read is what is stored, or a read point's."""
    graph = ALL[name]
    found = assign(graph, parse_scheme(scheme))
    assert set(found.stored) == set(graph.tensors)
    assert set(found.reads) == {(node.name, i) for node in graph.nodes for i in range(len(node.inputs))}
    read_points = {
        reader: point.format for point in found.points if point.kind == "read" for reader in point.readers
    }
    stored_points = {point.tensor for point in found.points if point.kind != "read"}
    for layer in graph.mac_nodes():
        assert found.reads[layer.name, 0] is not None
        assert layer.name in found.weights
    for (reader, operand), own in found.reads.items():
        stored = found.stored[graph.node(reader).inputs[operand]]
        assert own == stored or own == read_points[reader, operand] or scheme == "float32"
    for point in found.points:
        assert point.readers
        assert point.tensor not in found.internal
        assert all(graph.node(reader).inputs[operand] == point.tensor for reader, operand in point.readers)
    assert len({point.name for point in found.points}) == len(found.points)
    if scheme == "float32":
        assert found.points == ()
        return
    for tensor, stored in found.stored.items():
        producer = graph.producer(tensor)
        moved = producer is not None and producer.op in TRANSPARENT | NO_OPS
        assert (tensor in stored_points) == (stored is not None and not moved), tensor
    for node in graph.nodes:
        if graph.is_residual_add(node):
            from_accumulator = sum(found.reads[node.name, operand] is None for operand in range(2))
            assert from_accumulator <= (0 if "hpr" in scheme or "preadd=b" in scheme else 1)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    ("hpr", "sp"), [("hpr-fp16", "fp16"), ("hpr-float32", "float32"), ("hpr8-int8", "int8")]
)
def test_hpr_no_wider_than_the_scheme_is_sp(name: str, hpr: str, sp: str) -> None:
    assert edges(ALL[name], hpr) == edges(ALL[name], sp)


def test_no_format_begins_at_dropout() -> None:
    graph = dropout_classifier()
    found = edges(graph, "w4a4")
    assert found["conv1", "drop1"] == found["drop1", "relu1"] == "acc"
    assert found["pool", "flatten"] == found["flatten", "drop2"] == found["drop2", "linear"] == "UINT8"
    assert found["relu0", "drop0"] == found["drop0", "conv1"] == "UINT4"
    points = assign(graph, parse_scheme("w4a4")).points
    assert [point.tensor for point in points] == ["image", "relu0", "relu1", "pool"]
    assert "relu0" in assign(graph, parse_scheme("w1a1")).absorbed


def test_parts_of_a_concat_share_a_format() -> None:
    found = edges(concatenated(), "w4a4{joined:w4a6}")
    assert found["left.relu", "cat"] == found["right.relu", "cat"] == found["cat", "joined"] == "UINT6"


def test_preactivation_blocks() -> None:
    sp, hpr = edges(preactivation(), "w4a4"), edges(preactivation(), "hpr-w4a4")
    assert sp["conv", "b0.bn1"] == sp["conv", "b0.add"] == "INT4"
    assert sp["b0.conv2", "b0.add"] == "acc"
    assert sp["b0.relu1", "b0.conv1"] == hpr["b0.relu1", "b0.conv1"] == "UINT4"
    assert hpr["b0.add", "b1.bn1"] == hpr["b0.add", "b1.add"] == hpr["b0.conv2", "b0.add"] == "INT16"


def test_the_image_keeps_8_bits_whatever_reads_it_first() -> None:
    found = edges(normalized_image(), "w4a4")
    assert found["image", "sub"] == "INT8"
    assert found["mean", "sub"] == "acc"
    assert found["div", "conv0"] == "INT8"
    weights = assign(normalized_image(), parse_scheme("w4a4")).weights
    assert str(weights["conv0"]) == "INT8_NARROW/channel"
    assert edges(image_shortcut(), "hpr-w4a4")["image", "add"] == "INT8"


def test_a_pool_before_batch_norm_pools_accumulators() -> None:
    found = edges(normalized_image(), "w1a1")
    assert found["conv0", "pool0"] == found["pool0", "bn0"] == "acc"
    assert found["relu0", "conv1"] == "BIPOLAR"


def test_every_layer_without_a_layer_behind_it_is_last() -> None:
    weights = assign(two_heads(), parse_scheme("w2a2")).weights
    assert {name: str(weights[name])[:4] for name in weights} == {
        "conv": "INT8",
        "body": "INT2",
        "head0": "INT8",
        "head1": "INT8",
    }


def test_edge_layers_are_never_narrower_than_the_rest() -> None:
    weights = assign(vgg(), parse_scheme("w16a8")).weights
    assert {str(f) for f in weights.values()} == {"INT16_NARROW/channel"}
    assert str(assign(vgg(), parse_scheme("wFP8_E4M3a8")).weights["conv0"]) == "FP8_E4M3"


def test_an_override_of_equal_width_is_another_format() -> None:
    assert edges(vgg(), "w8a8{conv1:w8aFP8_E4M3}")["pool0", "conv1"] == "FP8_E4M3"


def test_hpr_without_adds_is_sp() -> None:
    assert edges(vgg(), "hpr-w4a4") == edges(vgg(), "w4a4")


@pytest.mark.parametrize(("token", "twin"), [("UAPOT4", "APOT4"), ("UPOT4_LOG", "POT4_LOG")])
def test_edges_without_a_relu_have_the_signed_twin(token: str, twin: str) -> None:
    found = edges(inverted_residual(), f"w4a{token}")
    integers = edges(inverted_residual(), "w4a4")
    swapped = {"UINT4": token, "INT4": twin}
    assert {token, twin} <= set(found.values())
    for edge, name in found.items():
        assert name == swapped.get(integers[edge], integers[edge]), edge
