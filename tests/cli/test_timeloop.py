"""`bitjoule timeloop` end to end: exit codes, JSON, tables, files that are written."""

import json
from pathlib import Path

import pytest

from tests.cli.run import bitjoule
from tests.hardware.timeloop import CASES, EXAMPLES, HERE, needs_spec

ARCH, ERT, ART = (str(HERE / f"tiny.{kind}.yaml") for kind in ("arch", "ERT", "ART"))
TINY = (
    "--arch",
    ARCH,
    "--problem",
    str(HERE / "conv.problem.yaml"),
    "--mapping",
    str(HERE / "conv.map.yaml"),
)


def test_evaluation_as_json(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    done = bitjoule("timeloop", "eval", *TINY, "--ert", ERT, "--art", ART, "--json", str(out))
    document = json.loads(out.read_text())
    assert document["schema"] == "bitjoule.timeloop-eval/1"
    assert (document["mode"], document["valid"], document["violations"]) == ("native", True, [])
    assert (document["macs"], document["compute_cycles"], document["cycles"]) == (192, 48, 48)
    assert document["mac"] == {"count": 192, "instances": 4, "energy_pj": 48.0}
    assert list(document["levels"]) == ["sum_reg", "weight_reg", "buffer", "store"]
    assert document["levels"]["buffer"]["leak_pj"] == pytest.approx(0.48)
    assert document["levels"]["buffer"]["inputs"] == {
        "tile_words": 4,
        "instances": 1,
        "clusters": 1,
        "reads": 48,
        "fills": 20,
        "updates": 0,
        "bits": None,
        "energy_pj": 146.0,
    }
    total = 48 + 0.48 + 240 + 67.2 + 146 + 256 * (24 + 5 + 40 + 48)
    assert document["energy_pj"] == pytest.approx(total, rel=1e-12)
    assert document["utilization"] == 0.5
    assert document["area_um2"] == {"buffer": 1000.5, "mac": 400.0}
    assert "conv on tiny, native mode: 0.0305 uJ" in done.stdout
    assert "192 MACs in 48 cycles (set by compute; 48 to compute), utilization 50.00 %" in done.stdout
    assert "area 0.001 mm2" in done.stdout
    assert done.stderr == ""


def test_without_prices_energies_are_null() -> None:
    document = json.loads(bitjoule("timeloop", "eval", *TINY, "--json", "-").stdout)
    assert document["energy_pj"] is None
    assert document["levels"]["store"]["outputs"]["energy_pj"] is None
    assert document["levels"]["store"]["outputs"]["updates"] == 192
    assert (
        "no energy reference table (--ert): counts and cycles only"
        in bitjoule("timeloop", "eval", *TINY).stdout
    )


def test_widths_and_modes() -> None:
    def run(*arguments: str) -> dict[str, object]:
        document: dict[str, object] = json.loads(
            bitjoule("timeloop", "eval", *TINY, "--ert", ERT, "--json", "-", *arguments).stdout
        )
        return document

    bits = "inputs=4,weights=2,outputs=8,psum=24"
    physical, paper = run("--bits", bits), run("--bits", bits, "--mode", "paper")
    assert (physical["mode"], physical["psum_bits"]) == ("physical", 24)
    assert paper["mode"] == "paper"
    # the store takes partial sums: 24 bits in words of 8, and 32 finished outputs of 8 bits
    assert physical["levels"]["store"]["outputs"]["updates"] == 3 * (192 - 32) + 32  # type: ignore[index]
    assert paper["levels"]["store"]["outputs"]["updates"] == 192  # type: ignore[index]
    wide = "inputs=5,weights=3,outputs=8"
    floor, dense = run("--bits", wide), run("--bits", wide, "--packing", "dense")
    # 2 * 3 * 2^2 * (2^5 - 1) = 744 < 2^10, and a sign
    assert floor["psum_bits"] == 11
    assert dense["levels"]["buffer"]["inputs"]["reads"] == 30  # type: ignore[index]
    assert floor["levels"]["buffer"]["inputs"]["reads"] == 48  # type: ignore[index]


def test_widths_of_the_problem(tmp_path: Path) -> None:
    text = (HERE / "conv.problem.yaml").read_text().replace("across: 1}", "across: 1, commonBitwidth: 4}")
    file = tmp_path / "conv.yaml"
    file.write_text(text)
    arguments = ("--arch", ARCH, "--problem", str(file), "--mapping", TINY[-1], "--json", "-")
    document = json.loads(bitjoule("timeloop", "eval", *arguments).stdout)
    assert (document["mode"], document["levels"]["buffer"]["inputs"]["bits"]) == ("physical", 4)


def test_a_mapping_that_does_not_fit_is_counted(tmp_path: Path) -> None:
    small = tmp_path / "small.yaml"
    small.write_text(Path(ARCH).read_text().replace("depth: 64, width: 32", "depth: 1, width: 8"))
    out = tmp_path / "out.json"
    arguments = ("--arch", str(small), *TINY[2:], "--ert", ERT, "--json", str(out))
    done = bitjoule("timeloop", "eval", *arguments, code=1)
    document = json.loads(out.read_text())
    assert document["valid"] is False
    assert document["macs"] == 192
    assert document["violations"][0] in done.stderr
    assert "error: the mapping does not fit: buffer" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--bits", "inputs=4,weight=4"),
            "--bits takes inputs=8,weights=4,outputs=8,psum=16, not 'weight=4'",
        ),
        (("--bits", "inputs=4"), "problem 'conv': no bits of weights, outputs; bits are of weights"),
        (("--bits", "inputs=0,weights=4,outputs=8"), "layer 'conv': input_bits must be 1..256, not 0"),
        (("--mode", "paper"), "--mode paper needs widths: --bits inputs=8,weights=8,outputs=8"),
        (("--mode", "odd"), "--mode must be native, paper or physical, not 'odd'"),
        (("--packing", "loose"), "--packing must be floor or dense, not 'loose'"),
        (
            ("--mode", "paper", "--bits", "inputs=9,weights=4,outputs=8"),
            "in paper mode: inputs have 9 bits, level 'buffer' takes 1..8",
        ),
        (("--ert", "none.yaml"), "none.yaml: there is no such file"),
    ],
)
def test_bad_input(arguments: tuple[str, ...], message: str) -> None:
    done = bitjoule("timeloop", "eval", *TINY, *arguments, code=2)
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_wrong_products(tmp_path: Path) -> None:
    file = tmp_path / "m.yaml"
    file.write_text((HERE / "conv.map.yaml").read_text().replace("P4,C2", "P4,C1"))
    done = bitjoule("timeloop", "eval", *TINY[:-1], str(file), code=2)
    assert f"error: {file}: mapping does not fit problem 'conv': C is 1, the problem has 2" in done.stderr


