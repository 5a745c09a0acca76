"""`bitjoule formats`: the drawing of a format, the comparison on weights."""

import json
from pathlib import Path

import numpy as np

from tests.cli.run import bitjoule


def test_apot4_is_drawn() -> None:
    lines = bitjoule("formats", "show", "APOT4").stdout.splitlines()
    assert "levels: -10 -8 -6 -4 -3 -2 -1 0 1 2 3 4 6 8 10" in lines
    assert "|------|------|-------|--|---|--|---|---|--|---|--|-------|------|------|" in lines
    assert "| one level, 2 to 9 that many, # more, - none" in lines
    assert ["1110", "-6", "-0.6", "-(4", "+", "2)"] in [line.split() for line in lines]
    document = json.loads(bitjoule("formats", "show", "apot4", "--json").stdout)
    assert document["format"]["traits"]["multiplier"] == "shift_add" and len(document["levels"]) == 15
    assert document["levels"][-1] == {"code": "0101", "level": 10, "relative": 1.0, "terms": "8 + 2"}


def test_what_cannot_be_drawn_says_so() -> None:
    vector = bitjoule("formats", "show", "SVA1").stdout
    assert "levels: none of its own" in vector and "bits and max_terms are those of a dense word" in vector
    assert "levels: too many to draw, from -32768 to 32767" in bitjoule("formats", "show", "INT16").stdout
    assert "255 levels; --json lists" in bitjoule("formats", "show", "INT8_NARROW").stdout


def test_compare_on_weights(tmp_path: Path) -> None:
    file = tmp_path / "weights.npz"
    rng = np.random.default_rng(0)
    np.savez(file, conv=rng.normal(size=(8, 4, 3, 3)), fc=rng.normal(size=(10, 8)), bias=np.ones(10))
    command = ("formats", "compare", "--weights", str(file), "--formats", "INT4_NARROW,SPOT2,SVA1,FP8_E4M3")
    fits = json.loads(bitjoule(*command, "--json").stdout)
    assert fits["weights"] == 368
    assert [fit["name"] for fit in fits["fits"]] == [
        "INT4_NARROW",
        "SPOT2",
        "SVA1",
        "FP8_E4M3",
        "SVA as SPOT2",
    ]
    assert fits["fits"][3]["terms"] is None and fits["fits"][0]["sqnr_db"] > 10
    assert "SVA as SPOT2" in bitjoule(*command).stdout
    assert "SVA as" not in bitjoule(*command, "--no-equal-terms").stdout


def test_compare_refuses(tmp_path: Path) -> None:
    missing = str(tmp_path / "no.npz")
    assert "error: no weight file" in bitjoule("formats", "compare", "--weights", missing, code=2).stderr
    biases = tmp_path / "biases.npz"
    np.savez(biases, bias=np.ones(3))
    done = bitjoule("formats", "compare", "--weights", str(biases), code=2)
    assert "holds no float tensor of two or more axes" in done.stderr
