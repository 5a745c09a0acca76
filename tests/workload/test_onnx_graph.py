"""ONNX files made by hand: counts and edges equal those of the drawn graphs."""

import contextlib
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bitjoule.workload import Graph, GraphError, workload_of
from bitjoule.workload.onnx_graph import from_onnx, graph_from_onnx

onnx = pytest.importorskip("onnx", reason="the extra onnx is not installed")


Weights = dict[str, "tuple[int, ...] | np.ndarray"]


def constant(name: str, value: "tuple[int, ...] | np.ndarray") -> "onnx.TensorProto":
    array = np.zeros(value, np.float32) if isinstance(value, tuple) else value
    return onnx.numpy_helper.from_array(array, name)


def model_of(
    nodes: list, weights: Weights, shape: list, outputs: list[str], opset: int = 17
) -> "onnx.ModelProto":
    helper, tensor = onnx.helper, onnx.TensorProto
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("image", tensor.FLOAT, shape)],
        [helper.make_tensor_value_info(name, tensor.FLOAT, None) for name in outputs],
        [constant(name, value) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])


def save(path: Path, nodes: list, weights: Weights, shape: list, outputs: list[str], opset: int = 17) -> Path:
    onnx.save(model_of(nodes, weights, shape, outputs, opset), path)
    return path


def scalar(number: float) -> np.ndarray:
    return np.array(number, np.float32)


@pytest.fixture
def residual(tmp_path: Path) -> Path:
    make = onnx.helper.make_node
    nodes = [
        make("Conv", ["image", "w1", "b1"], ["c1"], "conv1", pads=[1, 1, 1, 1], strides=[2, 2]),
        make("Relu", ["c1"], ["r1"], "relu1"),
        make("Conv", ["r1", "w2"], ["c2"], "depthwise", pads=[1, 1, 1, 1], group=8),
        make("BatchNormalization", ["c2", "g", "g", "g", "g"], ["n2"], "bn2"),
        make("Add", ["n2", "r1"], ["a"], "add"),
        make("Clip", ["a", "zero", "six"], ["r2"], "relu6"),
        make("GlobalAveragePool", ["r2"], ["p"], "pool"),
        make("Flatten", ["p"], ["f"], "flatten"),
        make("Gemm", ["f", "w3", "b3"], ["logits"], "fc", transB=1),
    ]
    weights = {"w1": (8, 3, 3, 3), "b1": (8,), "w2": (8, 1, 3, 3), "g": (8,), "w3": (10, 8), "b3": (10,)}
    weights |= {"zero": scalar(0), "six": scalar(6)}
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


def test_sign_of_the_image(residual: Path) -> None:
    assert str(from_onnx(residual, "w4a4").layer("conv1").input_format) == "INT8"
    assert str(from_onnx(residual, "w4a4", image_signed=False).layer("conv1").input_format) == "UINT8"


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
    (tmp_path / "empty.onnx").write_bytes(b"")
    with pytest.raises(GraphError, match=r"empty\.onnx: not an ONNX model \(it holds no operators\)"):
        graph_from_onnx(tmp_path / "empty.onnx")


# --- Clip -----------------------------------------------------------------------------------------

CLIPS = [
    ((0, 6), "relu6", {}),
    ((0, None), "relu", {}),
    ((0, math.inf), "relu", {}),
    ((0, 3.4028234663852886e38), "relu", {}),
    ((-1, 1), "hardtanh", {}),
    ((0, 1), "relu6", {"low": 0.0, "high": 1.0}),
    ((0.5, None), "relu6", {"low": 0.5}),
    ((-2, 2), "hardtanh", {"low": -2.0, "high": 2.0}),
    ((None, 6), "hardtanh", {"high": 6.0}),
    ((-math.inf, 6), "hardtanh", {"high": 6.0}),
    ((None, None), "identity", {}),
]