def test_unknown_keys_are_a_warning(tmp_path: Path) -> None:
    file = tmp_path / "conv.yaml"
    file.write_text((HERE / "conv.problem.yaml").read_text().replace("across: 1}", "across: 1, hue: 2}"))
    done = bitjoule("timeloop", "eval", "--arch", ARCH, "--problem", str(file), "--mapping", TINY[-1])
    assert done.stderr == f"warning: {file}: not read: problem.instance.hue\n"


def test_hardware_file(tmp_path: Path) -> None:
    out = tmp_path / "tiny.yaml"
    bitjoule(
        "timeloop", "hardware", "--arch", ARCH, "--ert", ERT, "--art", ART, "--name", "mine", "-o", str(out)
    )
    assert "# area of buffer: 1000.5 um2" in out.read_text()
    assert "ok, sha256:" in bitjoule("hardware", "check", str(out)).stdout
    printed = bitjoule("timeloop", "hardware", "--arch", ARCH, "--ert", ERT, "--depthwise").stdout
    assert "name: tiny" in printed
    assert "fixed_spatial: {G: 4}" in printed


def test_export(tmp_path: Path) -> None:
    hardware = tmp_path / "tiny.yaml"
    bitjoule("timeloop", "hardware", "--arch", ARCH, "--ert", ERT, "-o", str(hardware))
    keeps = {"sum_reg": ["outputs"], "weight_reg": ["weights"], "row": [], "buffer": ["inputs", "outputs"]}
    levels = [
        {"name": name, "keeps": kept, "temporal": [], "spatial": {"x": [], "y": []}}
        for name, kept in (keeps | {"store": ["weights", "inputs", "outputs"]}).items()
    ]
    levels[3] |= {"temporal": [["P", 2], ["R", 3]], "spatial": {"x": [["K", 4]], "y": []}}
    levels[4] |= {"temporal": [["P", 4], ["C", 2]]}
    nest = tmp_path / "conv.json"
    nest.write_text(json.dumps({"schema": "bitjoule.mapping/1", "levels": levels}))
    text = bitjoule("timeloop", "export", str(nest), "--hardware", str(hardware)).stdout
    written = tmp_path / "conv.map.yaml"
    written.write_text(text)
    arguments = (*TINY[:-1], str(written), "--ert", ERT, "--json", "-")
    assert json.loads(bitjoule("timeloop", "eval", *arguments).stdout)["macs"] == 192
    nest.write_text("{")
    done = bitjoule("timeloop", "export", str(nest), "--hardware", str(hardware), code=2)
    assert f"error: {nest}: is not JSON: " in done.stderr
    nest.write_text(json.dumps({"schema": "bitjoule.mapping/1", "levels": levels[:-1]}))
    done = bitjoule("timeloop", "export", str(nest), "--hardware", str(hardware), code=2)
    assert "it is of another hardware" in done.stderr


