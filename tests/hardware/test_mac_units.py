"""MAC energies by Format: golden numbers of energy.md 3.1 at anchor 0.344 pJ, mixed rules, refusals."""

from itertools import pairwise

import pytest

from bitjoule.formats import parse_format
from bitjoule.hardware.mac_units import (
    DOT32,
    INT8_ANCHORS,
    MacUnit,
    MixedRule,
    ShiftAdd,
    add_pj,
    integer_width,
    mac_energy_pj,
    mul_pj,
    shift_add_pj,
    takes_shift_add,
)

ANCHOR = 0.344


def price(weight: str, activation: str, mixed: MixedRule = "max") -> float:
    return mac_energy_pj(MacUnit(ANCHOR, mixed=mixed), parse_format(weight), parse_format(activation))


@pytest.mark.parametrize(
    ("weight", "activation", "mixed", "golden"),
    [
        ("INT8", "INT8", "max", 0.344),
        ("INT4", "INT4", "max", 0.125904),
        ("INT6", "INT6", "max", 0.226666),
        ("INT3", "INT7", "max", 0.283443),
        ("INT4", "INT8", "geomean", 0.208113),
        ("INT4", "INT8", "composable", 0.3445),
        ("INT2", "INT2", "composable", 0.0430625),
    ],
)
def test_golden(weight: str, activation: str, mixed: MixedRule, golden: float) -> None:
    assert price(weight, activation, mixed) == pytest.approx(golden, abs=6e-7)


@pytest.mark.parametrize("name", ["UINT4", "INT4_NARROW", "MOONS4", "MOONS4_RELU", "MIDRISE4"])
def test_integer_families_of_one_width_share_a_row(name: str) -> None:
    assert price(name, "INT4") == price("INT4", "INT4")


def test_special_formats() -> None:
    assert price("TERNARY", "INT2") == ANCHOR * DOT32["INT2xINT2"]
    assert price("BIPOLAR", "MOONS1") == ANCHOR * DOT32["BIPOLARxBIPOLAR"]
    assert integer_width(parse_format("BIPOLAR")) == 1


def test_serial_weights_equal_the_parallel_unit_at_equal_widths() -> None:
    assert price("INT4", "INT4", "serial_weights") == pytest.approx(price("INT4", "INT4"))
    assert price("INT2", "INT8", "serial_weights") == pytest.approx(ANCHOR / 4)


@pytest.mark.parametrize("mixed", ["max", "geomean", "composable", "serial_weights"])
def test_more_bits_never_cost_less(mixed: MixedRule) -> None:
    energies = [price(f"INT{bits}", f"INT{bits}", mixed) for bits in range(2, 9)]
    assert all(narrow <= wide for narrow, wide in pairwise(energies))
    for bits in range(2, 8):
        assert price(f"INT{bits}", "INT8", mixed) <= price(f"INT{bits + 1}", "INT8", mixed) + 1e-15


def test_qkeras_fit() -> None:
    assert mul_pj(16) == pytest.approx(0.7833, abs=5e-5)
    assert mul_pj(4) == pytest.approx(0.0521, abs=5e-5)
    unit = MacUnit(0, relative="qkeras", psum_bits=32)
    assert mac_energy_pj(unit, parse_format("INT4"), parse_format("INT8")) == mul_pj(8) + add_pj(32)


def test_a_format_without_a_row_is_an_error_that_names_the_rows_and_the_mend() -> None:
    with pytest.raises(ValueError) as caught:
        price("FLOAT32", "FLOAT32")
    assert str(caught.value) == (
        "no energy for a MAC of FLOAT32 x FLOAT32 (rows: BIPOLARxBIPOLAR, INT2xINT2, INT4xINT4, INT8xINT8, "
        "INT16xINT16, POT4xINT4, SPOT2xINT8, FP16xFP16); add a row under mac.relative of the hardware YAML, "
        'such as {"FLOAT32xFLOAT32": 1.5}'
    )
    unit = MacUnit(1.0, relative={"INT4xINT4": 0.4, "INT8xINT8": 1.0})
    with pytest.raises(ValueError, match=r"INT2 x INT2 \(rows: INT4xINT4, INT8xINT8\)"):
        mac_energy_pj(unit, parse_format("INT2"), parse_format("INT2"))
    with pytest.raises(ValueError, match="a composable unit takes 1 to 8 bits, not INT16 x INT8"):
        price("INT16", "INT8", "composable")