@pytest.mark.parametrize("how", ["initializers", "constants", "floats", "attributes", "behind identity"])
@pytest.mark.parametrize(("bounds", "op", "attributes"), CLIPS)
def test_clip_by_its_bounds(
    how: str, bounds: tuple[float | None, ...], op: str, attributes: dict[str, float], tmp_path: Path
) -> None:
    make = onnx.helper.make_node
    nodes, weights = [make("Conv", ["image", "w"], ["c"], "conv")], {"w": (4, 3, 1, 1)}
    named = {key: bound for key, bound in zip(("min", "max"), bounds, strict=True) if bound is not None}
    if how == "attributes":
        clip = make("Clip", ["c"], ["y"], "clip", **{key: float(bound) for key, bound in named.items()})
    else:
        clip = make("Clip", ["c", *(key if key in named else "" for key in ("min", "max"))], ["y"], "clip")
        for key, bound in named.items():
            if how == "initializers":
                weights[key] = scalar(bound)
            elif how == "constants":
                nodes.append(make("Constant", [], [key], value=constant("", scalar(bound))))
            elif how == "floats":
                nodes.append(make("Constant", [], [key], value_float=float(bound)))
            else:
                weights[f"{key}0"] = scalar(bound)
                nodes.append(make("Identity", [f"{key}0"], [key]))
    path = save(
        tmp_path / "c.onnx", [*nodes, clip], weights, [1, 3, 4, 4], ["y"], 6 if how == "attributes" else 17
    )
    node = graph_from_onnx(path).node("clip")
    assert (node.op, node.attributes) == (op, attributes)


@pytest.mark.parametrize(
    ("bounds", "text"),
    [
        ((6, 0), r"c\.onnx: clip \(Clip\): min 6\.0 is above max 0\.0"),
        ((math.nan, 1), r"c\.onnx: clip \(Clip\): the bound 'lo' of Clip must be one constant number"),
    ],
)
def test_impossible_bounds(bounds: tuple[float, float], text: str, tmp_path: Path) -> None:
    clip = onnx.helper.make_node("Clip", ["image", "lo", "hi"], ["y"], "clip")
    weights = {"lo": scalar(bounds[0]), "hi": scalar(bounds[1])}
    with pytest.raises(GraphError, match=text):
        graph_from_onnx(save(tmp_path / "c.onnx", [clip], weights, [1, 4], ["y"]))


# --- the batch ------------------------------------------------------------------------------------


def classifier(batch: int | str, path: Path, target: list[int]) -> Path:
    make = onnx.helper.make_node
    nodes = [
        make("Conv", ["image", "w"], ["c"], "conv"),
        make("Reshape", ["c", "target"], ["f"], "flat"),
        make("Gemm", ["f", "v"], ["y"], "fc"),
    ]
    weights: Weights = {"w": (4, 3, 1, 1), "v": (64, 10), "target": np.array(target, np.int64)}
    return save(path, nodes, weights, [batch, 3, 4, 4], ["y"])


def test_a_fixed_batch_becomes_one(tmp_path: Path) -> None:
    one = graph_from_onnx(classifier(1, tmp_path / "a.onnx", [-1, 64]))
    (tmp_path / "b").mkdir()
    eight = graph_from_onnx(classifier(8, tmp_path / "b" / "a.onnx", [-1, 64]))
    assert one == eight
    assert eight.tensors["y"].shape == (1, 10)


@pytest.mark.parametrize("target", [[8, 64], [8, -1]])
def test_a_batch_inside_is_refused(target: list[int], tmp_path: Path) -> None:
    with pytest.raises(GraphError, match=r"^a\.onnx: .*; the batch of 8 was set to 1: export with batch 1$"):
        graph_from_onnx(classifier(8, tmp_path / "a.onnx", target))


def test_a_batch_inside_that_nothing_else_contradicts_is_refused(tmp_path: Path) -> None:
    nodes = [
        onnx.helper.make_node("Conv", ["image", "w"], ["c"], "conv"),
        onnx.helper.make_node("Reshape", ["c", "target"], ["y"], "flat"),
    ]
    weights: Weights = {"w": (4, 3, 1, 1), "target": np.array([8, -1], np.int64)}
    with pytest.raises(GraphError, match=r"a\.onnx: flat \(Reshape\): reshapes to \[8, -1\]; the batch of 8"):
        graph_from_onnx(save(tmp_path / "a.onnx", nodes, weights, [8, 3, 4, 4], ["y"]))


# --- constants ------------------------------------------------------------------------------------


def test_the_add_behind_a_matmul_is_its_bias(tmp_path: Path) -> None:
    make = onnx.helper.make_node
    nodes = [
        make("MatMul", ["image", "w"], ["m"], "fc1"),
        make("Add", ["b", "m"], ["a"], "add"),
        make("Relu", ["a"], ["r"], "relu"),
        make("MatMul", ["r", "v"], ["y"], "fc2"),
    ]
    path = save(tmp_path / "m.onnx", nodes, {"w": (6, 5), "b": (5,), "v": (5, 2)}, ["n", 7, 6], ["y"])
    graph, workload = graph_from_onnx(path), from_onnx(path)
    assert [(node.name, node.op, node.output) for node in graph.nodes] == [
        ("fc1", "linear", "a"),
        ("relu", "relu", "r"),
        ("fc2", "linear", "y"),
    ]
    assert graph.node("fc1").parameters == {"weight": (5, 6), "bias": (5,)}
    assert "m" not in graph.tensors
    assert (workload.bias_elements, workload.parameters) == (5, 30 + 5 + 10)
    assert workload.layer("fc1").macs == 7 * 6 * 5