@needs_spec
def test_development_cases(tmp_path: Path) -> None:
    arguments = ("timeloop", "cases", str(CASES), "--root", str(EXAMPLES))
    done = bitjoule(*arguments, "--check")
    count = len(CASES.read_text().splitlines())
    assert f"{count} of {count} cases equal in all counts and cycles, energies within 0.2 %" in done.stdout
    lines = CASES.read_text().splitlines()
    wrong = json.loads(lines[0])
    wrong["result"]["cycles"] += 1
    file = tmp_path / "wrong.jsonl"
    file.write_text(json.dumps(wrong) + "\n" + lines[1] + "\n")
    done = bitjoule("timeloop", "cases", str(file), "--root", str(EXAMPLES), "--check", code=1)
    assert "error: 1 of 2 cases differ:\n  eye-L0-r07: cycles is 348880, not 348881" in done.stderr
    unchecked = bitjoule("timeloop", "cases", str(file), "--root", str(EXAMPLES), "--json", "-").stdout
    assert [case["id"] for case in json.loads(unchecked)] == ["eye-L0-r07", "eye-L1-best"]


@needs_spec
@pytest.mark.parametrize(
    ("arguments", "energy_pj", "cycles"),
    [
        ((), 45_635_403.046, 64_512),
        (("--bits", "inputs=4,weights=4,outputs=4", "--mode", "paper"), 22_700_977.166, 64_512),
        (("--bits", "inputs=3,weights=5,outputs=6", "--mode", "paper"), 33_173_705.372, 64_512),
        (("--bits", "inputs=4,weights=4,outputs=4,psum=16"), 28_719_093.605, 84_672),
        (("--bits", "inputs=8,weights=8,outputs=8,psum=16"), 47_903_211.818, 94_080),
        (
            ("--bits", "inputs=3,weights=5,outputs=6,psum=16", "--packing", "dense"),
            28_759_227.276,
            82_320,
        ),
    ],
)
def test_goldens_of_every_mode(
    tmp_path: Path, arguments: tuple[str, ...], energy_pj: float, cycles: int
) -> None:
    """mapping.md section 3, `eye-L1-best` as section 2.1 example 4 describes it."""
    mapping = tmp_path / "best.yaml"
    mapping.write_text(
        """
- {target: psum_spad, type: temporal, factors: M3, permutation: M}
- {target: weights_spad, type: temporal, factors: C12, permutation: C}
- {target: inter_PE_spatial, type: spatial, factors: M8, permutation: M, split: 0}
- {target: inter_PE_column_spatial, type: spatial, factors: Q14, permutation: Q, split: 1}
- {target: shared_glb, type: temporal, factors: P8 C8, permutation: PC}
- {target: DRAM, type: temporal, factors: P7 Q4, permutation: PQ}
- {target: psum_spad, type: datatype, keep: [Outputs], bypass: [Weights, Inputs]}
- {target: weights_spad, type: datatype, keep: [Weights], bypass: [Outputs, Inputs]}
- {target: ifmap_spad, type: datatype, keep: [Inputs], bypass: [Weights, Outputs]}
- {target: shared_glb, type: datatype, keep: [Inputs, Outputs], bypass: [Weights]}
"""
    )
    done = bitjoule(
        "timeloop", "eval", "--arch", str(EXAMPLES / "arch" / "eyeriss_like.yaml"),
        "--ert", str(EXAMPLES / "ert" / "eyeriss_like.ERT.yaml"),
        "--problem", str(EXAMPLES / "problems" / "L1_mnv2_pw_96to24_56.yaml"),
        "--mapping", str(mapping), "--json", "-", *arguments,
    )  # fmt: skip
    document = json.loads(done.stdout)
    assert document["energy_pj"] == pytest.approx(energy_pj, rel=1e-10)
    assert (document["cycles"], document["valid"]) == (cycles, True)
