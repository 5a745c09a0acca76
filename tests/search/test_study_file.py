"""The study file: what is read, and every fault at once with its line."""

from pathlib import Path

import pytest

from bitjoule.search.study_file import StudyFile, read_study_file
from bitjoule.search.study_yaml import StudyFileError, read_yaml

POQ = """\
# poq.yaml: which quantization is Pareto-optimal for MobileNetV2?
bitjoule: 1
name: poq-mobilenetv2
network: {zoo: mobilenet_v2, classes: 10, resolution: 32}
space:
  kind: grid
  widths: [0.25, 0.35, 0.5, 0.75, 1.0, 1.4]
  schemes:
    - fp16
    - int8
    - w4a4
    - w2a2
  graph_modes: [SP, HPR]
  hpr_bits: 16
  fixed: {first: INT8, last: INT8}
data: {kind: cifar10, root: data/cifar10, validation: 0.1, augment: crop-flip}
accuracy:
  evaluator: short_qat
  budget: {epochs: 10, batch: 128, lr: 1e-2, schedule: cosine, weight_decay: 1.0e-4}
  parent: {epochs: 60, batch: 128, lr: 0.1, schedule: cosine, weight_decay: 5e-4}
  seeds_search: 1
  seeds_front: 3
hardware: [moons-4mb, {file: my_chip.yaml}]
objective: energy
method: {kind: poq}
seed: 0
executor: {kind: processes, workers: 2, timeout_s: 3600}
limits: {max_trials: 500, max_failures: 0.25}
reference: {energy_pj: auto, accuracy: auto}
"""


def read(folder: Path, text: str) -> StudyFile:
    (folder / "poq.yaml").write_text(text)
    return read_study_file(folder / "poq.yaml", hardware=["moons-4mb", "braintta22"])


def faults(folder: Path, *changes: tuple[str, str]) -> str:
    text = POQ
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    with pytest.raises(StudyFileError) as caught:
        read(folder, text)
    return str(caught.value)


def test_the_documents_example(tmp_path: Path) -> None:
    file = read(tmp_path, POQ)
    assert file.candidates().size == 42
    assert {candidate.network for candidate in file.candidates()} == {"mobilenet_v2"}
    assert file.accuracy.budget.lr == 0.01
    assert file.accuracy.budget.budget.to_json() == {"epochs": 10.0, "train_images": None, "val_images": None}
    assert file.hardware_sources() == ("moons-4mb", str((tmp_path / "my_chip.yaml").resolve()))
    assert file.path("data/cifar10") == (tmp_path / "data/cifar10").resolve()
    assert file.seeds(3) == (0, 1, 2)
    parent = file.parent_file().accuracy
    assert (parent.evaluator, parent.init, parent.budget.epochs, parent.parent) == (
        "qat",
        "scratch",
        60.0,
        None,
    )


def test_yaml_1_2(tmp_path: Path) -> None:
    file = read(tmp_path, POQ.replace("name: poq-mobilenetv2", "name: no").replace("1e-2", "1e-12"))
    assert file.name == "no"
    assert file.accuracy.budget.lr == 1e-12


def test_three_faults_at_once(tmp_path: Path) -> None:
    text = faults(
        tmp_path, ("- w2a2", "- w4a4x"), ("hpr_bits", "hpr_bit"), ("seeds_front: 3", "seeds_front: no")
    )
    assert text == (
        "poq.yaml:12: space.schemes[3]: unknown scheme 'w4a4x', did you mean 'w4a4'?\n"
        "poq.yaml:14: space.hpr_bit: unknown key 'hpr_bit', did you mean 'hpr_bits'?\n"
        "poq.yaml:22: accuracy.seeds_front: must be a whole number, not 'no'"
    )


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        (
            "bitjoule: 1",
            "bitjoule: 2",
            "2: bitjoule: schema version 2 is not known to this bitjoule; it reads 1",
        ),
        ("name: poq-mobilenetv2\n", "", "1: name: is missing"),
        ("poq-mobilenetv2", "a/b", "3: name: must be letters, digits, '.', '_' and '-', not 'a/b'"),
        (
            "evaluator: short_qat",
            "evaluator: ptq",
            "18: accuracy.evaluator: must be one of short_qat, qat, table, not 'ptq'",
        ),
        ("kind: grid", "kind: layers", "6: space.kind: must be one of grid, topology, not 'layers'"),
        ("kind: poq", "kind: nsga2", "25: method.kind: must be one of grid, poq, not 'nsga2'"),
        (
            "kind: processes",
            "kind: ray",
            "27: executor.kind: must be one of in_process, processes, not 'ray'",
        ),
        ("objective: energy", "objective: edp", "24: objective: must be one of energy, not 'edp'"),
        ("workers: 2", "workers: 0", "27: executor.workers: must be >= 1, not 0"),
        ("0.25, 0.35", "0, 0.35", "7: space.widths[0]: must be > 0, not 0"),
        ("0.25, 0.35", "0.35, 0.35", "7: space.widths: 0.35 stands twice; keep one"),
        ("[0.25, 0.35, 0.5, 0.75, 1.0, 1.4]", "[]", "7: space.widths: needs at least one entry"),
        (
            "[SP, HPR]",
            "[SP, HRP]",
            "13: space.graph_modes[1]: must be one of SP, HPR, not 'HRP' (did you mean 'HPR'?)",
        ),
        (
            "last: INT8",
            "last: INT99",
            "15: space.fixed.last: must be INT1 to INT16, such as INT8, not 'INT99'",
        ),
        (
            "zoo: mobilenet_v2",
            "zoo: os.system",
            "4: network.zoo: must be the name of a network of the zoo such as mobilenet_v2, not 'os.system'",
        ),
        ("zoo: mobilenet_v2, ", "", "4: network: give either zoo: NAME or onnx: FILE"),
        ("root: data/cifar10, ", "", "16: data: cifar10 needs root: the folder that holds its files"),
        (
            "[moons-4mb,",
            "[moons-4m,",
            "23: hardware[0]: unknown hardware 'moons-4m', did you mean 'moons-4mb'?",
        ),
        ("[moons-4mb,", "[3,", "23: hardware[0]: must be a preset's name or {file: chip.yaml}, not 3"),
        ("max_failures: 0.25", "max_failures: 25", "28: limits.max_failures: must be <= 1, not 25"),
        ("seed: 0\n", "seed: 0\nseed: 1\n", "27: seed: stands twice, first in line 26; keep one"),
        (
            "[moons-4mb, ",
            "[moons-4mb, {file: a/moons-4mb.yaml}, ",
            "1: two hardware are called 'moons-4mb'; rename one of the files",
        ),
        ("seed: 0", "seed: &anchor 0", "26: anchors and aliases are refused; write the value out"),
        (
            "seed: 0",
            "seed: !!python/name:os 0",
            "26: the YAML tag 'tag:yaml.org,2002:python/name:os' is refused; plain values only",
        ),
    ],
)
def test_one_fault(tmp_path: Path, before: str, after: str, text: str) -> None:
    assert faults(tmp_path, (before, after)) == f"poq.yaml:{text}"


