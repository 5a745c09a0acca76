"""ONNX files made by hand: counts and edges equal those of the drawn graphs."""

import math
from pathlib import Path

import pytest

from bitjoule.workload import GraphError, workload_of
from bitjoule.workload.onnx_graph import from_onnx, graph_from_onnx

onnx = pytest.importorskip("onnx", reason="the extra onnx is not installed")


def save(
    path: Path, nodes: list, weights: dict[str, tuple[int, ...]], shape: list, outputs: list[str]
) -> Path:
    helper, tensor = onnx.helper, onnx.TensorProto
    graph = helper.make_graph(
        nodes,
        path.stem,
        [helper.make_tensor_value_info("image", tensor.FLOAT, shape)],
        [helper.make_tensor_value_info(name, tensor.FLOAT, None) for name in outputs],
        [
            helper.make_tensor(name, tensor.FLOAT, dims, b"\0" * 4 * math.prod(dims), raw=True)
            for name, dims in weights.items()
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    return path


@pytest.fixture
def residual(tmp_path: Path) -> Path:
    make = onnx.helper.make_node
    nodes = [
        make("Conv", ["image", "w1", "b1"], ["c1"], "conv1", pads=[1, 1, 1, 1], strides=[2, 2]),
        make("Relu", ["c1"], ["r1"], "relu1"),
        make("Conv", ["r1", "w2"], ["c2"], "depthwise", pads=[1, 1, 1, 1], group=8),
        make("BatchNormalization", ["c2", "g", "g", "g", "g"], ["n2"], "bn2"),
        make("Add", ["n2", "r1"], ["a"], "add"),
        make("Clip", ["a"], ["r2"], "relu6"),
        make("GlobalAveragePool", ["r2"], ["p"], "pool"),
        make("Flatten", ["p"], ["f"], "flatten"),
        make("Gemm", ["f", "w3", "b3"], ["logits"], "fc", transB=1),
    ]
    weights = {"w1": (8, 3, 3, 3), "b1": (8,), "w2": (8, 1, 3, 3), "g": (8,), "w3": (10, 8), "b3": (10,)}
    return save(tmp_path / "net.onnx", nodes, weights, ["batch", 3, 8, 8], ["logits"])


def test_counts(residual: Path) -> None:
    workload = from_onnx(residual, "w4a4")
    assert [layer.name for layer in workload.layers] == ["conv1", "depthwise", "fc"]
    assert [layer.macs for layer in workload.layers] == [8 * 27 * 16, 8 * 9 * 16, 80]
    assert (workload.weight_elements, workload.bias_elements) == (216 + 72 + 80, 18)
    assert workload.layer("depthwise").is_depthwise
    assert workload.layer("depthwise").inputs == ("r1",)
    assert workload.layer("depthwise").output == "r2"
    assert str(workload.layer("fc").input_format) == "UINT8"


def test_graph_is_the_same_as_any_other(residual: Path) -> None:
    graph = graph_from_onnx(residual)
    assert graph.inputs == ("image",)
    assert graph.tensors["image"].shape == (1, 3, 8, 8)
    assert workload_of(graph, "w4a4") == from_onnx(residual, "w4a4")


def test_unsupported_operators_are_reported_together(tmp_path: Path) -> None:
    make = onnx.helper.make_node
    nodes = [
        make("Conv", ["image", "w"], ["c"], "conv"),
        make("Erf", ["c"], ["e"], "erf"),
        make("Abs", ["c"], ["x"], "abs"),
    ]
    path = save(tmp_path / "odd.onnx", nodes, {"w": (4, 3, 1, 1)}, [1, 3, 4, 4], ["e", "x"])
    with pytest.raises(GraphError) as caught:
        graph_from_onnx(path)
    assert str(caught.value) == "odd.onnx: 2 operators cannot be counted: erf (Erf), abs (Abs)"


def test_bad_files(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match="no ONNX file"):
        graph_from_onnx(tmp_path / "missing.onnx")
    (tmp_path / "text.onnx").write_text("hello, this is no model")
    with pytest.raises(GraphError, match=r"text\.onnx: not an ONNX model"):
        graph_from_onnx(tmp_path / "text.onnx")
