"""`bitjoule map`, `cache` end to end: tables, loop nests, certificates, and layers that do not fit."""

import json
from pathlib import Path
from typing import Any

import pytest

from bitjoule.cli.network_argument import graph_of
from bitjoule.hardware import load, preset_text
from bitjoule.mapping import memo, timeloop_mapping
from bitjoule.mapping.accelerator import Accelerator
from bitjoule.mapping.hardware_levels import accelerator_of
from bitjoule.mapping.problem import Problem
from bitjoule.mapping.search import MappingResult
from tests.cli.run import bitjoule

RESNET = ("map", "resnet8.json", "--hardware", "eyeriss", "--scheme", "w4a4")


@pytest.fixture(scope="module")
def captured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the graph of resnet8: capturing it for every test would take longer than mapping it."""
    folder = tmp_path_factory.mktemp("graph")
    graph = graph_of("resnet8", {})
    (folder / "resnet8.json").write_text(json.dumps(graph.to_json()))
    return folder


@pytest.fixture(autouse=True)
def there(captured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(captured)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own."""
    monkeypatch.setenv("BITJOULE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def narrow(tmp_path: Path) -> str:
    """Eyeriss whose weights have a register of 4 bits: what has 8 does not fit."""
    was = "size_bits: 3584, word_bits: 16, width_bits: 16"
    text = preset_text("eyeriss")
    assert text.count(was) == 1
    path = tmp_path / "narrow.yaml"
    path.write_text(text.replace(was, "size_bits: 4, word_bits: 4, width_bits: 4"))
    return str(path)


def document(*arguments: str, code: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(bitjoule(*arguments, "--json", code=code).stdout)
    assert found["bitjoule"] == 1
    assert found["command"].startswith(arguments[0])
    return found


def test_every_layer_has_its_nest_energy_and_certificate() -> None:
    shown = bitjoule(*RESNET).stdout
    assert "resnet8.json w4a4 on eyeriss, physical mode: every layer from DRAM" in shown
    assert " block1.conv1 (x2) " in shown
    assert "layers block1.conv1, block1.conv2: K16 C16 P32 Q32 R3 S3" in shown
    assert shown.count("proven optimal (energy): bound = value") == 9
    assert shown.count("on x: ") >= 9
    assert shown.count(" of 168 units\n\nenergy ") == 9
    assert shown.count("\ntotal ") == 9
    assert "warning: layer 'conv1': partial sums may overflow: eyeriss has psum_bits 16" in shown


def test_equal_layers_are_grouped_and_counted_each() -> None:
    found = document(*RESNET)
    (mode,) = found["modes"]
    names = [name for layer in mode["layers"] for name in layer["names"]]
    assert (len(mode["layers"]), len(names), mode["infeasible"]) == (9, 10, [])
    assert mode["totals"]["energy_pj"] == pytest.approx(
        sum(len(layer["names"]) * layer["energy_pj"] for layer in mode["layers"])
    )
    for layer in mode["layers"]:
        proof = layer["certificate"]
        assert proof["optimal"] and proof["gap"] == 0 and proof["evaluated"] >= 1
        parts = layer["mac_energy_pj"] + layer["mac_leak_pj"]
        for level in layer["levels"].values():
            parts += level["leak_pj"]
            parts += sum(t["energy_pj"] + t["noc_pj"] for t in level.values() if isinstance(t, dict))
        assert parts == pytest.approx(layer["energy_pj"])
        assert layer["mapping"]["schema"] == "bitjoule.mapping/1"


def test_one_layer_with_another_objective() -> None:
    least = document(*RESNET, "--layer", "block2.conv1")["modes"][0]["layers"]
    fast = document(*RESNET, "--layer", "block2.conv1", "--objective", "latency")["modes"][0]["layers"]
    edp = document(*RESNET, "--layer", "block2.conv1", "--objective", "edp")["modes"][0]["layers"]
    assert [layer["names"] for layer in least + fast] == [["block2.conv1"]] * 2
    assert fast[0]["latency_cycles"] <= edp[0]["latency_cycles"] <= least[0]["latency_cycles"]
    assert least[0]["energy_pj"] <= edp[0]["energy_pj"]
    assert edp[0]["certificate"]["objective"] == "edp"
    cap = str(fast[0]["latency_cycles"])
    capped = document(*RESNET, "--layer", "block2.conv1", "--latency-cap", cap)["modes"][0]["layers"]
    assert capped[0]["latency_cycles"] == fast[0]["latency_cycles"]


def test_both_modes_side_by_side() -> None:
    shown = bitjoule(*RESNET, "--layer", "block1.conv1", "--both-modes", "--summary").stdout
    assert "physical and paper mode" in shown
    assert "paper / physical" in shown
    assert "on x:" not in shown
    physical, paper = document(*RESNET, "--layer", "block1.conv1", "--both-modes")["modes"]
    assert paper["totals"]["energy_pj"] < physical["totals"]["energy_pj"]
    ratio = paper["totals"]["energy_pj"] / physical["totals"]["energy_pj"]
    assert f"{ratio:.3f}" in shown


def test_a_layer_that_does_not_fit_is_explained_beside_those_that_do(narrow: str) -> None:
    done = bitjoule("map", "resnet8.json", "--hardware", narrow, "--scheme", "w4a4", code=3)
    assert "conv1 does not fit eyeriss:" in done.stdout
    assert "filter_rf holds 4 bits; the smallest tiles need 8 (weights 8): 4 bits short" in done.stdout
    assert "what would mend it: weights at <= 4 bits" in done.stdout
    assert done.stdout.count("proven optimal") == 7
    assert done.stderr == "error: no mapping on eyeriss: conv1, linear\n"
    found = document("map", "resnet8.json", "--hardware", narrow, "--scheme", "w4a4", code=3)
    assert [one["names"] for one in found["modes"][0]["infeasible"]] == [["conv1"], ["linear"]]


def test_a_cap_that_one_layer_cannot_meet_leaves_the_others() -> None:
    some = ("--layer", "block1.conv1", "--layer", "block1.conv2", "--layer", "linear")
    arguments = (*RESNET, *some, "--latency-cap", "3000")
    done = bitjoule(*arguments, "--summary", code=3)
    assert done.stderr == "error: no mapping on eyeriss within the latency cap: block1.conv1, block1.conv2\n"
    assert "layer 'block1.conv1' on eyeriss: no mapping takes at most 3000 cycles; raise" in done.stdout
    assert "(and block1.conv2)" in done.stdout
    assert " no mapping " in done.stdout and " optimal " in done.stdout
    (mode,) = document(*arguments, code=3)["modes"]
    assert [layer["names"] for layer in mode["layers"]] == [["linear"]]
    assert mode["layers"][0]["latency_cycles"] <= 3000
    assert [(one["names"], one["kind"]) for one in mode["infeasible"]] == [
        (["block1.conv1", "block1.conv2"], "no mapping")
    ]


def test_a_time_limit_that_ends_before_any_mapping_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def solve(self: memo.MappingMemo, problem: Problem, *_: object, **__: object) -> MappingResult:
        if problem.name == "linear":
            raise TimeoutError(f"layer {problem.name!r}: no mapping found within 0 s; allow more time")
        return remembered(self, problem, accelerator_of(load("eyeriss")))

    remembered = memo.MappingMemo.solve
    monkeypatch.setattr(memo.MappingMemo, "solve", solve)
    some = ("--layer", "block2.shortcut", "--layer", "linear", "--time-limit", "0")
    done = bitjoule(*RESNET, *some, "--summary", code=1)
    assert done.stderr == "error: no mapping on eyeriss within the time limit: linear\n"
    assert " time is up " in done.stdout and " optimal " in done.stdout


def test_a_mapping_that_timeloop_cannot_say_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def mute(mapping: object, accelerator: Accelerator, problem: Problem) -> str:
        if problem.name == "linear":
            raise ValueError("glb unrolls C on x and on y")
        return "mapping:\n"

    monkeypatch.setattr(timeloop_mapping, "to_timeloop", mute)
    some = ("--layer", "linear", "--layer", "block2.shortcut", "--timeloop", str(tmp_path / "maps"))
    done = bitjoule(*RESNET, *some, code=1)
    assert done.stderr == (
        "error: 1 of 2 mappings cannot be said as Timeloop YAML; the others are written\n"
        "linear: glb unrolls C on x and on y\n"
    )
    assert [path.name for path in (tmp_path / "maps").iterdir()] == ["block2.shortcut.map.yaml"]
    found = document(*RESNET, *some, code=1)
    assert found["not_exported"] == [{"names": ["linear"], "text": "glb unrolls C on x and on y"}]


def test_timeloop_mappings_are_written(tmp_path: Path) -> None:
    folder = tmp_path / "timeloop"
    bitjoule(*RESNET, "--layer", "block2.conv1", "--layer", "linear", "--timeloop", str(folder))
    assert {path.name for path in folder.iterdir()} == {"block2.conv1.map.yaml", "linear.map.yaml"}
    assert (folder / "linear.map.yaml").read_text().startswith("mapping:\n")


def test_the_input_shape_is_given() -> None:
    arguments = ("map", "resnet8", "--layer", "conv1", "--input-shape", "1,3,64,64")
    assert document(*arguments)["modes"][0]["layers"][0]["bounds"][4:6] == [64, 64]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--hardware", "moons-4mb"), "moons-4mb is a hardware of kind moons; mappings are for memory hier"),
        (("--layer", "conv9"), "workload 'resnet8' has no layer 'conv9'; layers: conv1"),
        (("--objective", "power"), "unknown objective 'power'; one of: energy, edp, latency"),
        (("--mode", "native"), "unknown mode 'native'; one of: physical, paper"),
        (("--input-shape", "1,3,64,64"), "resnet8.json: --input-shape is for networks of the zoo"),
        (("--input-shape", "3x32"), "--input-shape takes whole numbers > 0 such as 1,3,96,96, not '3x32'"),
        (
            ("--objective", "edp", "--latency-cap", "3"),
            "--latency-cap goes with --objective energy, not edp",
        ),
    ],
)
def test_bad_input(arguments: tuple[str, ...], message: str) -> None:
    done = bitjoule("map", "resnet8.json", *arguments, code=2)
    assert message in done.stderr
    assert done.stdout == ""


