"""What there is, as text and as JSON; hardware files checked with all faults at once."""

import json
from pathlib import Path

import pytest

from bitjoule.hardware import preset_text, presets
from tests.cli.run import bitjoule


@pytest.mark.parametrize(
    ("command", "key"),
    [
        (("hardware", "list"), "hardware"),
        (("formats", "list"), "formats"),
        (("formats", "show", "INT4_NARROW"), "format"),
        (("hardware", "show", "moons-4mb"), "hardware"),
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
        assert bitjoule("hardware", "show", name).stdout == preset_text(name)


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
    scaled.write_text(bitjoule("hardware", "scale", "braintta22", "--node", "16").stdout)
    assert "ok" in bitjoule("hardware", "check", str(scaled)).stdout


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
