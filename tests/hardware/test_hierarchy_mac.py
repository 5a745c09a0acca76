"""MAC units of kind `hierarchy`: the golden energies through a description, throughput, other kinds."""

import pytest

from bitjoule.formats import parse_format
from bitjoule.hardware import is_shift_add, load, mac_energy_of, mac_unit_of, macs_per_cycle_of, scaled
from bitjoule.hardware.mac_units import add_pj, mul_pj
from tests.hardware.hierarchy_documents import faults_of, small


def price(weight: str, activation: str, **mac: object) -> float:
    document = small()
    document["mac"] |= mac
    return mac_energy_of(load(document), parse_format(weight), parse_format(activation))


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
def test_golden_energies(weight: str, activation: str, mixed: str, golden: float) -> None:
    assert price(weight, activation, mixed=mixed) == pytest.approx(golden, abs=6e-7)  # energy.md 3.1


def test_a_table_of_ones_own() -> None:
    table = {"INT8xINT8": 1.0, "INT4xINT4": 0.25, "FP8_E4M3xINT8": 2.0}
    assert price("INT4", "INT4", relative=table) == 0.344 * 0.25
    with pytest.raises(ValueError, match=r"no energy for a MAC of INT2 x INT2 \(rows: INT8xINT8, INT4xINT4"):
        price("INT2", "INT2", relative=table)


def test_constant_asks_for_no_format() -> None:
    for name in ("BIPOLAR", "INT8", "FLOAT32"):
        assert price(name, name, relative="constant") == 0.344
        assert mac_energy_of(load("simba-timeloop"), parse_format(name), parse_format(name)) == 0.315


def test_the_fit_adds_at_the_width_of_the_partial_sums() -> None:
    document = small()
    document["mac"]["relative"] = "qkeras"
    int4, int8 = parse_format("INT4"), parse_format("INT8")
    assert mac_energy_of(load(document), int4, int8) == mul_pj(8) + add_pj(32)
    assert mac_energy_of(load(document | {"psum_bits": 24}), int4, int8) == mul_pj(8) + add_pj(24)


def test_the_fit_at_another_node_is_a_table() -> None:
    document = small()
    document["mac"]["relative"] = "qkeras"
    fitted = load(document)
    smaller = scaled(fitted, 22)
    for weight, activation in (("INT4", "INT8"), ("INT16", "INT16"), ("BIPOLAR", "INT2"), ("INT7", "INT7")):
        formats = parse_format(weight), parse_format(activation)
        ratio = mac_energy_of(smaller, *formats) / mac_energy_of(fitted, *formats)
        assert ratio == pytest.approx(0.294108, rel=1e-5)


@pytest.mark.parametrize("mixed", ["max", "geomean", "composable", "serial_weights"])
def test_every_rule_scales_with_the_node(mixed: str) -> None:
    document = small()
    document["mac"]["mixed"] = mixed
    formats = parse_format("INT4"), parse_format("INT8")
    ratio = mac_energy_of(scaled(load(document), 22), *formats) / mac_energy_of(load(document), *formats)
    assert ratio == pytest.approx(0.294108, rel=1e-5)


def test_throughput() -> None:
    document = small()
    document["mac"]["macs_per_cycle"] = {"default": 1, "INT4xINT4": 2}
    hardware = load(document)
    int4, int8 = parse_format("INT4"), parse_format("INT8")
    assert macs_per_cycle_of(hardware, int4, int4) == 2
    assert macs_per_cycle_of(hardware, parse_format("INT4_NARROW"), parse_format("UINT4")) == 2
    assert macs_per_cycle_of(hardware, int4, int8) == 1
    assert macs_per_cycle_of(load(small()), int4, int4) == 1


def test_serial_units_take_a_bit_of_the_weights_a_cycle() -> None:
    document = small()
    document["mac"] |= {"mixed": "serial_weights", "macs_per_cycle": {"default": 8}}
    hardware = load(document)
    int8 = parse_format("INT8")
    assert macs_per_cycle_of(hardware, parse_format("INT2"), int8) == 4
    assert macs_per_cycle_of(hardware, int8, int8) == 1


def test_other_kinds_have_no_units() -> None:
    text = "hardware 'moons-4mb' is of kind moons and describes no MAC units; take one of kind hierarchy"
    with pytest.raises(ValueError, match=text):
        mac_unit_of(load("moons-4mb"))


FITS = {"shift_pj_per_bit": 0.0015625, "add_pj_per_bit": 0.003125}


def with_shifts(**mac: object) -> dict[str, object]:
    document = small()
    document["mac"] |= {"shift_add": FITS, **mac}
    return document


def test_shifts_and_adds_by_a_key() -> None:
    plain, shifts = load(small()), load(with_shifts())
    spot3, int8, int4 = (parse_format(name) for name in ("SPOT3", "INT8", "INT4"))
    assert mac_energy_of(shifts, spot3, int8, accumulator_bits=24) == pytest.approx(3 * (0.0125 + 0.075))
    assert mac_energy_of(shifts, spot3, int8) == pytest.approx(3 * (0.0125 + 0.1))  # auto: 32 bits
    assert mac_energy_of(shifts, int4, int8) == mac_energy_of(plain, int4, int8)
    assert (is_shift_add(shifts, spot3, int8), is_shift_add(plain, spot3, int8)) == (True, False)
    with pytest.raises(ValueError, match="no energy for a MAC of SPOT3 x INT8"):
        mac_energy_of(plain, spot3, int8, terms=1.0)
    assert "mac.shift_add" in shifts.keys and "mac.shift_add" not in plain.keys
    assert shifts.source_of("mac.shift_add").cite == "a test"
    assert shifts.hash != plain.hash


def test_shifts_scale_with_the_node() -> None:
    hardware = load(with_shifts())
    formats = parse_format("SPOT3"), parse_format("INT8")
    ratio = mac_energy_of(scaled(hardware, 22), *formats) / mac_energy_of(hardware, *formats)
    assert ratio == pytest.approx(0.294108, rel=1e-5)


def test_faults_of_shifts() -> None:
    never = "mac.shift_add is never read: mac.relative is constant, every MAC costs the anchor; keep one"
    assert faults_of(with_shifts(relative="constant")) == [never]
    assert faults_of(with_shifts(shift_add={"add_pj_per_bit": 0, "shift_pj_per_bit": 0, "adds": 1})) == [
        "mac.shift_add.add_pj_per_bit must be > 0, not 0",
        "mac.shift_add.adds is not a key (keys: shift_pj_per_bit, add_pj_per_bit)",
    ]