def test_the_cache_is_told_and_cleared(cache: Path) -> None:
    assert document("cache", "info")["mappings"] == 0
    bitjoule(*RESNET, "--layer", "linear")
    shown = bitjoule("cache", "info").stdout
    assert shown.startswith(f"{cache / 'mappings.sqlite'}: 1 mappings, ")
    assert bitjoule("cache", "clear").stdout == f"{cache / 'mappings.sqlite'}: removed 1 mappings\n"
    assert document("cache", "info")["mappings"] == 0


@pytest.mark.filterwarnings("default::bitjoule.mapping.memo_file.CacheWarning")
def test_a_damaged_cache_is_one_line_and_changes_nothing(cache: Path) -> None:
    before = document(*RESNET, "--layer", "linear")["modes"]
    for part in cache.iterdir():
        part.unlink()
    (cache / "mappings.sqlite").write_bytes(b"not a database" * 100)
    memo._open.clear()
    done = bitjoule(*RESNET, "--layer", "linear", "--json")
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("warning: mappings are not cached in ")
    after = json.loads(done.stdout)["modes"]
    for one in (*before[0]["layers"], *after[0]["layers"]):
        one["certificate"].pop("seconds")
    assert after == before
    assert "removed an unreadable file" in bitjoule("cache", "clear").stdout
