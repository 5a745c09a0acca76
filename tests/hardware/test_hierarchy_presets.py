"""The shipped hierarchies hold the numbers of energy.md 4.1 and 4.2, and of the files they come from."""

import math
from pathlib import Path

import pytest

from bitjoule.hardware import Hardware, energy_factor, load, memory_energy_pj, scaled

KIB = 8192
SPECIFICATION = """
schema: bitjoule.hardware/1
name: eyeriss
kind: hierarchy
technology: {node_nm: 65, vdd_v: 1.0, freq_mhz: 200}
provenance:
  isca16: {status: published, cite: "a"}
  jssc17: {status: published, cite: "b"}
  anchor: {status: derived, cite: "c"}
mac:
  count: 168
  anchor_pj: 0.37165                  # INT8; INT16 = 2.96 * anchor = 1.1001
  relative: dot32
  mixed: max
  macs_per_cycle: {default: 1}
  source: anchor
psum_bits: 16
packing: floor
levels:
  - {name: dram, size_bits: unbounded, word_bits: 16, width_bits: 64, keeps: [weights, inputs, outputs],
     read_pj: 880, write_pj: 880, read_words_per_cycle: 1.2, write_words_per_cycle: 1.2, source: isca16}
  - {name: glb, size_bits: 819200, word_bits: 16, width_bits: 64, keeps: [inputs, outputs],
     bypass_allowed: [inputs, outputs],
     read_pj: 26.4, write_pj: 26.4, noc_pj_per_word: 2.2, residency: true, source: isca16,
     fanout: {x: {size: 14, dims: [K, Q]}, y: {size: 12, dims: [C, S, K]}}}
  - {name: ifmap_rf, size_bits: 192, word_bits: 16, width_bits: 16, keeps: [inputs], temporal_dims: [],
     read_pj: 1.1, write_pj: 1.1, source: isca16}
  - {name: filter_rf, size_bits: 3584, word_bits: 16, width_bits: 16, keeps: [weights], temporal_dims: [C, R],
     read_pj: 1.1, write_pj: 1.1, source: isca16}
  - {name: psum_rf, size_bits: 384, word_bits: 16, width_bits: 16, keeps: [outputs], temporal_dims: [K],
     read_pj: 1.1, write_pj: 1.1, source: isca16}
ops: {relative: qkeras45, scale_to_node: true, source: anchor}
"""


def test_eyeriss_is_the_example_of_the_specification(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(SPECIFICATION)
    assert load(path).hash == load("eyeriss").hash


def test_eyeriss_energies_are_the_published_ratios() -> None:
    hardware = load("eyeriss")
    mac16 = 1.1
    per_word = {level.name: level.read_energy_pj * 16 / (level.width_bits or 0) for level in hardware.levels}
    assert per_word == pytest.approx(
        {"dram": 200 * mac16, "glb": 6 * mac16, "ifmap_rf": mac16, "filter_rf": mac16, "psum_rf": mac16}
    )
    assert hardware.level("glb").noc_pj_per_word == 2 * mac16
    assert hardware.level("dram").read_energy_pj / 64 == 13.75
    assert [hardware.level(name).words for name in ("ifmap_rf", "filter_rf", "psum_rf")] == [12, 224, 24]


def instances(hardware: Hardware) -> dict[str, int]:
    sizes = [level.fanout.size for level in hardware.levels]
    return {level.name: math.prod(sizes[:index]) for index, level in enumerate(hardware.levels)}


TIMELOOP = {
    "eyeriss-timeloop": {
        "DRAM": (None, 64, 1, 512.0, 512.0, 0.0, 1),
        "shared_glb": (131072, 64, 1, 18.183829, 14.137929, 0.005652, 1),
        "ifmap_spad": (24, 16, 1, 0.202442, 0.176713, 0.000101, 168),
        "weights_spad": (384, 16, 1, 1.976602, 1.881657, 0.001592, 168),
        "psum_spad": (16, 16, 1, 0.2513, 0.2191, 0.000134, 168),
    },
    "simba-timeloop": {
        "DRAM": (None, 64, 1, 512.0, 512.0, 0.0, 1),
        "GlobalBuffer": (65536, 256, 1, 51.870888, 66.310888, 0.003241, 1),
        "PEInputBuffer": (65536, 64, 1, 242.079552, 241.503552, 0.207488, 16),
        "PEWeightBuffer": (32768, 64, 1, 121.36387, 120.78787, 0.104535, 64),
        "PEAccuBuffer": (128, 24, 1, 3.091057, 2.875058, 0.003416, 64),
        "PEWeightRegs": (1, 512, 64, 0.259899, 0.080139, 0.000169, 256),
    },
}


@pytest.mark.parametrize("name", TIMELOOP)
def test_timeloop_designs(name: str) -> None:
    hardware = load(name)
    count = instances(hardware)
    found = {
        level.name: (level.words, level.width_bits, level.cluster, level.read_energy_pj,
                     level.write_energy_pj, level.leak_pj_per_cycle, count[level.name])
        for level in hardware.levels
        if level.stores
    }  # fmt: skip
    assert found == TIMELOOP[name]
    for level in hardware.levels:
        assert level.update_pj in (None, level.write_energy_pj)


def test_simba_follows_from_its_tables() -> None:
    hardware = load("simba")
    factor = energy_factor(22, 16)
    for name, kibibytes in (("glb", 64), ("pe_weights", 32), ("pe_inputs", 8)):
        level = hardware.level(name)
        assert level.size_bits == kibibytes * KIB
        expected = [price * factor for price in memory_energy_pj(22, kibibytes * KIB, 64)]
        assert [level.read_pj, level.write_pj] == pytest.approx(expected, rel=3e-4)
    row = [price * factor * 24 / 64 for price in memory_energy_pj(22, 4 * KIB, 64)]
    sums = hardware.level("pe_sums")
    assert [sums.read_pj, sums.write_pj] == pytest.approx(row, abs=6e-3)
    assert hardware.mac is not None
    assert hardware.mac.anchor_pj == pytest.approx(0.344 * energy_factor(45, 16), rel=1e-3)
    assert instances(hardware)["pe_sums"] == 16 and hardware.mac.count == 1024
    assert sums.size_bits == 3 * KIB and sums.words == 1024


@pytest.mark.parametrize("name", ["eyeriss", "simba-timeloop"])
def test_scaling_leaves_dram_alone(name: str) -> None:
    hardware = load(name)
    assert hardware.technology is not None
    factor = energy_factor(hardware.technology.node_nm, 28, from_vdd_v=hardware.technology.vdd_v)
    smaller = scaled(hardware, 28)
    assert smaller.levels[0] == hardware.levels[0]
    for old, new in zip(hardware.levels[1:], smaller.levels[1:], strict=True):
        for key in ("read_energy_pj", "write_energy_pj", "leak_pj_per_cycle", "noc_pj_per_word"):
            assert getattr(new, key) == pytest.approx(getattr(old, key) * factor, rel=1e-12)
        assert new.words == old.words
    assert hardware.mac is not None and smaller.mac is not None
    assert smaller.mac.anchor_pj == pytest.approx((hardware.mac.anchor_pj or 0) * factor, rel=1e-12)
    assert all("scaled on chip, Stillmaker 2017" in entry.cite for entry in smaller.provenance.values())