@pytest.mark.parametrize(
    ("accuracy", "text"),
    [
        (
            "{evaluator: short_qat}",
            "init: parent needs parent: {epochs: ...}, the budget of the float32 parent of each topology",
        ),
        (
            "{evaluator: short_qat, init: scratch}",
            "evaluator short_qat starts from a parent: use evaluator qat for init: scratch",
        ),
        (
            "{evaluator: table, table: a.csv, parent: {epochs: 1}}",
            "evaluator table trains nothing: leave parent out",
        ),
        ("{evaluator: table}", "table: FILE.csv goes with evaluator: table, and only with it"),
    ],
)
def test_accuracy_sections_that_contradict_themselves(tmp_path: Path, accuracy: str, text: str) -> None:
    start, end = POQ.index("accuracy:\n"), POQ.index("hardware:")
    with pytest.raises(StudyFileError) as caught:
        read(tmp_path, f"{POQ[:start]}accuracy: {accuracy}\n{POQ[end:]}")
    assert str(caught.value) == f"poq.yaml:17: accuracy: {text}"


def test_defaults(tmp_path: Path) -> None:
    start, end = POQ.index("accuracy:\n"), POQ.index("hardware:")
    file = read(tmp_path, f"{POQ[:start]}accuracy: {{evaluator: qat, init: scratch}}\n{POQ[end:]}")
    assert file.accuracy.budget.epochs == 100
    table = read(tmp_path, f"{POQ[:start]}accuracy: {{evaluator: table, table: a.csv}}\n{POQ[end:]}")
    assert table.accuracy.init == "scratch"
    with pytest.raises(
        ValueError, match=r"study 'poq-mobilenetv2' has no parents: accuracy\.init is scratch"
    ):
        table.parent_file()


def test_files_that_are_no_study(tmp_path: Path) -> None:
    (tmp_path / "poq.yaml").write_text("")
    cases = {
        "poq.yml": f"no file '{tmp_path}/poq.yml' here; did you mean '{tmp_path}/poq.yaml'?",
        "other.txt": f"no file '{tmp_path}/other.txt' here",
        ".": f"{tmp_path.name}: is a folder, not a study file",
    }
    for name, text in cases.items():
        with pytest.raises(StudyFileError) as caught:
            read_yaml(tmp_path / name)
        assert str(caught.value) == text


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "poq.yaml:1: a study file holds keys and values, not nothing"),
        (b"- a\n", "poq.yaml:1: a study file holds keys and values, not a list"),
        (b"a: [1\nb: 2\n", "poq.yaml:2: not YAML: expected ',' or ']', but got ':'"),
        (b"a: 1\n---\nb: 2\n", "poq.yaml:2: not YAML: but found another document"),
        (b"a: \xff\n", "poq.yaml: not UTF-8 text (byte 3)"),
        (b"#" * (1 << 20) + b"\n", "poq.yaml: larger than 1 MiB; a study file has a few dozen lines"),
        (b"[" * 5000, "poq.yaml: nests deeper than 20 levels"),
        (b"? [a]\n: 1\n", "poq.yaml:1: a key must be a word, not a list or mapping"),
    ],
)
def test_documents_that_are_no_study(tmp_path: Path, content: bytes, text: str) -> None:
    (tmp_path / "poq.yaml").write_bytes(content)
    with pytest.raises(StudyFileError) as caught:
        read_study_file(tmp_path / "poq.yaml")
    assert str(caught.value) == text


def test_a_repair_that_needs_a_teacher_needs_a_parent(tmp_path: Path) -> None:
    """Found before anything is trained; with a parent that only teaches the study is fine."""
    start, end = POQ.index("accuracy:\n"), POQ.index("hardware:")
    head = POQ[:start].replace("    - w2a2\n", "    - w1a1+teacher\n")
    with pytest.raises(StudyFileError) as caught:
        read(tmp_path, f"{head}accuracy: {{evaluator: qat, init: scratch}}\n{POQ[end:]}")
    assert str(caught.value) == (
        "poq.yaml:1: scheme w1a1+teacher has teacher and there is no teacher; give accuracy.parent: "
        "{epochs: ...}, the budget of the float32 network that teaches"
    )
    taught = "accuracy: {evaluator: qat, init: scratch, parent: {epochs: 1}}"
    assert read(tmp_path, f"{head}{taught}\n{POQ[end:]}").accuracy.parent is not None
