"""What the front door adds: to a study its data and graph, to mapping names of hardware and checks."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import bitjoule as bj
from bitjoule.formats import parse_tensor_format
from bitjoule.front_door import GRAPH_VERSION, StudyJoin, expanded
from bitjoule.hardware import load
from bitjoule.search.study_file import read_study_file
from bitjoule.workload import Layer

STUDY = """\
bitjoule: 1
name: tiny
network: {zoo: moons, options: {depths: [1, 1, 1], filters: [4, 4, 4]}}
space: {kind: grid, widths: [1.0], schemes: [w4a4], graph_modes: [SP]}
data: {kind: digits}
accuracy: {evaluator: qat, init: scratch, budget: {epochs: 1}}
hardware: [moons-4mb]
method: {kind: grid}
"""


def join(folder: Path, text: str = STUDY) -> StudyJoin:
    path = folder / "tiny.yaml"
    path.write_text(text)
    return StudyJoin(read_study_file(path))


def test_variables_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BITJOULE_DATA", str(tmp_path))
    monkeypatch.setenv("IMAGES", "/images")
    assert expanded("$BITJOULE_DATA/mnist") == f"{tmp_path}/mnist"
    assert expanded("${IMAGES}2/mnist") == "/images2/mnist"
    assert expanded("plain") == "plain"


def test_the_default_folder_of_data_counts_only_where_it_exists(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("BITJOULE_DATA", raising=False)
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    with pytest.raises(ValueError) as caught:
        expanded("$BITJOULE_DATA/mnist")
    assert str(caught.value) == (
        "data.root names $BITJOULE_DATA, which is not set: export BITJOULE_DATA=FOLDER"
    )
    (tmp_path / "shared" / "data").mkdir(parents=True)
    assert expanded("$BITJOULE_DATA/mnist") == f"{tmp_path}/shared/data/mnist"


def test_the_content_of_a_graph_follows_network_and_data(tmp_path: Path) -> None:
    content = join(tmp_path).graph_content(join(tmp_path).file)
    assert content["zoo"] == "moons"
    assert content["options"] == {
        "classes": 10,
        "in_channels": 1,
        "image_size": 8,
        "depths": [1, 1, 1],
        "filters": [4, 4, 4],
    }
    other = join(tmp_path, STUDY.replace("[4, 4, 4]", "[4, 4, 8]"))
    assert other.graph_content(other.file) != content
    trained_otherwise = join(tmp_path, STUDY.replace("epochs: 1", "epochs: 2").replace("w4a4", "int8"))
    assert trained_otherwise.graph_content(trained_otherwise.file) == content


def test_the_content_of_a_file_is_its_hash(tmp_path: Path) -> None:
    text = STUDY.replace("{zoo: moons, options: {depths: [1, 1, 1], filters: [4, 4, 4]}}", "{onnx: a.onnx}")
    asked = join(tmp_path, text)
    assert asked.graph_content(asked.file)["onnx_sha256"] is None
    (tmp_path / "a.onnx").write_bytes(b"one")
    first = asked.graph_content(asked.file)
    (tmp_path / "a.onnx").write_bytes(b"two")
    assert asked.graph_content(asked.file) != first


def test_reading_a_study_loads_no_torch() -> None:
    code = "import sys, bitjoule.front_door; print('torch' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "False"


GRAPHS = (1, "a08a911081f31d37")


def test_the_version_of_graphs_is_raised_when_they_change(tmp_path: Path) -> None:
    asked = join(
        tmp_path, STUDY.replace("moons, options: {depths: [1, 1, 1], filters: [4, 4, 4]}", "resnet8")
    )
    graph = asked.graph(next(iter(asked.file.candidates())))
    assert (GRAPH_VERSION, graph.hash[:16]) == GRAPHS, (
        "the same network is captured as another graph: raise front_door.GRAPH_VERSION, or finished studies "
        "go on with the graphs that they stored; then write version and hash here"
    )


def test_classes_that_the_data_do_not_have_are_refused(tmp_path: Path) -> None:
    wrong = STUDY.replace("zoo: moons,", "zoo: moons, classes: 7,")
    with pytest.raises(ValueError, match=r"study 'tiny': network\.classes is 7, but digits has 10 classes"):
        _ = join(tmp_path, wrong).options


def small_layer() -> Layer:
    int8 = parse_tensor_format("INT8")
    return Layer(
        "fc",
        "linear",
        N=1,
        K=4,
        C=4,
        P=1,
        Q=1,
        R=1,
        S=1,
        weight_format=int8,
        input_format=int8,
        output_format=int8,
    )


def test_best_mapping_takes_a_hardware_by_name() -> None:
    by_name, by_object = (bj.best_mapping(small_layer(), hw) for hw in ("eyeriss", load("eyeriss")))
    assert by_name.optimal and by_name.mapping == by_object.mapping


@pytest.mark.parametrize(
    ("layer", "hardware", "options", "message"),
    [
        ("fc", "eyeriss", {}, "best_mapping takes a Layer, not str; take one of a workload: bitjoule.work"),
        (None, 7, {}, "hardware is a preset's name, a path or bj.hardware\\(...\\), not int"),
        (None, "moons-4mb", {}, "hardware 'moons-4mb' is of kind moons; layers are mapped on kind hierarchy"),
        (None, "eyeriss", {"time_limit_s": float("nan")}, "time_limit_s must be >= 0 seconds, not nan"),
        (None, "eyeriss", {"time_limit_s": -1.0}, "time_limit_s must be >= 0 seconds, not -1.0"),
        (None, "eyeriss", {"latency_cap_cycles": float("nan")}, "latency_cap_cycles must be a whole number"),
        (None, "eyeriss", {"latency_cap_cycles": 0}, "latency_cap_cycles must be a whole number >= 1, not 0"),
    ],
)
def test_best_mapping_refuses_what_is_no_input(
    layer: Any, hardware: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        bj.best_mapping(layer or small_layer(), hardware, **options)
