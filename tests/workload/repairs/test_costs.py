"""What every repair costs at inference, counted in the Workload, against training.md section 3."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitjoule.energy.operations import elementary_operations, require_known
from bitjoule.scheme import REPAIRS, RepairError, parse_scheme
from bitjoule.workload import Graph, Workload, workload_of
from bitjoule.workload.repairs import repair_graph, repaired_graph
from tests.workload.repairs.chains import Shape, added, block, elements, plain

SHAPES = st.builds(
    Shape,
    C=st.integers(1, 40),
    K=st.integers(1, 40),
    H=st.integers(4, 9),
    W=st.integers(4, 9),
    R=st.sampled_from((1, 3, 5)),
    stride=st.integers(1, 2),
)


few = settings(max_examples=12, deadline=None)


def cost(graph: Graph, *repairs: str) -> Workload:
    return workload_of(graph, "+".join(("w1a1", *repairs)))


@pytest.mark.parametrize(("name", "adds"), [("prelu", 0), ("rprelu", 2), ("dprelu", 2)])
@few
@given(shape=SHAPES)
def test_activations(name: str, adds: int, shape: Shape) -> None:
    graph = block(shape)
    more = added(cost(graph, "double_residual", name), cost(graph, "double_residual"))
    layers = 2 * shape.outputs
    assert more == {"prelu": layers, **({"add": adds * layers} if adds else {})}


def test_the_second_shift_is_a_threshold_where_only_signs_read_it() -> None:
    graph, shape = plain(Shape()), Shape()
    more = added(cost(graph, "rprelu"), cost(graph))
    # norm and first shift come before the slope and are computed; the second shift moves a threshold
    assert more == {"prelu": shape.outputs, "add": shape.outputs, "batch_norm": shape.outputs}


@few
@given(shape=SHAPES)
def test_a_learned_shift_behind_a_norm_is_a_threshold(shape: Shape) -> None:
    graph = plain(shape)
    before, after = cost(graph), cost(graph, "learned_shift")
    assert added(after, before) == {}
    assert after.parameters - before.parameters == shape.C


@few
@given(shape=SHAPES)
def test_a_learned_shift_of_a_stored_tensor_is_an_add_per_input(shape: Shape) -> None:
    graph = block(shape)
    before, after = cost(graph, "double_residual"), cost(graph, "double_residual", "learned_shift")
    assert added(after, before) == {"add": shape.inputs + shape.outputs}  # of conv1 and conv2
    steps = [o for o in after.operations if not o.fused_into and o.kind == "add"]
    assert [after.tensors[o.inputs[0]].bits for o in steps] == [16, 16]


@few
@given(shape=SHAPES)
def test_a_norm_before_the_sign_compares(shape: Shape) -> None:
    graph = block(shape)
    after = cost(graph, "pre_bn", "double_residual")
    compares = [o for o in after.operations if o.kind == "compare"]
    assert [o.elements for o in compares] == [shape.inputs, shape.outputs]  # C H W of each convolution
    assert [after.tensors[o.output].bits for o in compares] == [1, 1]
    # of the five norms, those of the stem and of the shortcut still multiply
    assert elements(after)["batch_norm"] == shape.inputs + shape.outputs


@few
@given(shape=SHAPES)
def test_a_learned_scale_is_a_product_per_output(shape: Shape) -> None:
    graph = plain(shape)
    before, after = cost(graph), cost(graph, "scale_xnorpp")
    more = added(after, before)
    assert more.pop("mul") == shape.outputs and set(more) <= {"batch_norm"}
    assert after.parameters - before.parameters == shape.K + shape.P + shape.Q


@few
@given(shape=SHAPES)
def test_an_input_scale_adds_up_the_input_and_the_windows(shape: Shape) -> None:
    graph = plain(shape)
    after = cost(graph, "scale_input")
    more = added(after, cost(graph))
    assert more["mul"] == shape.outputs
    by_name = {o.name: o for o in after.operations}
    mean, box = by_name["conv.magnitude"], by_name["conv.box"]
    assert (mean.elements, box.elements) == (shape.H * shape.W, shape.P * shape.Q)
    # n values take n - 1 adds
    assert (elementary_operations(mean, after).adds + 1) * mean.elements == shape.inputs
    assert (elementary_operations(box, after).adds + 1) * box.elements == shape.R**2 * shape.P * shape.Q
    assert after.tensors["conv.box"].bits == 16
    assert by_name["conv.scaled"].fused_into == "conv"


@few
@given(shape=SHAPES)
def test_squeeze_excite_has_layers_of_8_bits(shape: Shape) -> None:
    graph = plain(shape)
    before, after = cost(graph), cost(graph, "se8")
    kept = max(1, shape.C // 8)
    assert after.macs - before.macs == shape.C * kept + kept * shape.K
    assert added(after, before)["mul"] == shape.outputs
    for layer in (after.layer("conv.se_down"), after.layer("conv.se_up")):
        assert (layer.weight_bits, layer.input_bits, layer.bias) == (8, 8, False)
    pool = next(o for o in after.operations if o.name == "conv.se_mean")
    assert (elementary_operations(pool, after).adds + 1) * pool.elements == shape.inputs
    gate = (
        after.tensors["conv.se_gate"] if "conv.se_gate" in after.tensors else after.tensors["conv.se_sigmoid"]
    )
    assert (gate.bits, gate.elements) == (8, shape.K)
    assert gate.name in after.layer("conv").inputs
    order = after.order
    assert order.index("conv.se_sigmoid") < order.index("conv")


@few
@given(shape=SHAPES)
def test_a_norm_on_every_result_that_has_none(shape: Shape) -> None:
    graph = block(shape)
    before = cost(graph, "pre_bn", "double_residual")
    after = cost(graph, "pre_bn", "double_residual", "bn_out")
    assert added(after, before) == {"batch_norm": 2 * shape.outputs}
    assert added(cost(graph, "bn_out"), cost(graph)) == {}


@few
@given(shape=SHAPES)
def test_a_shortcut_round_every_convolution(shape: Shape) -> None:
    graph = block(shape)
    before, after = cost(graph), cost(graph, "double_residual")
    assert added(after, before)["add"] == shape.outputs  # two instead of one
    read = after.layer("conv2").inputs[0]
    assert (after.tensors[read].bits, after.tensors[read].elements) == (16, shape.outputs)
    assert after.layer("conv1").input_bits == 1
    assert after.macs == before.macs


@few
@given(shape=SHAPES.filter(lambda s: s.K >= s.C))
def test_a_shortcut_without_a_block_is_a_pool_and_zero_channels(shape: Shape) -> None:
    graph = plain(shape)
    more = added(cost(graph, "double_residual"), cost(graph))
    assert more["add"] == shape.outputs
    assert more.get("avg_pool", 0) == (shape.C * shape.P * shape.Q if shape.stride > 1 else 0)


@pytest.mark.parametrize("shortcut", ["conv", "slice"])
@few
@given(shape=SHAPES)
def test_a_downsample_of_8_bits(shortcut: str, shape: Shape) -> None:
    wide = Shape(shape.C, shape.C + shape.K, 8, 8, shape.R, 2)
    graph = block(wide, shortcut)
    before, after = cost(graph), cost(graph, "hp_downsample")
    own = wide.C * wide.K * wide.P * wide.Q
    assert after.macs - before.macs == (0 if shortcut == "conv" else own)
    name = "short" if shortcut == "conv" else "add.downsample"
    layer = after.layer(name)
    assert (layer.macs, layer.stride, layer.weight_bits, layer.input_bits) == (own, (1, 1), 8, 8)
    pool = next(o for o in after.operations if o.kind == "avg_pool")
    assert pool.elements == wide.C * wide.P * wide.Q
    assert elementary_operations(pool, after).adds == 3  # four values


@few
@given(shape=SHAPES, bases=st.integers(2, 8))
def test_bases_multiply_everything(shape: Shape, bases: int) -> None:
    graph = plain(shape)
    before, after = cost(graph), cost(graph, f"bases_{bases}")
    own = before.layer("conv")
    assert after.macs - before.macs == (bases - 1) * own.macs
    copies = [layer for layer in after.layers if layer.name.startswith("conv")]
    assert [layer.weight_bits for layer in copies] == [1] * bases
    more = added(after, before)
    assert more["add"] == (bases - 1) * shape.outputs
    assert more["batch_norm"] in ((bases - 1) * shape.outputs, bases * shape.outputs)


@pytest.mark.parametrize("pattern", ["conv", "con?"])
def test_an_override_of_a_layer_is_one_of_its_bases(pattern: str) -> None:
    after = workload_of(plain(Shape()), f"w8a8+bases_3{{{pattern}:w1a1}}")
    bases = [layer for layer in after.layers if layer.name.startswith("conv")]
    assert [(layer.weight_bits, layer.input_bits) for layer in bases] == [(1, 1)] * 3


@pytest.mark.parametrize("name", [entry.name for entry in REPAIRS.values() if not entry.rewrites])
def test_the_others_cost_nothing_in_operations(name: str) -> None:
    graph = block(Shape())
    before, after = cost(graph), cost(graph, name)
    assert after.layers == before.layers or name == "heaviside"
    assert after.operations == before.operations and after.macs == before.macs


def test_heaviside_reads_zeros_and_ones() -> None:
    after = cost(block(Shape()), "heaviside", "double_residual")
    assert str(after.layer("conv1").input_format) == "UINT1"
    assert str(after.layer("conv1").weight_format) == "BIPOLAR/channel"


MANY = (
    *("learned_shift", "pre_bn", "scale_xnorpp", "bn_out", "double_residual", "rprelu", "se8", "bases_2"),
    *("hp_downsample", "grad=approx", "teacher", "heaviside", "two_stage"),
)


@few
@given(st.sets(st.sampled_from(MANY), min_size=1), SHAPES)
def test_repairs_compose_and_are_applied_once(names: set[str], shape: Shape) -> None:
    graph = block(shape)
    scheme = parse_scheme("+".join(("w1a1", *sorted(names))))
    made = repaired_graph(graph, scheme)
    assert set(made.repairs) == set(scheme.topology_repairs)
    assert Graph.from_json(made.to_json()) == made
    assert repaired_graph(made, scheme) is made
    workload = workload_of(made, scheme)
    assert workload == workload_of(graph, scheme)
    require_known(workload)


def test_repairs_added_later_join_those_that_are_there() -> None:
    graph = block(Shape())
    first = repair_graph(graph, parse_scheme("w1a1"), ("double_residual",)).graph
    both = repair_graph(first, parse_scheme("w1a1"), ("double_residual", "rprelu")).graph
    assert both.repairs == ("double_residual", "rprelu")
    with pytest.raises(RepairError, match="repairs 'prelu' and 'rprelu' exclude each other: a conv has one"):
        repair_graph(both, parse_scheme("w1a1"), ("prelu",))


def test_a_network_without_binary_layers_cannot_be_repaired() -> None:
    graph = block(Shape())
    text = (
        "chain has no layer with binary weights and input under scheme 'w4a4', so there is nothing for "
        "repair 'rprelu' to mend; use w1a1, or an override that makes layers binary"
    )
    with pytest.raises(RepairError) as error:
        repair_graph(graph, parse_scheme("w4a4"), ("rprelu",))
    assert str(error.value) == text


def test_what_cannot_have_a_shortcut_is_noted() -> None:
    graph = plain(Shape(C=8, K=4))
    made = repair_graph(graph, parse_scheme("w1a1"), ("double_residual", "hp_downsample"))
    assert made.notes == (
        "hp_downsample found no shortcut that changes shape",
        "double_residual left 'conv' without a shortcut: no pool and zero channels lead from 8x6x4 to 4x6x4",
    )
