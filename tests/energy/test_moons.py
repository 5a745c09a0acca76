"""The closed form of Moons et al. 2017 against the golden numbers of energy.md 2.2 and studies.md S1."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitjoule.energy import Cost, moons
from bitjoule.formats import parse_tensor_format
from bitjoule.hardware import Hardware, load
from bitjoule.workload import Layer, Workload
from tests.energy.networks import mixed_reference_net, moons_net, reference_net

WIDTHS = (1, 2, 4, 8, 16)
UNIFORM = 1e-12
GOLDEN = 1e-6


def hardware(**parameters: object) -> Hardware:
    document = dict(load("moons-4mb").to_mapping())
    return load({**document, "moons": {**document["moons"], **parameters}})  # type: ignore[dict-item]


def parts(cost: Cost) -> tuple[float, float, float, float]:
    """E_DRAM, E_C, E_W, E_A."""
    by = cost.by("component", "tensor")

    def total(*groups: tuple[str, str]) -> float:
        return math.fsum(by.get(group, 0.0) for group in groups)

    return (
        cost.by("component").get(("moons:dram",), 0.0),
        cost.by("component")[("moons:compute",)],
        total(("moons:main", "weights"), ("moons:local", "weights")),
        total(("moons:main", "outputs"), ("moons:local", "inputs")),
    )


def fetched_words(cost: Cost, bits: int) -> float:
    return (
        sum(i.bits_moved for i in cost.items if (i.component, i.tensor) == ("moons:dram", "weights")) / bits
    )


def test_counts_of_the_reference_net() -> None:
    net = reference_net(4)
    assert net.macs == 266_051_584
    assert net.weight_elements + net.bias_elements == 1_960_960
    assert net.output_elements == 344_074


# energy.md 2.2, 4 Mb, pJ: Q, s_re, E_DRAM, E_C, E_W, E_A, E_inf [derived, two implementations]
TABLE = [
    (1, 0, 363_724.800, 30_881_565.069, 1_414_791.200, 1_120_453.425, 33_780_534.494),
    (2, 912_384, 32_548_945.035, 73_449_153.804, 4_312_023.734, 3_611_966.582, 113_922_089.156),
    (4, 1_436_672, 120_794_637.348, 174_692_512.590, 13_441_310.214, 11_776_284.320, 320_704_744.472),
    (8, 1_698_816, 338_887_207.548, 415_491_157.820, 42_683_811.905, 38_723_690.627, 835_785_867.901),
    (16, 1_829_888, 867_362_406.400, 988_210_082.200, 137_559_961.600, 128_141_152.800, 2_121_273_603.000),
]


@pytest.mark.parametrize(("bits", "s_re", "e_dram", "e_c", "e_w", "e_a", "e_inf"), TABLE)
def test_golden_table(
    bits: int, s_re: int, e_dram: float, e_c: float, e_w: float, e_a: float, e_inf: float
) -> None:
    cost = moons(reference_net(bits), load("moons-4mb"))
    assert parts(cost) == pytest.approx((e_dram, e_c, e_w, e_a), rel=GOLDEN)
    assert cost.energy_pj == pytest.approx(e_inf, rel=GOLDEN)
    assert fetched_words(cost, bits) == pytest.approx(s_re, abs=10)


@pytest.mark.parametrize(
    ("preset", "golden"),
    [
        ("moons-1mb", (55.043280, 141.604913, 353.625355, 914.084717, 2354.057475)),
        ("moons-2mb", (47.283818, 132.377305, 342.651818, 861.885484, 2245.425001)),
        ("moons-unbounded", (33.780534, 81.805688, 200.424492, 497.510370, 1254.638646)),
    ],
)
def test_golden_memories(preset: str, golden: tuple[float, ...]) -> None:
    energies = [moons(reference_net(bits), load(preset)).energy_uj for bits in WIDTHS]
    assert energies == pytest.approx(golden, rel=GOLDEN)


def test_feature_maps_spill_at_one_megabit_only() -> None:
    def spilled(preset: str, bits: int) -> int:
        items = moons(reference_net(bits), load(preset)).items
        return sum(i.count for i in items if (i.component, i.tensor) == ("moons:dram", "outputs")) // 2

    assert [spilled("moons-1mb", bits) for bits in (4, 8, 16)] == [0, 98_304, 196_608]
    assert [spilled("moons-2mb", bits) for bits in (4, 8)] == [0, 0]


@pytest.mark.parametrize(
    ("rule", "weights", "e_inf", "e_dram"),
    [
        ("geomean", None, 327_413_697.232, 125_471_263.048),
        ("max", None, 327_437_372.684, 125_471_263.048),
        ("geomean", "BIPOLAR", 85_215_025.068, 611_709.761),
    ],
)
def test_golden_mixed_widths(rule: str, weights: str | None, e_inf: float, e_dram: float) -> None:
    cost = moons(mixed_reference_net(weights), hardware(mac_width_rule=rule))
    assert cost.energy_pj == pytest.approx(e_inf, rel=GOLDEN)
    assert cost.dram_pj == pytest.approx(e_dram, rel=GOLDEN)


def test_refetched_words_of_the_mixed_net() -> None:
    cost = moons(mixed_reference_net(), load("moons-4mb"))
    fetched = [i for i in cost.items if (i.component, i.tensor) == ("moons:dram", "weights")]
    assert sum(item.count for item in fetched) == pytest.approx(1_447_858.418, abs=5)


# energy.md 2.2, sensitivity at 4 Mb, uJ for Q = 1, 4, 8 [derived]
@pytest.mark.parametrize(
    ("parameters", "golden"),
    [
        ({"e_mac16_pj": 3.4}, (31.042, 294.702, 768.019)),
        ({"dram_ratio": 100}, (33.701, 294.281, 761.654)),
        ({"dram_ratio": 200}, (33.985, 388.652, 1026.410)),
        ({"exponent": 1, "e_mac16_pj": 3.6}, (65.735, 441.287, 967.060)),
        ({"weight_share": 0.75}, (33.781, 298.758, 809.686)),
        ({"on_chip_bits": 8 * 2**20}, (33.781, 276.811, 783.587)),
        ({"on_chip_bits": 4_000_000}, (33.781, 322.738, 838.204)),
    ],
)
def test_golden_sensitivity(parameters: dict[str, object], golden: tuple[float, ...]) -> None:
    energies = [moons(reference_net(bits), hardware(**parameters)).energy_uj for bits in (1, 4, 8)]
    assert energies == pytest.approx(golden, abs=6e-4)


# studies.md S1, the five authors' points: MMAC, model Mb (2^20 bits), uJ at 1 / 4 / 100 Mb [derived]
FIVE_POINTS = [
    ((1, 1, 1), (64, 64, 64), 1, 13.576, 0.082, (2.121, 2.121, 2.121)),
    ((1, 1, 1), (64, 64, 64), 4, 13.576, 0.328, (11.010, 11.010, 11.010)),
    ((2, 3, 3), (64, 128, 128), 4, 162.222, 3.323, (184.131, 151.210, 122.185)),
    ((3, 3, 3), (256, 256, 256), 1, 1781.309, 4.548, (283.957, 260.679, 221.139)),
    ((3, 3, 3), (256, 256, 256), 4, 1781.309, 18.19, (1809.261, 1677.579, 1322.225)),
]


@pytest.mark.parametrize(("depths", "filters", "bits", "mmac", "megabits", "golden"), FIVE_POINTS)
def test_the_five_authors_points(
    depths: tuple[int, ...],
    filters: tuple[int, ...],
    bits: int,
    mmac: float,
    megabits: float,
    golden: tuple[float, ...],
) -> None:
    net = moons_net(depths, filters, bits)
    assert net.macs / 1e6 == pytest.approx(mmac, abs=6e-4)
    assert (net.weight_elements + net.bias_elements) * bits / 2**20 == pytest.approx(megabits, rel=4e-3)
    memories = (load("moons-1mb"), load("moons-4mb"), hardware(on_chip_bits=100 * 2**20))
    assert [moons(net, memory).energy_uj for memory in memories] == pytest.approx(golden, abs=6e-4)


@pytest.mark.parametrize(
    ("depths", "filters", "golden"),
    [
        ((1, 1, 1), (64, 64, 64), (2.121, 4.709, 11.010, 26.669, 66.381)),
        ((2, 3, 3), (64, 128, 128), (20.700, 49.955, 151.210, 424.294, 1114.446)),
        ((3, 3, 3), (256, 256, 256), (260.679, 669.161, 1677.579, 4341.641, 11056.401)),
    ],
)
def test_same_topologies_at_every_width(
    depths: tuple[int, ...], filters: tuple[int, ...], golden: tuple[float, ...]
) -> None:
    energies = [moons(moons_net(depths, filters, bits), load("moons-4mb")).energy_uj for bits in WIDTHS]
    assert energies == pytest.approx(golden, abs=6e-4)


def test_s1_8_one_topology_int8_over_int4() -> None:
    # studies.md S1.8: without DRAM 2.42 to 2.49; at 1 Mb 1_64 x3 rises from 2.42 to 3.98. V6: 2.5x.
    def ratio(preset: str, depths: tuple[int, ...], filters: tuple[int, ...]) -> float:
        eight, four = (moons(moons_net(depths, filters, bits), load(preset)).energy_pj for bits in (8, 4))
        return eight / four

    small = ((1, 1, 1), (64, 64, 64))
    topologies = (
        small,
        ((2, 3, 3), (64, 128, 128)),
        ((3, 3, 3), (256, 256, 256)),
        ((3, 3, 3), (64, 128, 256)),
    )
    assert all(2.42 <= ratio("moons-unbounded", *topology) <= 2.49 for topology in topologies)
    assert ratio("moons-unbounded", *small) == pytest.approx(2.42, rel=1e-3)
    assert ratio("moons-1mb", *small) == pytest.approx(43.772 / 11.010, rel=1e-3)
    assert round(ratio("moons-1mb", *small), 2) == 3.98
    at_1mb = [moons(moons_net(*small, bits), load("moons-1mb")).energy_uj for bits in (8, 16)]
    assert at_1mb == pytest.approx((43.772, 138.095), abs=6e-4)


def uniform_reference(net: Workload, bits: int, hw: Hardware) -> tuple[float, float, float, float]:
    """Equations (3)-(5) as printed, for one width: the slow obvious oracle."""
    section = hw.moons
    assert section is not None
    e = section.e_mac16_pj * (bits / 16) ** section.exponent
    n_c, a_s = net.macs, net.output_elements
    n_s = net.weight_elements + net.bias_elements
    p = section.p16 * 16 / bits
    n_in = net.layers[0].input_elements
    if section.on_chip_bits == "unbounded":
        s_re = f_re = 0.0
    else:
        room = (1 - section.weight_share) * (1 - section.input_share) * section.on_chip_bits / bits
        s_re = max(0.0, n_s - section.weight_share * section.on_chip_bits / bits)
        f_re = sum(max(0.0, layer.output_elements - room) for layer in net.layers)
    return (
        section.dram_ratio * e * (n_in * section.input_bits / bits + 2 * f_re + s_re),
        e * (n_c + 3 * a_s),
        section.main_ratio * e * n_s + section.local_ratio * e * n_c / math.sqrt(p),
        2 * section.main_ratio * e * a_s + section.local_ratio * e * n_c / math.sqrt(p),
    )


@settings(max_examples=60, deadline=None)
@given(
    bits=st.integers(1, 16),
    depths=st.tuples(*[st.integers(1, 3)] * 3),
    filters=st.tuples(*[st.integers(1, 96)] * 3),
    on_chip=st.one_of(st.just("unbounded"), st.integers(1, 2**22)),
    exponent=st.floats(0.5, 2),
    weight_share=st.floats(0.05, 0.95),
)
def test_one_width_is_the_papers_form(
    bits: int,
    depths: tuple[int, ...],
    filters: tuple[int, ...],
    on_chip: object,
    exponent: float,
    weight_share: float,
) -> None:
    net = moons_net(depths, filters, bits)
    hw = hardware(on_chip_bits=on_chip, exponent=exponent, weight_share=weight_share)
    cost, golden = moons(net, hw), uniform_reference(net, bits, hw)
    assert parts(cost)[1:] == pytest.approx(golden[1:], rel=UNIFORM)
    # s_re cancels when it barely does not fit: compare against the largest term
    assert parts(cost)[0] == pytest.approx(golden[0], rel=UNIFORM, abs=1e-12 * sum(golden))
    assert cost.energy_pj == pytest.approx(math.fsum(golden), rel=UNIFORM)


def test_rules_are_parameters() -> None:
    net = reference_net(4)
    base = moons(net, load("moons-1mb"))
    every = moons(net, hardware(s_re_rule="all"))
    words = net.weight_elements + net.bias_elements
    assert fetched_words(every, 4) == words
    assert fetched_words(moons(reference_net(1), hardware(s_re_rule="all")), 1) == 0  # everything fits
    silent = moons(reference_net(16), hardware(on_chip_bits=2**20, f_re_rule="none"))
    assert not [i for i in silent.items if (i.component, i.tensor) == ("moons:dram", "outputs")]
    bare = moons(net, hardware(on_chip_bits=2**20, biases_counted=False))
    assert bare.energy_pj < base.energy_pj
    sliced = moons(net, hardware(first_layer_slices=True))
    macs = {
        item.layer: item.count
        for item in sliced.items
        if item.component == "moons:compute" and item.tensor == "none"
    }
    assert macs["block1.conv1"] == 2 * net.layers[0].macs and macs["block1.conv2"] == net.layers[1].macs
    assert sliced.macs["block1.conv1"] == net.layers[0].macs


def test_image_slices_and_logits_follow_the_papers_counting() -> None:
    # An 8-bit image read by MOONS4 weights is consumed in 4-bit slices, whatever format the image has.
    net = reference_net(4)
    first = replace(net.layers[0], input_format=parse_tensor_format("INT8"))
    wide = replace(net, layers=(first, *net.layers[1:]))
    assert moons(wide, load("moons-4mb")) == moons(net, load("moons-4mb"))
    # Logits (INT32 accumulators) count at the wider operand.
    last = replace(net.layers[-1], output_format=parse_tensor_format("MOONS4"))
    narrow = replace(net, layers=(*net.layers[:-1], last))
    assert moons(narrow, load("moons-4mb")).energy_pj == moons(net, load("moons-4mb")).energy_pj


def test_an_image_read_twice_is_fetched_once() -> None:
    net = moons_net((1,), (8,), 8)
    twin = replace(net.layers[0], name="twin", output="twin.out")
    both = moons(replace(net, layers=(*net.layers, twin)), load("moons-4mb"))
    fetched = [item for item in both.items if (item.component, item.tensor) == ("moons:dram", "inputs")]
    assert [item.layer for item in fetched] == ["block1.conv1"]


def test_floats_are_marked_as_extrapolated() -> None:
    layer = Layer("fc", "linear", 1, 10, 20, 1, 1, 1, 1)
    cost = moons(Workload("n", "float32", (layer,)), load("moons-4mb"))
    assert "model extrapolated: FLOAT32 by storage bits, the paper has integers of 1 to 16" in cost.notes
    integers = moons(reference_net(16), load("moons-4mb"))
    assert len(integers.notes) == 1
    for rule in ("s_re_rule excess", "f_re_rule output_excess", "mac_width_rule geomean", "weight_share 0.5"):
        assert rule in integers.notes[0]


def test_latency_is_a_full_array() -> None:
    cost = moons(reference_net(4), load("moons-4mb"))
    assert cost.latency_cycles["classifier"] == math.ceil(40_960 / 256)
    assert sum(cost.latency_cycles.values()) == cost.total_cycles


def test_another_kind_of_hardware_is_refused() -> None:
    with pytest.raises(
        ValueError, match="hardware 'braintta22' is of kind tta, the closed form needs kind moons"
    ):
        moons(reference_net(4), load("braintta22"))
