"""What there is, as text and as JSON; hardware files checked with all faults at once."""

import json
from pathlib import Path

import pytest

from bitjoule.hardware import load, preset_text, presets
from tests.cli.run import bitjoule


@pytest.mark.parametrize(
    ("command", "key"),
    [
        (("hardware", "list"), "hardware"),
        (("formats", "list"), "formats"),
        (("formats", "show", "INT4_NARROW"), "format"),
        (("hardware", "show", "moons-4mb"), "hardware"),
        (("hardware", "show", "eyeriss"), "numbers"),
        (("data", "list"), "kinds"),
        (("data", "index", "digits"), "data"),
        (("networks",), "networks"),
        (("doctor",), "findings"),
    ],
)
def test_text_and_json(command: tuple[str, ...], key: str) -> None:
    document = json.loads(bitjoule(*command, "--json").stdout)
    assert document["bitjoule"] == 1
    assert document[key]
    assert bitjoule(*command).stdout.strip()


def test_every_preset_shows_its_own_yaml() -> None:
    for name in presets():
        assert bitjoule("hardware", "show", name, "--yaml").stdout == preset_text(name)
    assert bitjoule("hardware", "show", "moons-4mb").stdout == preset_text("moons-4mb")


def cells(line: str) -> list[str]:
    return line.split()


def test_a_hierarchy_is_shown_as_tables() -> None:
    lines = bitjoule("hardware", "show", "eyeriss").stdout.splitlines()
    assert lines[0] == "eyeriss (hierarchy, 65 nm 1 V 200 MHz), psum_bits 16, packing floor"
    rows = [cells(line) for line in lines]
    assert [
        "dram",
        "W",
        "I",
        "O",
        "unbounded",
        "16",
        "64",
        "880",
        "880",
        "13.75",
        "1.2",
        "/",
        "1.2",
        "-",
        "1",
    ] in rows
    glb = "glb I O 100 16 64 26.4 26.4 0.4125 any 14 KQ x 12 CSK 1"
    assert glb.split() in rows
    assert ["mac", "0.37165", "168"] in rows
    assert ["levels.glb.size_bits", "819200", "published", "jssc17"] in rows
    assert "jssc17 (published): Chen et al., JSSC 52(1), 2017, sizes and array" in lines
    assert ["inter_PE_spatial", "(fan-out)", "12", "GKCS", "14"] in [
        cells(line) for line in bitjoule("hardware", "show", "eyeriss-timeloop").stdout.splitlines()
    ]


def test_every_number_of_a_hierarchy_in_json() -> None:
    document = json.loads(bitjoule("hardware", "show", "simba", "--json").stdout)
    numbers = document["numbers"]
    assert set(numbers) == set(load("simba").keys)
    assert numbers["levels.glb.read_pj"]["value"] == 3.3455
    assert numbers["levels.glb.read_pj"]["source"] == "cacti"
    assert numbers["levels.glb.banks"] == {
        "value": 1, "given": False, "source": "default", "status": "assumed", "cite": "one bank",
    }  # fmt: skip
    assert document["warnings"] == []


def test_checking_a_hierarchy_lists_faults_and_warnings(tmp_path: Path) -> None:
    odd, bad = tmp_path / "odd.yaml", tmp_path / "bad.yaml"
    odd.write_text(preset_text("eyeriss").replace("read_pj: 880", "read_pj: 64"))
    bad.write_text(
        preset_text("eyeriss").replace("count: 168", "count: 100").replace("size_bits: 192", "size_bit: 192")
    )
    said = bitjoule("hardware", "check", str(odd)).stdout.splitlines()
    assert [line.replace(str(odd), "odd.yaml")[:21] for line in said] == ["odd.yaml: ok, sha256:"]
    odd.write_text(preset_text("eyeriss").replace("read_pj: 26.4", "read_pj: 1000"))
    said = bitjoule("hardware", "check", str(odd)).stdout.splitlines()
    assert said[1] == (
        "  warning: levels: a read of 'dram' costs 13.75 pJ per bit, less than one of 'glb' inside it "
        "(15.62); are both in pJ per access of width_bits?"
    )
    assert json.loads(bitjoule("hardware", "check", str(odd), "--json").stdout)["files"][0]["warnings"]
    assert bitjoule("hardware", "check", str(bad), code=2).stderr.replace(
        str(bad), "bad.yaml"
    ).splitlines() == [
        "error: bad.yaml: 3 faults",
        "  mac.count must be the product of the fan-outs, 168 (glb 14 x 12), not 100",
        "  levels[2].size_bit is not a key; did you mean size_bits?",
        "  levels[2].size_bits is missing; the bits of one instance, or unbounded",
    ]


def test_levels_of_a_format() -> None:
    assert "levels: -3 -2 -1 0 1 2 3" in bitjoule("formats", "show", "INT3_NARROW").stdout


def test_checking_files(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(preset_text("moons-2mb"))
    bad.write_text(preset_text("moons-2mb").replace("e_mac16_pj: 3.7", "e_mac16_pj: -3"))
    assert "ok, sha256:" in bitjoule("hardware", "check", str(good)).stdout
    done = bitjoule("hardware", "check", str(good), str(bad), code=2)
    assert "moons.e_mac16_pj must be > 0, not -3" in done.stderr
    assert "good.yaml: ok" in done.stdout


def test_scaling_leaves_a_file_that_loads(tmp_path: Path) -> None:
    scaled = tmp_path / "scaled.yaml"
    for name in ("braintta22", "eyeriss", "simba-timeloop"):
        scaled.write_text(bitjoule("hardware", "scale", name, "--node", "28").stdout)
        assert "ok" in bitjoule("hardware", "check", str(scaled)).stdout
    shown = json.loads(bitjoule("hardware", "scale", "eyeriss", "--node", "28", "--json").stdout)["hardware"]
    assert shown["levels"][0]["read_pj"] == 880 and shown["levels"][1]["read_pj"] < 26.4


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("hardware", "show", "eyeris"), "error: "),
        (("formats", "show", "INT0"), "error: unknown format 'INT0': INT takes 1 to 16 bits"),
        (("data", "index", "mnist", "nowhere"), "error: no data folder 'nowhere'"),
        (("doctor", "nothing.study"), ""),
    ],
)
def test_bad_input(command: tuple[str, ...], message: str) -> None:
    done = bitjoule(*command, code=1 if command[0] == "doctor" else 2)
    assert message in done.stderr