@pytest.mark.parametrize("bias", [(7, 5), (1,), (7, 1)])
def test_an_add_that_is_no_bias_stays(bias: tuple[int, ...], tmp_path: Path) -> None:
    make = onnx.helper.make_node
    nodes = [make("MatMul", ["image", "w"], ["m"], "fc"), make("Add", ["m", "b"], ["y"], "add")]
    path = save(tmp_path / "m.onnx", nodes, {"w": (6, 5), "b": bias}, [1, 7, 6], ["y"])
    add = graph_from_onnx(path).node("add")
    assert (add.op, add.inputs, dict(add.attributes)) == ("add", ("m",), {"constant": True})
    assert from_onnx(path).parameters == 30 + (math.prod(bias) if math.prod(bias) > 1 else 0)
    assert from_onnx(path).bias_elements == 0


def test_a_product_with_two_readers_keeps_its_add(tmp_path: Path) -> None:
    make = onnx.helper.make_node
    nodes = [
        make("MatMul", ["image", "w"], ["m"], "fc"),
        make("Add", ["m", "b"], ["a"], "add"),
        make("Mul", ["a", "m"], ["y"], "gate"),
    ]
    graph = graph_from_onnx(save(tmp_path / "m.onnx", nodes, {"w": (6, 5), "b": (5,)}, [1, 6], ["y"]))
    assert [node.op for node in graph.nodes] == ["linear", "add", "mul"]


@pytest.mark.parametrize("kind", ["Add", "Sub", "Mul", "Div"])
def test_arithmetic_with_a_constant_runs_on_the_accumulator(kind: str, tmp_path: Path) -> None:
    make = onnx.helper.make_node
    nodes = [
        make("Conv", ["image", "w"], ["c"], "conv"),
        make(kind, ["c", "k"], ["a"], "first"),
        make(kind, ["a", "one"], ["y"], "second"),
    ]
    weights: Weights = {"w": (4, 3, 1, 1), "k": (4, 1, 1), "one": scalar(1)}
    path = save(tmp_path / "a.onnx", nodes, weights, [1, 3, 4, 4], ["y"])
    graph, workload = graph_from_onnx(path), from_onnx(path, "w4a4")
    first = graph.node("first")
    assert (first.op, first.inputs, first.attributes) == (kind.lower(), ("c",), {"constant": True})
    assert graph.is_fused(first) and not graph.is_residual_add(first)
    assert workload.order == ("conv",) and workload.layer("conv").output == "y"
    assert workload.parameters == 12 + 4


def test_one_over_an_activation_is_a_power(tmp_path: Path) -> None:
    div = onnx.helper.make_node("Div", ["one", "image"], ["y"], "div")
    node = graph_from_onnx(save(tmp_path / "d.onnx", [div], {"one": scalar(1)}, [1, 4], ["y"])).node("div")
    assert (node.op, node.inputs, node.attributes) == ("pow", ("image",), {"exponent": -1.0})


def test_a_weight_that_two_operators_read_is_stored_once(tmp_path: Path) -> None:
    make = onnx.helper.make_node
    nodes = [
        make("Gemm", ["image", "w", "b1"], ["h"], "one", transB=1),
        make("Relu", ["h"], ["r"], "relu"),
        make("Gemm", ["r", "w", "b2"], ["y"], "two", transB=1),
    ]
    weights: Weights = {"w": (6, 6), "b1": (6,), "b2": (6,)}
    graph = graph_from_onnx(save(tmp_path / "net.onnx", nodes, weights, [1, 6], ["y"]))
    assert [dict(node.shared) for node in graph.mac_nodes()] == [{"weight": "w"}, {"weight": "w"}]
    work = workload_of(graph)
    assert (work.macs, work.weight_elements, work.bias_elements, work.parameters) == (72, 36, 12, 48)


