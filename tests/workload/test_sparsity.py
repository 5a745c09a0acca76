"""N:M sparsity: which layers, what is stored, and that documents keep it."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitjoule import zoo
from bitjoule.network import capture
from bitjoule.scheme import parse_scheme
from bitjoule.workload import GraphError, Layer, Workload, workload_of
from bitjoule.workload.sparsity import Sparsity, parse_sparsity, sparse_layers


def graph_of(name, **options):
    return capture(zoo.build(name, options, 0), input_shape=zoo.input_shape(name, options), name=name).graph


def linear(**changed):
    return Layer("fc", "linear", 1, 8, 16, 1, 1, 1, 1, **changed)


@given(st.integers(1, 63), st.integers(2, 64), st.integers(1, 16), st.integers(1, 50))
def test_storage_is_survivors_and_their_places(kept, block, bits, blocks):
    kept = min(kept, block - 1)
    sparsity = Sparsity(kept, block)
    places = math.ceil(math.log2(block))
    assert sparsity.storage_bits(blocks * block, bits) == blocks * (kept * bits + kept * places)


def test_storage_is_exact_for_any_number_of_weights():
    assert Sparsity(1, 3).storage_bits(3 * 2**60 + 1, 4) == (2**60 + 1) * 6


def test_layers_left_dense_say_why():
    found = sparse_layers(graph_of("mobilenet_v2_cifar", width=0.25), parse_scheme("w4a4[prune=2:4]"))
    assert found.dense["features.0.0"] == "it reads the network input"
    assert found.dense["features.1.conv.0.0"] == "it is depthwise"
    assert found.pruned["classifier.1"] == Sparsity(2, 4)
    odd = sparse_layers(graph_of("resnet8"), parse_scheme("w4a4[prune=4:32]"))
    assert odd.notes() == (
        "not pruned, because it reads the network input: conv1",
        "not pruned, because 16 input channels are no multiple of 32: block1.conv1, block1.conv2, "
        "block2.conv1, block2.shortcut",
    )
    assert set(odd.pruned) == {"block2.conv2", "block3.conv1", "block3.conv2", "block3.shortcut", "linear"}


def test_a_layer_whose_format_has_no_zero_stays_dense():
    found = sparse_layers(graph_of("resnet8"), parse_scheme("w4a4[prune=2:4]{block3.conv2:w1a4}"))
    assert found.dense["block3.conv2"] == "BIPOLAR has no zero"


def test_the_workload_counts_storage_and_not_fewer_macs():
    graph = graph_of("resnet8")
    dense, sparse = (workload_of(graph, scheme) for scheme in ("w4a4", "w4a4[prune=2:4]"))
    assert sparse.macs == dense.macs and sparse.weight_elements == dense.weight_elements
    first, last = dense.layer("conv1"), dense.layer("linear")
    inner = dense.weight_elements - first.weight_elements - last.weight_elements
    # 2 of 4 weights of 4 bits with 2 bits each: 3 bits a weight; the last layer has 8 bits: 5
    assert sparse.weight_bits == first.weight_elements * 8 + inner * 3 + last.weight_elements * 5
    assert Workload.from_json(sparse.to_json()) == sparse
    assert "sparsity" not in dense.layers[1].to_json()


def test_bits_per_weight_of_a_tile_are_whole():
    layer = linear(sparsity=Sparsity(1, 4))
    assert (layer.weight_bits, layer.stored_bits_per_weight) == (32, 9)  # (32 + 2) / 4 = 8.5
    assert linear().stored_bits_per_weight == 32 and linear().weight_storage_bits == 128 * 32


@pytest.mark.parametrize("text", ["4:2", "2:2", "0:4", "2-4", "2:4:8"])
def test_nonsense_is_refused(text):
    with pytest.raises(ValueError) as error:
        parse_sparsity(text)
    assert str(error.value) == f"sparsity must be N:M with 1 <= N < M, such as 2:4, not {text!r}"
    with pytest.raises(GraphError, match="sparsity must be N:M with 1 <= N < M, such as 2:4"):
        Layer.from_json({**linear().to_json(), "sparsity": text})
