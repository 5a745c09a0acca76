"""Conformance: every preset loads, round-trips, hashes by content, and names the source of every number."""

from pathlib import Path

import pytest

from bitjoule.hardware import Hardware, load, preset_text, presets, scaled

ALL = presets()
HASHES = {
    "braintta22": "fe511b925ecd7c15",
    "moons-1mb": "8550482df35d6373",
    "moons-2mb": "2b356d672ba06c13",
    "moons-4mb": "31af630be4ea29a0",
    "moons-unbounded": "a041d9a551f7e511",
}
"""Stored results of earlier versions are found by these."""


def test_the_presets() -> None:
    assert ALL == (
        "braintta22",
        "eyeriss",
        "eyeriss-timeloop",
        "moons-1mb",
        "moons-2mb",
        "moons-4mb",
        "moons-unbounded",
        "simba",
        "simba-timeloop",
    )


def test_hashes_of_earlier_versions_hold() -> None:
    for name, digest in HASHES.items():
        assert load(name).hash.startswith(f"sha256:{digest}")


@pytest.mark.parametrize("name", ALL)
class TestPreset:
    def test_is_named_like_its_file(self, name: str) -> None:
        assert load(name).name == name

    def test_round_trips(self, name: str) -> None:
        hardware = load(name)
        again = load(hardware.to_mapping())
        assert again == hardware and again.hash == hardware.hash

    def test_every_number_has_a_source(self, name: str) -> None:
        hardware = load(name)
        assert hardware.keys
        for key in hardware.keys:
            provenance = hardware.source_of(key)
            assert provenance.cite and provenance.status, key

    def test_every_provenance_is_used(self, name: str) -> None:
        hardware = load(name)
        used = {id(hardware.source_of(key)) for key in hardware.keys}
        assert {name for name, entry in hardware.provenance.items() if id(entry) in used} == set(
            hardware.provenance
        )

    def test_deserves_no_warning(self, name: str) -> None:
        assert load(name).warnings == ()

    def test_file_and_preset_agree(self, name: str, tmp_path: Path) -> None:
        path = tmp_path / "copy.yaml"
        path.write_text(preset_text(name))
        assert load(path) == load(str(path)) == load(name)

    def test_is_frozen(self, name: str) -> None:
        with pytest.raises(Exception, match="frozen"):
            load(name).name = "other"  # type: ignore[misc]


def edited(name: str, old: str, new: str, tmp_path: Path) -> Hardware:
    text = preset_text(name)
    assert old in text
    path = tmp_path / "edited.yaml"
    path.write_text(text.replace(old, new))
    return load(path)


def test_hash_follows_numbers_not_words(tmp_path: Path) -> None:
    hardware = load("moons-4mb")
    assert len({load(name).hash for name in ALL}) == len(ALL)
    assert edited("moons-4mb", "# The closed form", "# A closed form", tmp_path).hash == hardware.hash
    assert edited("moons-4mb", "sections II and III", "elsewhere", tmp_path).hash == hardware.hash
    assert edited("moons-4mb", "dram_ratio: 128 ", "dram_ratio: 128.0 ", tmp_path).hash == hardware.hash
    assert edited("moons-4mb", "dram_ratio: 128 ", "dram_ratio: 129 ", tmp_path).hash != hardware.hash


def test_moons_presets_are_the_defaults_of_the_schema() -> None:
    base = {"schema": "bitjoule.hardware/1", "name": "moons-4mb", "kind": "moons"}
    bare = load({**base, "provenance": {"x": {"status": "assumed", "cite": "x"}}, "moons": {"source": "x"}})
    assert bare.hash == load("moons-4mb").hash


def test_braintta_prices_follow_from_the_published_points() -> None:
    # energy.md 4.3: per 32-bit word O + k*E_dp through BIPOLAR (35 fJ/op) and INT8 (405 fJ/op); 1 MAC = 2 op.
    tta = load("braintta22").tta
    assert tta is not None
    dot = {"BIPOLAR": 1.636, "INT2": 3.073, "INT4": 3.985, "INT8": 5.449}
    macs = {"BIPOLAR": 1024, "TERNARY": 512, "INT2": 512, "INT4": 256, "INT8": 128}
    binary, eight = 2 * 1024 * 35e-3 / 32, 2 * 128 * 405e-3 / 32
    k = (eight - binary) / (dot["INT8"] - dot["BIPOLAR"])
    overhead = binary - k * dot["BIPOLAR"]
    assert (k, overhead) == pytest.approx((0.2622607, 1.8109415), abs=5e-8)
    assert tta.e_overhead_pj == pytest.approx(32 * overhead, rel=1e-12)
    for name in dot:
        assert getattr(tta.e_cycle_pj, name) == pytest.approx(32 * (overhead + k * dot[name]), rel=1e-12)
    femto = {name: 1000 * getattr(tta.e_cycle_pj, name) / (2 * count) for name, count in macs.items()}
    assert femto == pytest.approx(
        {"BIPOLAR": 35, "TERNARY": 67, "INT2": 81.78, "INT4": 178.50, "INT8": 405}, abs=6e-3
    )
    milliwatt = {name: price * 300e6 * 1e-9 for name, price in tta.e_cycle_pj}
    assert [milliwatt[n] for n in ("BIPOLAR", "TERNARY", "INT8")] == pytest.approx(
        [21.50, 20.58, 31.10], abs=6e-3
    )


def test_scaled_changes_the_chip_and_not_the_dram() -> None:
    core, small = load("braintta22"), scaled(load("braintta22"), 16)
    assert core.tta is not None and small.tta is not None and small.technology is not None
    assert pytest.approx(0.590082, abs=1e-6) == small.tta.e_cycle_pj.INT8 / core.tta.e_cycle_pj.INT8
    assert small.tta.dram_pj_per_bit == core.tta.dram_pj_per_bit
    assert (small.technology.node_nm, small.technology.freq_mhz) == (16, 300)
    assert all("22 nm 0.8 V -> 16 nm 0.8 V, x0.590082" in entry.cite for entry in small.provenance.values())
    back = scaled(small, 22)
    assert back.tta is not None and back.tta.e_overhead_pj == pytest.approx(core.tta.e_overhead_pj, rel=1e-15)


def test_scaled_needs_a_technology() -> None:
    with pytest.raises(
        ValueError, match="hardware 'moons-4mb' names no technology to scale from; add technology"
    ):
        scaled(load("moons-4mb"), 28)
    closed = load(
        {**load("moons-4mb").to_mapping(), "technology": {"node_nm": 45, "vdd_v": 0.8, "freq_mhz": 200}}
    )
    small = scaled(closed, 22)
    assert closed.moons is not None and small.moons is not None
    dram = [section.dram_ratio * section.e_mac16_pj for section in (closed.moons, small.moons)]
    assert dram[0] == pytest.approx(dram[1], rel=1e-15)
    assert small.moons.e_mac16_pj == pytest.approx(3.7 * 0.294108, rel=1e-6)
