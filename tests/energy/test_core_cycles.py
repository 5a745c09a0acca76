"""Cycles of the BrainTTA-like core: golden numbers of energy.md 4.3, formats, groups."""

from __future__ import annotations

import math
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitjoule.energy import Infeasible
from bitjoule.energy.core_cycles import core_cycles, operands_of
from bitjoule.formats import parse_tensor_format
from bitjoule.hardware import TtaSection, load
from bitjoule.workload import Layer
from tests.energy.networks import resnet18


def section(**changes: object) -> TtaSection:
    document = dict(load("braintta22").to_mapping())
    found = load({**document, "tta": {**document["tta"], **changes}}).tta  # type: ignore[dict-item]
    assert found is not None
    return found


def layer(n: int, k: int, c: int, p: int, q: int, r: int, s: int, text: str, groups: int = 1) -> Layer:
    tensor_format = parse_tensor_format(text)
    return Layer(
        "layer", "conv", n, k, c, p, q, r, s, groups, weight_format=tensor_format, input_format=tensor_format
    )


def core_pj(layer: Layer, tta: TtaSection) -> tuple[int, float]:
    operands = operands_of(layer)
    cycles = core_cycles(layer, operands.bits, tta)
    energy = cycles.mac * operands.e_cycle_pj(tta) + cycles.epilogue * tta.e_overhead_pj
    return cycles.mac + cycles.epilogue, energy


# energy.md 4.3 [derived]: layer, epilogue cycles, depthwise rule, cycles, pJ
@pytest.mark.parametrize(
    ("shape", "text", "groups", "epilogue", "depthwise", "cycles", "energy_pj"),
    [
        ((1, 64, 64, 56, 56, 3, 3), "BIPOLAR", 1, 0, "taps", 112_896, 8_092_385.28),
        ((1, 64, 64, 56, 56, 3, 3), "INT4", 1, 4, "taps", 476_672, 42_725_745.40),
        ((1, 64, 3, 112, 112, 7, 7), "INT8", 1, 0, "taps", 1_229_312, 127_455_068.16),
        ((1, 144, 144, 56, 56, 3, 3), "INT8", 144, 0, "lanes", 47_040, 4_877_107.2),
        ((1, 144, 144, 56, 56, 3, 3), "INT8", 144, 0, "taps", 141_120, 14_631_321.6),
    ],
)
def test_golden(
    shape: tuple[int, int, int, int, int, int, int],
    text: str,
    groups: int,
    epilogue: int,
    depthwise: str,
    cycles: int,
    energy_pj: float,
) -> None:
    found = core_pj(layer(*shape, text, groups), section(epilogue_cycles=epilogue, depthwise=depthwise))
    assert found[0] == cycles
    assert found[1] == pytest.approx(energy_pj, abs=0.006)


def test_golden_resnet18() -> None:
    # BIPOLAR body, INT8 first, downsample and last layers: 3,020,928 MAC cycles, 260.8 uJ [derived]
    tta = section(epilogue_cycles=0)
    found = [core_pj(entry, tta) for entry in resnet18("BIPOLAR", "INT8")]
    assert sum(cycles for cycles, _ in found) == 3_020_928
    assert math.fsum(energy for _, energy in found) / 1e6 == pytest.approx(260.8, abs=0.05)


def test_full_use_is_the_published_energy_per_operation() -> None:
    # V3 of energy.md: 35 / 67 / 405 fJ per operation [published, calibrated]
    for text, femtojoule in (("BIPOLAR", 35), ("TERNARY", 67), ("INT8", 405)):
        full = layer(1, 32, 32, 4, 4, 3, 3, text)
        _, energy = core_pj(full, section(epilogue_cycles=0))
        assert 1000 * energy / (2 * full.macs) == pytest.approx(femtojoule, rel=1e-9)


@pytest.mark.parametrize(
    ("weight", "activation", "bits", "price", "rounded_from"),
    [
        ("BIPOLAR", "MOONS1", 1, "BIPOLAR", 1),
        ("TERNARY", "TERNARY", 2, "TERNARY", 2),
        ("TERNARY", "BIPOLAR", 2, "TERNARY", 2),
        ("TERNARY", "INT2", 2, "INT2", 2),
        ("INT3", "UINT2", 4, "INT4", 3),
        ("INT4_NARROW", "UINT8", 8, "INT8", 8),
        ("MOONS5", "MOONS5_RELU", 8, "INT8", 5),
    ],
)
def test_widths_round_up(weight: str, activation: str, bits: int, price: str, rounded_from: int) -> None:
    found = operands_of(
        Layer(
            "l",
            "conv",
            *(1, 8, 8, 4, 4, 3, 3),
            weight_format=parse_tensor_format(weight),
            input_format=parse_tensor_format(activation),
        )
    )
    assert (found.bits, found.price, found.rounded_from) == (bits, price, rounded_from)


@pytest.mark.parametrize(("text", "name"), [("INT16", "INT16"), ("FP16", "FP16"), (None, "FLOAT32")])
def test_formats_the_core_does_not_have(text: str | None, name: str) -> None:
    tensor_format = parse_tensor_format(text) if text else None
    wide = Layer(
        "conv1", "conv", 1, 8, 8, 4, 4, 3, 3, weight_format=tensor_format, input_format=tensor_format
    )
    with pytest.raises(Infeasible) as caught:
        operands_of(wide)
    assert str(caught.value) == (
        f"conv1 has {name} weights, the core multiplies BIPOLAR, TERNARY and integers up to 8 bits; "
        "choose a scheme of these formats for this layer, or hardware that multiplies others"
    )
    assert caught.value.layer == "conv1" and caught.value.remedy.startswith("choose a scheme")


def walked_cycles(entry: Layer, bits: int) -> int:
    """The core's loops, walked: one cycle per position, vector, tap and word, group by group."""
    lanes, per_word, cycles = 32, 32 // bits, 0
    for _ in product(range(entry.N), range(entry.P), range(entry.Q), range(entry.groups)):
        for _vector in range(0, entry.K // entry.groups, lanes):
            for _tap in product(range(entry.R), range(entry.S)):
                for _word in range(0, entry.C // entry.groups, per_word):
                    cycles += 1
    return cycles


@settings(max_examples=40, deadline=None)
@given(
    groups=st.sampled_from([1, 1, 2, 3]),
    k=st.integers(1, 40),
    c=st.integers(2, 40),
    positions=st.integers(1, 3),
    kernel=st.integers(1, 3),
    bits=st.sampled_from([1, 2, 4, 8]),
)
def test_dense_and_grouped_cycles_equal_the_walked_loops(
    groups: int, k: int, c: int, positions: int, kernel: int, bits: int
) -> None:
    entry = layer(1, k * groups, c * groups, positions, 2, kernel, kernel, "INT8", groups)
    assert core_cycles(entry, bits, section()).mac == walked_cycles(entry, bits)