def test_slopes_count(tmp_path: Path) -> None:
    make = onnx.helper.make_node
    nodes = [make("Conv", ["image", "w"], ["c"], "conv"), make("PRelu", ["c", "s"], ["y"], "act")]
    path = save(tmp_path / "p.onnx", nodes, {"w": (4, 3, 1, 1), "s": (4, 1, 1)}, [1, 3, 4, 4], ["y"])
    assert from_onnx(path).parameters == 12 + 4


def test_weights_behind_constant_operators(tmp_path: Path) -> None:
    make, proto = onnx.helper.make_node, onnx.TensorProto
    weights: Weights = {
        "w0": np.zeros((4, 3, 3, 3), np.int8),
        "scale": scalar(0.5),
        "v0": (10, 64),
        "u0": np.zeros(30, np.float16),
        "to": np.array([10, 3], np.int64),
        "b0": (3,),
    }
    nodes = [
        make("DequantizeLinear", ["w0", "scale"], ["w"]),
        make("Conv", ["image", "w"], ["c"], "conv", pads=[1, 1, 1, 1]),
        make("Flatten", ["c"], ["f"], "flat"),
        make("Identity", ["v0"], ["v1"]),
        make("Transpose", ["v1"], ["v"], perm=[1, 0]),
        make("MatMul", ["f", "v"], ["m"], "fc1"),
        make("Cast", ["u0"], ["u1"], to=proto.FLOAT),
        make("Reshape", ["u1", "to"], ["u"]),
        make("Identity", ["b0"], ["b"]),
        make("Gemm", ["m", "u", "b"], ["y"], "fc2"),
    ]
    graph = graph_from_onnx(save(tmp_path / "q.onnx", nodes, weights, [1, 3, 4, 4], ["y"]))
    assert [node.parameters for node in graph.nodes if node.op != "flatten"] == [
        {"weight": (4, 3, 3, 3)},
        {"weight": (10, 64)},
        {"weight": (3, 10), "bias": (3,)},
    ]
    assert workload_of(graph).parameters == 108 + 640 + 30 + 3


def test_widths_of_a_pad_that_are_computed(tmp_path: Path) -> None:
    """The operators that the TorchScript exporter of PyTorch writes for ZeroPad2d((0, 1, 2, 3))."""
    make, proto = onnx.helper.make_node, onnx.TensorProto

    def integers(name: str, *numbers: int) -> "onnx.NodeProto":
        return make("Constant", [], [name], value=constant("", np.array(numbers, np.int64)))

    nodes = [
        integers("four", 4),
        make("ConstantOfShape", ["four"], ["zeros"], value=constant("", np.array([0], np.int64))),
        integers("given", 0, 1, 2, 3),
        make("Concat", ["given", "zeros"], ["all"], axis=0),
        integers("pairs", -1, 2),
        make("Reshape", ["all", "pairs"], ["table"]),
        integers("last", -1), integers("end", -9223372036854775807), integers("axis", 0),
        make("Slice", ["table", "last", "end", "axis", "last"], ["reversed"]),
        make("Transpose", ["reversed"], ["turned"], perm=[1, 0]),
        integers("flat", -1),
        make("Reshape", ["turned", "flat"], ["row"]),
        make("Cast", ["row"], ["widths"], to=proto.INT64),
        make("Pad", ["image", "widths", "zero"], ["p"], "pad"),
        make("Conv", ["p", "w"], ["y"], "conv"),
    ]  # fmt: skip
    weights: Weights = {"w": (4, 3, 3, 3), "zero": scalar(0)}
    graph = graph_from_onnx(save(tmp_path / "p.onnx", nodes, weights, ["n", 3, 8, 8], ["y"]))
    assert [(node.op, graph.tensors[node.output].shape) for node in graph.nodes] == [
        ("pad", (1, 3, 13, 9)),
        ("conv", (1, 4, 11, 7)),
    ]


def test_constants_of_any_size_are_not_computed(tmp_path: Path) -> None:
    make = onnx.helper.make_node
    nodes = [
        make("ConstantOfShape", ["huge"], ["h"], value=constant("", np.array([0], np.int64))),
        make("Relu", ["image"], ["y"], "relu"),
    ]
    path = save(tmp_path / "h.onnx", nodes, {"huge": np.array([2**40], np.int64)}, [1, 4], ["y"])
    assert [node.name for node in graph_from_onnx(path).nodes] == ["relu"]


# --- padding, names, what cannot be counted ---------------------------------------------------------


