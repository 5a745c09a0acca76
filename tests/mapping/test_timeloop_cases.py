"""The development cases: counts and cycles exact, energies within 0.2 %; and what a wrong result shows."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from bitjoule.hardware.timeloop_document import Node, TimeloopError
from bitjoule.mapping.timeloop_cases import read_cases, run_case
from tests.hardware.timeloop import CASES, EXAMPLES, HERE, needs_spec

# Counts of conv.map.yaml by hand (test_timeloop_mapping.py); energies = accesses * price of tiny.ERT.yaml.
RESULT: dict[str, Any] = {
    "computes": 192,
    "cycles": 48,
    "energy_uJ": 0.03,
    "levels": {
        "mac": {"computes": 192, "instances": 4, "energy_pJ": 48.0},
        "sum_reg": {
            "leak_pJ": 0.0,
            "Outputs": {"tile_words": 1, "instances": 4, "clusters": 4, "reads": 40, "fills": 40,
                        "updates": 48, "energy_pJ": 4 * (40 * 0.4 + 88 * 0.5)},
        },
        "weight_reg": {
            "leak_pJ": 0.0,
            "Weights": {"tile_words": 1, "instances": 4, "clusters": 4, "reads": 48, "fills": 24,
                        "updates": 0, "energy_pJ": 4 * (48 * 0.2 + 24 * 0.3)},
        },
        "buffer": {
            "leak_pJ": 0.48,
            "Inputs": {"tile_words": 4, "instances": 1, "clusters": 1, "reads": 48, "fills": 20,
                       "updates": 0, "energy_pJ": 12 * 8 + 5 * 10},
        },
    },
}  # fmt: skip


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for folder, file, name in [
        ("arch", "tiny.arch.yaml", "tiny.noconstraints.yaml"),
        ("ert", "tiny.ERT.yaml", "tiny.ERT.yaml"),
        ("problems", "conv.problem.yaml", "conv.yaml"),
    ]:
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_text((HERE / file).read_text())
    return tmp_path


def case(**changes: Any) -> Node:
    from ruamel.yaml import YAML

    mapping = YAML(typ="safe", pure=True).load((HERE / "conv.map.yaml").read_text())["mapping"]
    document = {"id": "own", "arch": "tiny", "problem": "problems/conv.yaml", "kind": "native"}
    return Node(document | {"mapping": mapping, "result": copy.deepcopy(RESULT)} | changes, "c.jsonl:1")


def test_a_case_of_our_own(root: Path) -> None:
    result = run_case(case(), root)
    assert result.differences == ()
    assert (result.name, result.mode, result.integers) == ("own", "native", 21)
    assert result.energy_error < 1e-12


@pytest.mark.parametrize(
    ("path", "value", "difference"),
    [
        (("cycles",), 49, "cycles is 48, not 49"),
        (("energy_uJ",), 0.06, "energy is 0.0304537 uJ, not 0.06"),
        (("levels", "mac", "computes"), 193, "mac computes is 192, not 193"),
        (("levels", "buffer", "Inputs", "fills"), 19, "buffer inputs fills is 20, not 19"),
        (("levels", "buffer", "Inputs", "energy_pJ"), 148, "buffer inputs energy is 146 pJ, not 148"),
        (("levels", "buffer", "leak_pJ"), 3, "buffer leakage energy is 0.48 pJ, not 3"),
        (("levels", "buffer", "Outputs"), {}, "buffer keeps inputs, not inputs, outputs"),
    ],
)
def test_differences_are_named(root: Path, path: tuple[str, ...], value: object, difference: str) -> None:
    result = copy.deepcopy(RESULT)
    inner = result
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    assert run_case(case(result=result), root).differences == (difference,)


def test_paper_mode_packs_words(root: Path) -> None:
    widths = {"Inputs": 4, "Weights": 2, "Outputs": 8}
    found = run_case(case(kind="paper-mode", bitwidths=widths, result=None), root)
    buffer = next(level for level in found.evaluation.levels if level.name == "buffer").tensors[0]
    assert (found.mode, found.integers) == ("paper", 0)
    assert (buffer.tile_words, buffer.read_words, buffer.fill_words, buffer.bits) == (2, 24, 10, 4)


def test_bad_cases(root: Path, tmp_path: Path) -> None:
    with pytest.raises(TimeloopError, match=r"c\.jsonl:1: kind must be native or paper-mode, not 'odd'"):
        run_case(case(kind="odd"), root)
    with pytest.raises(TimeloopError, match=r"huge\.noconstraints\.yaml: there is no such file"):
        run_case(case(arch="huge"), root)
    with pytest.raises(TimeloopError, match=r"c\.jsonl:1: bitwidths is missing"):
        run_case(case(kind="paper-mode"), root)
    with pytest.raises(TimeloopError, match=r"result\.levels\.odd is no level of the architecture"):
        run_case(case(result=RESULT | {"levels": {"odd": {}}}), root)
    file = tmp_path / "cases.jsonl"
    with pytest.raises(TimeloopError, match=r"cases\.jsonl: there is no such file"):
        list(read_cases(file))
    file.write_text("\n")
    with pytest.raises(TimeloopError, match="holds no cases; it takes one JSON object per line"):
        list(read_cases(file))
    file.write_text('{"id": "a"}\n{"id":\n')
    with pytest.raises(TimeloopError, match=r"cases\.jsonl:2: is not JSON: Expecting value at column 7"):
        list(read_cases(file))
    file.write_text("[1]\n")
    with pytest.raises(TimeloopError, match=r"cases\.jsonl:1: must hold keys and values, not a list"):
        list(read_cases(file))


@needs_spec
def test_all_development_cases() -> None:
    results = [run_case(found, EXAMPLES) for found in read_cases(CASES)]
    assert len(results) == len(CASES.read_text().splitlines())
    assert [(result.name, result.differences) for result in results if result.differences] == []
    assert {result.mode for result in results} == {"native", "paper"}
    assert all(result.integers > 40 and result.evaluation.valid for result in results)
    energies = {result.name: result.evaluation.energy_pj for result in results}
    assert energies["eye-L1-best"] == pytest.approx(45_635_403.046, rel=1e-9)
    assert energies["eye-L1-best-i4w4o4"] == pytest.approx(22_700_977.166, rel=1e-9)
    assert energies["eye-L1-best-i3w5o6"] == pytest.approx(33_173_705.372, rel=1e-9)


@needs_spec
def test_cases_hold_the_mapping_that_they_are_read_as() -> None:
    """One case by its parts: loops of mapping.md 2.1, example 4."""
    line = next(line for line in CASES.read_text().splitlines() if '"eye-L1-best"' in line)
    counts = run_case(Node(json.loads(line), "case"), EXAMPLES).evaluation
    found = {
        (level.name, cost.tensor): (cost.read_words, cost.fill_words, cost.update_words)
        for level in counts.levels
        for cost in level.tensors
    }
    assert found["weights_spad", "weights"] == (64_512, 8_064, 0)
    assert found["ifmap_spad", "inputs"] == (64_512, 21_504, 0)
    assert found["psum_spad", "outputs"] == (63_840, 4_704, 64_512)
    assert found["shared_glb", "outputs"] == (526_848, 0, 602_112)
    assert found["DRAM", "outputs"] == (0, 0, 75_264)
