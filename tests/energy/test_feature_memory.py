"""Steps and tensors of a Workload as the feature-map memory sees them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bitjoule.energy.feature_memory import ResidencyMode, plan_feature_maps, steps_of
from bitjoule.formats import parse_tensor_format
from bitjoule.workload import Layer, StoredTensor, Workload
from tests.energy.networks import conv, moons_net, residual_net, workload

Q = parse_tensor_format("INT8")


def planned(net: Workload, capacity: int | None, mode: ResidencyMode = "optimal") -> int:
    return plan_feature_maps(net, capacity, word_bits=32, lanes=32, mode=mode).traffic_bits


def test_steps_are_layers_and_unfused_operations_in_order() -> None:
    assert list(steps_of(residual_net())) == ["stem", "conv1", "conv2", "pool", "fc"]


def test_sizes_are_whole_words() -> None:
    net = moons_net((1,), (3,), 4, side=4)
    assert planned(net, None) == 3 * 16 * 4 + 10 * 32
    odd = replace(
        net, tensors={**net.tensors, "input": StoredTensor("input", 33, net.layers[0].input_format, "input")}
    )
    assert planned(odd, None) == 5 * 32 + 10 * 32


def test_streaming_a_convolution_holds_its_kernel_rows_and_an_output_row() -> None:
    net = workload("one", (conv("conv", 4, 2, 8, "input", Q),))
    need = 3 * 8 * 2 * 8 + 8 * 4 * 8  # three input rows, one output row
    assert planned(net, need) == 2 * 64 * 8 + 4 * 64 * 8
    with pytest.raises(ValueError, match="conv needs 640 bits of feature-map memory"):
        planned(net, need - 1)
    with pytest.raises(ValueError, match="conv needs 640 bits of feature-map memory"):
        planned(net, need - 1, "none")
    assert planned(net, 1, "ideal") == planned(net, None)


def test_a_matrix_product_holds_its_right_hand_side() -> None:
    product = Layer(
        "qk", "matmul", 1, 6, 4, 5, 1, 1, 1, inputs=("input", "right"), output="out", input_elements=20,
        weight_format=Q, input_format=Q, output_format=Q,
    )  # fmt: skip
    net = workload("attention", (product,))
    net = replace(net, tensors={**net.tensors, "right": StoredTensor("right", 24, Q, "input")})
    right, row, result = 24 * 8, 4 * 8, 6 * 8
    assert planned(net, right + row + result) == (20 + 24 + 30 + 2) * 8  # 30 bytes are 8 words
    with pytest.raises(ValueError, match=f"qk needs {right + row + result} bits"):
        planned(net, right + row + result - 1)


def test_a_tensor_without_a_producer_comes_from_dram() -> None:
    # A concatenation is no step: its parts are written out and the whole is read back.
    first, second = conv("a", 4, 2, 8, "input", Q), conv("b", 4, 8, 8, "cat", Q)
    net = workload("concat", (first, second))
    assert planned(net, None) == (128 + 256) * 8 + (512 + 256) * 8