@pytest.mark.parametrize("rule", ["SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET"])
@pytest.mark.parametrize("spatial", [1, 2])
@given(data=st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_auto_pad(rule: str, spatial: int, data: st.DataObject, tmp_path: Path) -> None:
    """The padding named makes the output as large as the shape inference of ONNX says."""

    def draw(low: int, high: int) -> list[int]:
        return data.draw(st.lists(st.integers(low, high), min_size=spatial, max_size=spatial))

    size, kernel, stride, dilation = draw(12, 17), draw(1, 4), draw(1, 3), draw(1, 3)
    written = {"pads": [1, 2] * spatial} if rule == "NOTSET" else {}
    conv = onnx.helper.make_node(
        "Conv", ["image", "w"], ["y"], "conv",
        auto_pad=rule, kernel_shape=kernel, strides=stride, dilations=dilation, **written,
    )  # fmt: skip
    path = save(tmp_path / "p.onnx", [conv], {"w": (4, 3, *kernel)}, [1, 3, *size], ["y"])
    graph = graph_from_onnx(path)
    padding = graph.node("conv").attributes["padding"]
    assert isinstance(padding, tuple)
    before, after = padding[:2][-spatial:], padding[2:][-spatial:]
    for axis in range(spatial):
        low, high = before[axis], after[axis]
        window = (kernel[axis] - 1) * dilation[axis] + 1
        out = graph.tensors["y"].shape[2 + axis]
        assert (size[axis] + low + high - window) // stride[axis] + 1 == out
        if rule.startswith("SAME"):
            assert out == -(-size[axis] // stride[axis])
            assert (high - low if rule == "SAME_UPPER" else low - high) in (0, 1)
        if rule == "VALID":
            assert low == high == 0
    if spatial == 1:
        assert (padding[0], padding[2]) == (0, 0)
        assert graph.node("conv").attributes["kernel"] == (1, *kernel)
    layer = workload_of(graph).layer("conv")
    assert layer.macs == 12 * math.prod(kernel) * math.prod(graph.tensors["y"].shape[2:])


def test_equal_names_are_made_unique(tmp_path: Path) -> None:
    make = onnx.helper.make_node
    nodes = [
        make("Relu", ["image"], ["a"], "x"),
        make("Relu", ["a"], ["b"], "x"),
        make("Relu", ["b"], ["c"], "x_1"),
        make("Relu", ["c"], ["d"], "x"),
        make("Relu", ["d"], ["e"]),
    ]
    graph = graph_from_onnx(save(tmp_path / "n.onnx", nodes, {}, [1, 4], ["e"]))
    assert [node.name for node in graph.nodes] == ["x", "x_2", "x_1", "x_3", "relu_4"]


GEMM = {"w": (4, 3)}


@pytest.mark.parametrize(
    ("nodes", "weights", "shape", "text"),
    [
        ([("MatMul", ["w", "image"], {})], GEMM, [1, 3, 5], "op (MatMul: its weight is on the left)"),
        ([("MatMul", ["image", "w"], {})], {"w": (2, 3, 4)}, [1, 2, 5, 3],
         "op (MatMul: a weight of shape (2, 3, 4) on an input of (1, 2, 5, 3))"),
        ([("Gemm", ["image", "w"], {"transA": 1})], {"w": (1, 4)}, [1, 3], "op (Gemm: transA)"),
        ([("Gemm", ["image", "w"], {"alpha": 0.0})], {"w": (3, 4)}, [1, 3], "op (Gemm: alpha=0)"),
        ([("Gemm", ["w", "image"], {"transB": 1})], GEMM, [1, 3], "op (Gemm: input 0 is a constant)"),
        ([("Gemm", ["image", "image"], {"transB": 1})], {}, [1, 3],
         "op (Gemm: 2 of its operands are activations)"),
        ([("ConvTranspose", ["image", "w"], {})], {"w": (3, 4, 2, 2)}, [1, 3, 4, 4], "op (ConvTranspose)"),
        ([("Conv", ["image", "w"], {})], {"w": (4, 3, 1, 1, 1)}, [1, 3, 4, 4, 4], "op (Conv: 3 dimensions)"),
        ([("Conv", ["w", "image"], {})], {"w": (1, 3, 4, 4)}, [1, 3, 1, 1],
         "op (Conv: input 0 is a constant)"),
        ([("PRelu", ["image", "image"], {})], {}, [1, 3], "op (PRelu: 2 of its operands are activations)"),
    ],
)  # fmt: skip
def test_what_cannot_be_counted_says_why(
    nodes: list[tuple[str, list[str], dict[str, object]]],
    weights: Weights,
    shape: list[int],
    text: str,
    tmp_path: Path,
) -> None:
    made = [onnx.helper.make_node(kind, inputs, ["y"], "op", **more) for kind, inputs, more in nodes]
    with pytest.raises(GraphError) as caught:
        graph_from_onnx(save(tmp_path / "u.onnx", made, weights, shape, ["y"]))
    assert str(caught.value) == f"u.onnx: 1 operators cannot be counted: {text}"


def test_gemm_folds_its_factors(tmp_path: Path) -> None:
    gemm = onnx.helper.make_node("Gemm", ["image", "w", "b"], ["y"], "fc", alpha=0.5, beta=2.0)
    graph = graph_from_onnx(save(tmp_path / "g.onnx", [gemm], {"w": (3, 4), "b": (4,)}, [1, 3], ["y"]))
    assert graph.node("fc").parameters == {"weight": (4, 3), "bias": (4,)}
    gemm = onnx.helper.make_node("Gemm", ["image", "w", "b"], ["y"], "fc", beta=0.0)
    graph = graph_from_onnx(save(tmp_path / "g.onnx", [gemm], {"w": (3, 4), "b": (4,)}, [1, 3], ["y"]))
    assert graph.node("fc").parameters == {"weight": (4, 3)}


def test_a_second_output_is_not_lost_in_silence(tmp_path: Path) -> None:
    make = onnx.helper.make_node
    nodes = [
        make("MaxPool", ["image"], ["p", "places"], "pool", kernel_shape=[2, 2]),
        make("Add", ["places", "places"], ["twice"], "add"),
    ]
    path = save(tmp_path / "s.onnx", nodes, {}, [1, 3, 4, 4], ["p"])
    with pytest.raises(
        GraphError, match=r"1 operators cannot be counted: add \(Add: it reads a second output\)"
    ):
        graph_from_onnx(path)


@pytest.mark.parametrize(
    ("nodes", "text"),
    [
        ([("Relu", ["nowhere"], ["y"])], r"relu_0 \(Relu\): nothing before it makes 'nowhere'$"),
        (
            [("Relu", ["y"], ["z"]), ("Relu", ["image"], ["y"])],
            r"relu_0 \(Relu\): nothing before it makes 'y'$",
        ),
        ([("Relu", ["image"], [""])], r"relu_0 \(Relu\): it has no output$"),
        ([("Conv", ["image"], ["y"])], "Conv"),
        ([("Relu", ["image"], ["y"]), ("Relu", ["image"], ["y"])], "y"),
        ([("Relu", ["image"], ["x"])], "y"),
        ([("Reshape", ["image", "image"], ["y"])], "Reshape"),
        ([("MaxPool", ["image"], ["y"])], "kernel_shape"),
    ],
)
def test_malformed_models(nodes: list[tuple[str, list[str], list[str]]], text: str, tmp_path: Path) -> None:
    made = [onnx.helper.make_node(kind, inputs, outputs) for kind, inputs, outputs in nodes]
    with pytest.raises(GraphError, match=rf"^bad\.onnx: (?s:.*){text}"):
        graph_from_onnx(save(tmp_path / "bad.onnx", made, {}, [1, 3, 4, 4], ["y"]))


@given(st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_file_is_read_or_refused(residual: Path, data: st.DataObject) -> None:
    model = onnx.load(residual)
    damaged = residual.with_name("damaged.onnx")
    if data.draw(st.booleans()):
        content = bytearray(model.SerializeToString())
        for _ in range(data.draw(st.integers(1, 3))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        damaged.write_bytes(bytes(content))
    else:
        names = st.sampled_from(["", "image", "c1", "r1", "w1", "w3", "g", "zero", "logits", "none"])
        for _ in range(data.draw(st.integers(1, 3))):
            node = data.draw(st.sampled_from(list(model.graph.node)))
            field = data.draw(st.sampled_from(["input", "output", "attribute", "op_type"]))
            if field == "op_type":
                node.op_type = data.draw(st.sampled_from([other.op_type for other in model.graph.node]))
            elif values := getattr(node, field):
                index = data.draw(st.integers(0, len(values) - 1))
                if field == "attribute" or data.draw(st.booleans()):
                    del values[index]
                else:
                    values[index] = data.draw(names)
        damaged.write_bytes(model.SerializeToString())
    try:
        graph = graph_from_onnx(damaged)
    except GraphError as error:
        assert str(error).startswith("damaged.onnx: ")
    else:
        assert Graph.from_json(graph.to_json()) == graph
        with contextlib.suppress(GraphError):
            workload_of(graph, "w4a4")
