"""Binary repairs on every cost model: what they add is priced, and comparisons cost a comparison."""

from __future__ import annotations

import math

import pytest

from bitjoule.energy import Cost, cost
from bitjoule.energy.element_prices import ElementPrices, narrowing_item
from bitjoule.energy.operations import ADD, REQUANTIZE, Elementary, narrowing
from bitjoule.formats import parse_tensor_format
from bitjoule.hardware import load, presets
from bitjoule.scheme import REPAIRS
from bitjoule.workload import workload_of
from tests.workload.repairs.chains import Shape, block

SHAPE = Shape(C=32, K=32, H=4, W=4)
EVERY_BRANCH = (
    *("w1a1", "hpr-w1a1", "hpr-w1a1+pre_bn", "w1a1+heaviside", "w1a1+double_residual+learned_shift"),
    *("w1a1+double_residual+scale_input+bn_out+rprelu+se8+hp_downsample", "w1a1+scale_xnorpp+prelu+bases_3"),
)


def priced(scheme: str, hardware: str = "braintta22", shape: Shape = SHAPE) -> Cost:
    return cost(workload_of(block(shape), scheme), load(hardware))


def counts(found: Cost, component: str, tensor: str | None = None) -> int:
    return sum(
        item.count
        for item in found.items
        if item.component == component and (tensor is None or item.tensor == tensor)
    )


@pytest.mark.parametrize(
    ("name", "kind", "work"),
    [
        ("BIPOLAR", "compare", ADD),
        ("UINT1", "compare", ADD),
        ("TERNARY", "compare", ADD * 2),
        ("INT4", "requantize", REQUANTIZE),
    ],
)
def test_narrow_copies(name: str, kind: str, work: Elementary) -> None:
    read, prices = parse_tensor_format(name), ElementPrices()
    assert narrowing(read) == (kind, work)
    item = narrowing_item("conv", read, 8, 16, prices)
    assert (item.component, item.count) == (f"op:{kind}", 8 * work.total)
    assert item.energy_pj == pytest.approx(8 * prices.energy_pj(work, 16))


def test_a_sign_of_a_wide_tensor_is_one_comparison_on_the_core() -> None:
    vectors = math.ceil(SHAPE.inputs / 32)
    read = priced("hpr-w1a1")
    assert counts(read, "op:compare", "inputs") == vectors  # conv1 reads a residual of 16 bits
    normed = priced("hpr-w1a1+pre_bn")
    assert counts(normed, "op:compare", "inputs") == 0  # a step compares, and stores the sign
    assert counts(normed, "op:compare", "outputs") == math.ceil(SHAPE.inputs / 32)


@pytest.mark.parametrize("hardware", presets())
def test_every_preset_prices_repaired_networks(hardware: str) -> None:
    kind = load(hardware).kind
    tiny = Shape(C=8, K=8, H=4, W=4)
    schemes = EVERY_BRANCH if kind != "hierarchy" else EVERY_BRANCH[2:3]
    for scheme in schemes:
        found = priced(scheme, hardware, tiny)
        assert found.energy_pj > 0 and math.isfinite(found.energy_pj)
        assert ("closed form counts layers that repairs add" in found.notes[-1]) == (
            kind == "moons" and "+" in scheme
        )


def test_what_the_closed_form_leaves_out_is_named() -> None:
    found = priced("w1a1+double_residual+rprelu", "moons-4mb")
    assert "prelu" in found.notes[-1] and f"{2 * SHAPE.outputs:,} prelu" in found.notes[-1]
    assert found.energy_pj > 0


def test_each_topology_repair_costs_energy_on_the_core() -> None:
    base = priced("hpr-w1a1").energy_pj
    for name, entry in REPAIRS.items():
        if entry.branch == "topology" and name not in ("hp_downsample", "bn_out"):
            assert priced(f"hpr-w1a1+{name}").energy_pj > base, name
        if entry.branch == "training":
            assert priced(f"hpr-w1a1+{name}").energy_pj == base, name


@pytest.mark.parametrize("hardware", ["braintta22", "eyeriss"])
def test_what_follows_a_residual_add_is_priced(hardware: str) -> None:
    tiny = Shape(C=8, K=8, H=4, W=4)
    base = priced("hpr-w1a1+double_residual", hardware, tiny)
    more = priced("hpr-w1a1+double_residual+rprelu", hardware, tiny)
    assert counts(base, "op:prelu") == 0 < counts(more, "op:prelu")
    assert counts(more, "op:add") > counts(base, "op:add")
    assert more.energy_pj > base.energy_pj