def test_a_row_of_ones_own_mends_it() -> None:
    unit = MacUnit(2.0, relative={**DOT32, "FLOAT32xFLOAT32": 4.0})
    assert mac_energy_pj(unit, parse_format("FLOAT32"), parse_format("FLOAT32")) == 8.0


def test_anchors_name_their_sources() -> None:
    assert all(anchor.energy_pj > 0 and anchor.cite for anchor in INT8_ANCHORS)


SHIFTS = MacUnit(ANCHOR, shift_add=ShiftAdd(0.002, 0.003))


def shifted(weight: str, activation: str = "INT8", **measured: float | int) -> float:
    return mac_energy_pj(SHIFTS, parse_format(weight), parse_format(activation), **measured)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("weight", "terms"), [("POT4", 1), ("POT5_INQ", 1), ("SPOT3", 3), ("APOT4", 2), ("APOT6", 3)]
)
def test_run_time_terms_are_shifts_of_the_input_and_adds_of_the_accumulator(weight: str, terms: int) -> None:
    # formats.md 8: k shifters of input width, k adders of accumulator width
    assert shifted(weight) == pytest.approx(terms * (8 * 0.002 + 32 * 0.003), rel=1e-12)
    assert shifted(weight, "UINT4", accumulator_bits=20) == pytest.approx(
        DOT32["POT4xINT4"] * ANCHOR if weight == "POT4" else terms * (4 * 0.002 + 20 * 0.003), rel=1e-12
    )


def test_measured_terms_scale_the_price() -> None:
    one = shifted("SVA1", terms=1.0)
    assert one == pytest.approx(8 * 0.002 + 32 * 0.003, rel=1e-12)
    for weight in ("SVA1", "APOT4", "POT4"):
        assert shifted(weight, terms=0.0) == 0
        prices = [shifted(weight, terms=0.25 * count) for count in range(12)]
        assert prices == pytest.approx([0.25 * count * one for count in range(12)], rel=1e-12)
        assert prices == sorted(prices)


def test_a_gated_weight_is_one_add() -> None:
    assert shifted("TERNARY", accumulator_bits=24) == shifted("TERNARY", terms=0.4, accumulator_bits=24)
    assert shifted("TERNARY", accumulator_bits=24) == pytest.approx(24 * 0.003, rel=1e-12)
    assert shifted("TERNARY", "TERNARY") == pytest.approx(ANCHOR * 0.141, rel=1e-12)  # a row of its own


@pytest.mark.parametrize(
    ("weight", "activation"),
    [
        *(("INT4", "INT8"), ("BIPOLAR", "BIPOLAR"), ("BIPOLAR", "INT8"), ("FP16", "FP16"), ("INT3", "INT7")),
        *(("POT4", "INT4"), ("SPOT2", "INT8"), ("TERNARY", "INT2")),
    ],
)
def test_pairs_with_a_price_keep_it(weight: str, activation: str) -> None:
    pair = parse_format(weight), parse_format(activation)
    assert not takes_shift_add(SHIFTS, *pair)
    assert mac_energy_pj(SHIFTS, *pair, terms=2.5) == mac_energy_pj(MacUnit(ANCHOR), *pair)


def test_floats_are_not_shifted() -> None:
    with pytest.raises(ValueError, match=r"no energy for a MAC of POT4 x FP16 \(rows: BIPOLARxBIPOLAR"):
        shifted("POT4", "FP16")
    with pytest.raises(ValueError, match=r"no energy for a MAC of POT4 x INT8 \(rows: BIPOLARxBIPOLAR"):
        shift_add_pj(MacUnit(ANCHOR), parse_format("POT4"), parse_format("INT8"))


def test_irregular_weights_need_their_terms() -> None:
    with pytest.raises(ValueError) as error:
        shifted("SVA1.5")
    assert str(error.value) == (
        "no energy for a MAC of SVA1.5 x INT8: the terms of SVA1.5 depend on the weights and were not "
        "measured; price bitjoule.quant.measured_workload(net) of the quantized network, or set "
        "weight_terms of its layers"
    )
