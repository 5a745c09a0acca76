"""Element operations on a hierarchy: prices, what a pipeline does, widths."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bitjoule.energy.element_prices import ElementPrices, element_prices, fused_items, operation_items
from bitjoule.energy.operations import ADD, MUL, REQUANTIZE, SHIFT, Elementary
from bitjoule.formats import parse_tensor_format
from bitjoule.hardware import load
from bitjoule.hardware.technology import energy_factor
from bitjoule.mapping.hardware_levels import accelerator_of
from bitjoule.workload import Layer, Operation, StoredTensor, Workload
from tests.energy.networks import workload
from tests.energy.tiny_hierarchy import tiny

PRICES = ElementPrices()


def conv(output: str = "INT8", inputs: str = "INT8", **rest: object) -> Layer:
    made = Layer(
        "conv",
        "conv",
        *(1, 2, 2, 4, 1, 1, 1),
        inputs=("input",),
        output="conv.out",
        weight_format=parse_tensor_format("INT8"),
        input_format=parse_tensor_format(inputs),
        output_format=parse_tensor_format(output),
    )
    return replace(made, **rest)  # type: ignore[arg-type]


def fused(layer: Layer, *operations: Operation) -> dict[str, tuple[int, float]]:
    net = workload("n", (layer, *operations))
    return {item.component: (item.count, item.energy_pj) for item in fused_items(layer, net, 24, PRICES)}


def test_prices_are_the_published_fits() -> None:
    assert PRICES.energy_pj(ADD, 32) == pytest.approx(0.1)
    assert PRICES.energy_pj(MUL, 16) == pytest.approx(0.7833, abs=1e-4)
    assert PRICES.energy_pj(SHIFT, 32) == pytest.approx(0.05)  # half an add
    assert PRICES.energy_pj(REQUANTIZE, 16) == pytest.approx(0.7833 + 0.05, abs=1e-4)
    assert ElementPrices(2.0, 7.0).energy_pj(Elementary(adds=1, lookups=1), 32) == pytest.approx(0.2 + 7.0)


def test_prices_scale_to_the_node() -> None:
    assert element_prices(tiny(), accelerator_of(tiny())) == ElementPrices(1.0, 1.0)
    eyeriss = load("eyeriss")
    found = element_prices(eyeriss, accelerator_of(eyeriss))
    assert found.scale == pytest.approx(energy_factor(45, 65)) == pytest.approx(1 / 0.806025, rel=1e-5)
    assert found.lookup_pj == 1.1


def test_a_pipeline_works_on_accumulators() -> None:
    add, mul = PRICES.energy_pj(ADD, 24), PRICES.energy_pj(MUL, 24)
    relu = Operation("relu", "relu", ("input",), "conv.out", 8, fused_into="conv")
    shortcut = Operation("sum", "add", ("input",), "conv.out", 8, fused_into="conv")
    found = fused(conv(bias=True), relu, shortcut)
    assert found == {
        "op:bias": (8, pytest.approx(8 * add)),
        "op:relu": (8, pytest.approx(8 * add)),
        "op:add": (24, pytest.approx(8 * (add + mul + add / 2))),  # the shortcut comes to the sum's scale
        "op:requantize": (24, pytest.approx(8 * (mul + add))),
    }


@pytest.mark.parametrize(
    ("output", "inputs", "way"),
    [
        ("INT8", "INT8", {"op:requantize": 3}),
        ("BIPOLAR", "INT8", {"op:compare": 1}),
        ("TERNARY", "INT8", {"op:compare": 2}),
        ("INT32", "INT8", {}),
        ("FP16", "INT8", {}),
    ],
)
def test_results_on_their_way_to_memory(output: str, inputs: str, way: dict[str, int]) -> None:
    found = {name: count for name, (count, _) in fused(conv(output, inputs)).items()}
    ways = {name: count for name, count in found.items() if name in ("op:requantize", "op:compare")}
    assert ways == {name: 8 * operations for name, operations in way.items()}


def test_powers_of_two_need_no_multiplication() -> None:
    pot = parse_tensor_format("INT8*pot")
    layer = conv(weight_format=pot, input_format=pot, output_format=pot)
    assert fused(layer)["op:requantize"] == (16, pytest.approx(8 * PRICES.energy_pj(ADD, 24)))


def test_steps_of_their_own_work_at_the_tensors_width() -> None:
    int4, int8 = parse_tensor_format("INT4"), parse_tensor_format("INT8")
    tensors = {
        "a": StoredTensor("a", 8, int8, "feature"),
        "b": StoredTensor("b", 8, int4, "feature"),
        "y": StoredTensor("y", 8, int4, "feature"),
    }

    def items(kind: str, *inputs: str) -> dict[str, float]:
        operation = Operation("o", kind, inputs, "y", 8, attributes={"kernel": (2, 2)})
        net = Workload("n", "s", (), (operation,), tensors)
        return {item.component: item.energy_pj / 8 for item in operation_items(operation, net, PRICES)}

    add, mul = PRICES.energy_pj(ADD, 8), PRICES.energy_pj(MUL, 8)
    assert items("add", "a", "b") == {
        "op:add": pytest.approx(add + mul + add / 2),
        "op:requantize": pytest.approx(mul + add),
    }
    assert items("max_pool", "a") == {"op:max_pool": pytest.approx(3 * add)}  # results are values it read
    assert items("avg_pool", "b")["op:avg_pool"] == pytest.approx(
        3 * PRICES.energy_pj(ADD, 4) + PRICES.energy_pj(MUL, 4)
    )
    assert items("gelu", "a")["op:gelu"] == 0.0  # a look-up, of a memory that is free here
