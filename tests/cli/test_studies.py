"""`bitjoule search`, `front`, `compare`, `report` on a study whose accuracies come from a table."""

import json
import resource
import shutil
from pathlib import Path

import pytest

from bitjoule.search.lock import StudyLock
from tests.cli.run import bitjoule
from tests.read_only import ReadOnlyFolder

STUDY = """\
bitjoule: 1
name: small
network: {zoo: resnet8}
space: {kind: grid, widths: [0.25], graph_modes: [SP], schemes: [fp16, int8, w4a4]}
data: {kind: digits}
accuracy: {evaluator: table, table: small.csv, seeds_front: 1}
hardware: [moons-4mb, braintta22]
method: {kind: grid}
executor: {kind: in_process}
"""
TABLE = """\
scheme,width,split,accuracy
fp16,0.25,,0.95
int8,0.25,,0.94
w4a4,0.25,validation,0.92
w4a4,0.25,test,0.91
"""
BOTH = "moons-4mb, braintta22"


def written(folder: Path, table: str = TABLE, study: str = STUDY) -> Path:
    (folder / "small.csv").write_text(table)
    (folder / "small.yaml").write_text(study)
    return folder / "small.yaml"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study, run once; tests read it, or copy it."""
    folder = tmp_path_factory.mktemp("finished")
    bitjoule("search", str(written(folder)), "--study", str(folder / "small.study"), "--quiet")
    return folder / "small.study"


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    """The same study with its study file, to be harmed."""
    written(tmp_path)
    return Path(shutil.copytree(finished, tmp_path / "small.study"))


@pytest.fixture
def failed(tmp_path: Path) -> Path:
    """A study file of which no candidate can succeed: the table has no row for any."""
    text = STUDY.replace("[fp16, int8, w4a4]", "[fp16, int8]")
    return written(tmp_path, "scheme,width,accuracy\nw2a2,0.25,0.5\n", text)


def search(config: Path, *options: str, code: int = 0) -> tuple[str, str]:
    study = str(config.parent / "small.study")
    done = bitjoule("search", str(config), "--study", study, "--quiet", *options, code=code)
    return done.stdout, done.stderr


def test_search_says_what_it_did_and_leaves_its_files(copy: Path) -> None:
    out, err = search(copy.parent / "small.yaml")
    assert out == f"small: 5 done, 0 failed, 1 do not fit; report: {copy}/report.html\n"
    assert err == ""
    names = {path.name for path in copy.iterdir()}
    assert names >= {"study.yaml", "study.sqlite", "front.csv", "trials.parquet", "best", "report.html"}
    document = json.loads(search(copy.parent / "small.yaml", "--json")[0])
    assert (document["bitjoule"], document["command"], document["failure"]) == (1, "search", None)
    assert document["status"] == {"name": "small", "trials": 6, "done": 5, "failed": 0, "infeasible": 1}
    assert document["report"] == f"{copy}/report.html"


def test_dry_run_writes_nothing(tmp_path: Path) -> None:
    config = written(tmp_path)
    out, _ = search(config, "--dry-run")
    assert out == "small: 3 candidates x 2 hardware, 0 stored, 3 to train (nothing timed yet)\n"
    document = json.loads(search(config, "--dry-run", "--json")[0])
    assert document["dry_run"]["to_train"] == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["small.csv", "small.yaml"]


def test_front(finished: Path) -> None:
    out = bitjoule("front", str(finished)).stdout
    assert "front on moons-4mb" in out
    assert "front on braintta22" in out
    fronts = json.loads(bitjoule("front", str(finished), "--json").stdout)["fronts"]
    assert [line["family"] for line in fronts["moons-4mb"]] == ["w4a4", "int8", "fp16"]
    assert [line["family"] for line in fronts["braintta22"]] == ["w4a4", "int8"]
    assert [line["accuracy_test"] for line in fronts["moons-4mb"]] == [0.91, 0.94, 0.95]
    one = json.loads(bitjoule("front", str(finished), "--hardware", "moons-4mb", "--json").stdout)["fronts"]
    assert one == {"moons-4mb": fronts["moons-4mb"]}


def test_a_family_that_fits_one_hardware_only(finished: Path) -> None:
    text = "no finished trial of fp16 on braintta22: 1 does not fit; see the report"
    out = bitjoule("front", str(finished), "--family", "fp16").stdout
    assert "front on moons-4mb" in out
    assert text in out
    assert text in bitjoule("compare", str(finished), "fp16", "int8").stdout
    arguments = (str(finished), "fp16", "int8", "--hardware", "braintta22")
    assert bitjoule("compare", *arguments, code=1).stderr == f"error: {text}\n"


def test_compare(finished: Path) -> None:
    out = bitjoule("compare", str(finished), "w4a4", "int8", "--hardware", "moons-4mb").stdout
    assert out.startswith("w4a4 over int8: no common accuracy: ")
    both = bitjoule("compare", str(finished), "int8", "int8").stdout.splitlines()
    assert [line.split(":")[0] for line in both] == ["moons-4mb", "braintta22"]
    document = json.loads(bitjoule("compare", str(finished), "int8", "int8", "--json").stdout)
    assert document["hardware"]["moons-4mb"]["saving"]["median"] == 1.0
    assert document["unfinished"] == {}


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("compare", "w4a4", "int9"), "no family 'int9' in small.study; families: fp16, int8, w4a4"),
        (("compare", "w4a4", "int8", "--hardware", "x"), f"no hardware 'x' in small.study; hardware: {BOTH}"),
        (("front", "--hardware", "x"), f"no hardware 'x' in {{}}; hardware: {BOTH}"),
        (("front", "--family", "int9"), "no family 'int9' in {}; families: fp16, int8, w4a4"),
    ],
)
def test_unknown_names(finished: Path, arguments: tuple[str, ...], text: str) -> None:
    command, *rest = arguments
    error = bitjoule(command, str(finished), *rest, code=2).stderr
    assert error in {f"error: {text.format(name)}\n" for name in ("small.study", "this study")}


def test_report(copy: Path, tmp_path: Path) -> None:
    shutil.rmtree(copy / "best")
    page = tmp_path / "page.html"
    document = json.loads(bitjoule("report", str(copy), "-o", str(page), "--json").stdout)
    assert document["report"] == str(page)
    assert document["files"] == []
    assert page.read_text().startswith("<!DOCTYPE html>") or page.read_text().startswith("<!doctype html>")
    assert not (copy / "best").exists()  # only the page was asked for
    assert bitjoule("report", str(copy)).stdout == f"{copy}/report.html\n"
    assert (copy / "best").is_dir()


def test_a_missing_file_has_its_near_name(tmp_path: Path) -> None:
    near = written(tmp_path)
    error = search(tmp_path / "smal.yml", code=2)[1]
    assert error == f"error: no file '{tmp_path}/smal.yml' here; did you mean '{near}'?\n"
    missing = str(tmp_path / "no.study")
    for command in ("front", "report"):
        error = bitjoule(command, missing, code=2).stderr
        assert error == f"error: no study at {missing}; give the study file that is to be run\n"


def test_three_faults_are_told_at_once(tmp_path: Path) -> None:
    text = STUDY.replace("int8", "int88").replace("seeds_front", "seed_front").replace("moons-4mb", "moons-4")
    error = search(written(tmp_path, study=text), code=2)[1].splitlines()
    assert len(error) == 3
    assert error[0].startswith("error: small.yaml:4: space.schemes[1]: ")
    assert error[1].startswith("small.yaml:6: accuracy.seed_front: unknown key")
    assert error[2].startswith("small.yaml:7: hardware[0]: unknown hardware 'moons-4', did you mean 'moons-")
    assert not (tmp_path / "small.study").exists()


def test_a_second_driver_is_refused_also_with_fresh(copy: Path) -> None:
    lock = StudyLock(copy / "study.lock")
    for options in ((), ("--fresh",)):
        out, error = search(copy.parent / "small.yaml", *options, code=2)
        assert (out, error.count("\n")) == ("", 1)
        assert error.startswith("error: study is being run by process ")
    assert "front on moons-4mb" in bitjoule("front", str(copy)).stdout  # readers are not in the way
    lock.close()


@pytest.mark.parametrize("harm", ["text", "pages", "truncated"])
def test_a_damaged_store_is_named_with_its_remedy(copy: Path, harm: str) -> None:
    store = copy / "study.sqlite"
    whole = store.read_bytes()
    harmed = {
        "text": b"no database at all " * 1000,
        "pages": whole[:4096] + b"\xa5" * (len(whole) - 4096),
        "truncated": whole[: len(whole) // 2],
    }
    store.write_bytes(harmed[harm])
    commands = [("front",), ("compare", "w4a4", "int8"), ("report",)]
    errors = [bitjoule(name, str(copy), *rest, code=2).stderr for name, *rest in commands]
    errors.append(search(copy.parent / "small.yaml", code=2)[1])
    for error in errors:
        assert error.startswith(f"error: {store} is ")
        assert "move it away" in error
        assert error.count("\n") == 1
    search(copy.parent / "small.yaml", "--fresh")  # the broken one is moved aside, not read
    assert (copy.with_name("small.study.old-1") / "study.sqlite").read_bytes() == harmed[harm]
    store.unlink()
    assert search(copy.parent / "small.yaml")[0].startswith("small: 5 done")


def test_a_frozen_file_of_another_bitjoule_gives_way_to_fresh(copy: Path) -> None:
    (copy / "study.yaml").write_text(STUDY.replace("method: {kind: grid}", "method: {kind: annealing}"))
    error = bitjoule("front", str(copy), code=2).stderr
    assert error.startswith(f"error: {copy}/study.yaml:8: method.kind: must be one of ")
    error = search(copy.parent / "small.yaml", code=2)[1]
    assert error.startswith(
        f"error: {copy} holds a study file that this bitjoule cannot read: use --fresh to move the study "
        f"aside and begin anew, or give another directory\n{copy}/study.yaml:8: method.kind: "
    )
    out, _ = search(copy.parent / "small.yaml", "--fresh")
    assert out.startswith("small: 5 done")


def test_a_full_disk_is_one_line_and_nobody_s_fault(tmp_path: Path) -> None:
    config = written(tmp_path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, before[1]))
    try:
        _, error = search(config, code=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert error.count("\n") == 1
    assert "what was stored before is intact; make room and run the same command to go on" in error
    assert search(config)[0].startswith("small: 5 done, 0 failed, 1 do not fit")


def test_a_report_without_room_is_one_line(finished: Path, tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, before[1]))
    try:
        error = bitjoule("report", str(finished), "-o", str(tmp_path / "page.html"), code=1).stderr
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert error == "error: a file could not be written (File too large): make room and run again\n"
    assert list(tmp_path.iterdir()) == []


def test_a_read_only_study_is_read(finished: Path, read_only_folder: ReadOnlyFolder, tmp_path: Path) -> None:
    study = Path(shutil.copytree(finished, read_only_folder.path / "small.study"))
    config = written(read_only_folder.path)
    page = read_only_folder.path.with_suffix(".html")
    page.touch()
    with read_only_folder.locked():
        assert "front on moons-4mb" in bitjoule("front", str(study)).stdout
        assert bitjoule("compare", str(study), "int8", "int8").stdout
        for arguments in (("report", str(study)), ("search", str(config), "--study", str(study), "-q")):
            error = bitjoule(*arguments, code=2).stderr
            assert "Permission denied" in error
            assert error.count("\n") == 1
    page.unlink()
    elsewhere = tmp_path / "page.html"
    assert bitjoule("report", str(study), "-o", str(elsewhere)).stdout == f"{elsewhere}\n"


def test_a_study_with_only_failures_says_so_everywhere(failed: Path) -> None:
    moons = "no finished trial on moons-4mb: 2 failed (error 2); see the report"
    tta = "no finished trial on braintta22: 1 failed (error 1), 1 does not fit; see the report"
    study = failed.parent / "small.study"
    out, error = search(failed, code=1)
    assert out == f"small: 0 done, 3 failed, 1 do not fit; report: {study}/report.html\n"
    assert error == f"error: {moons}; {tta}\n"
    assert bitjoule("front", str(study), code=1).stderr == f"error: {moons}; {tta}\n"
    assert bitjoule("front", str(study), "--hardware", "braintta22", code=1).stderr == f"error: {tta}\n"
    document = json.loads(bitjoule("front", str(study), "--json", code=1).stdout)
    assert document["fronts"] == {"moons-4mb": [], "braintta22": []}
    assert document["unfinished"] == {"moons-4mb": moons, "braintta22": tta}
    error = bitjoule("compare", str(study), "fp16", "int8", "--hardware", "moons-4mb", code=1).stderr
    assert error.startswith("error: no finished trial of ")
    error = bitjoule("compare", str(study), "fp16", "w4a4", code=2).stderr
    assert error == "error: no family 'w4a4' in small.study; families: fp16, int8\n"
    assert (study / "report.html").exists()


def test_nothing_fits_exits_with_three(tmp_path: Path) -> None:
    text = STUDY.replace("[fp16, int8, w4a4]", "[fp16]").replace(BOTH, "braintta22")
    error = search(written(tmp_path, study=text), code=3)[1]
    assert error == "error: no finished trial on braintta22: 1 does not fit; see the report\n"


def test_too_many_failures_leave_tables_and_report(tmp_path: Path) -> None:
    schemes = "[int8, w7a7, w6a6, w5a5, w4a4, w3a3, w2a2, w8a4]"
    config = written(tmp_path, study=STUDY.replace("[fp16, int8, w4a4]", schemes).replace(BOTH, "moons-4mb"))
    out, error = search(config, "--json", code=1)
    assert error.startswith(
        "error: 6 of 8 evaluations failed, limits.max_failures is 0.25: error 6 (small"
    )
    document = json.loads(out)
    assert error == f"error: {document['failure']}\n"
    assert (document["status"]["done"], document["status"]["failed"]) == (2, 6)
    names = {path.name for path in (tmp_path / "small.study").iterdir()}
    assert names >= {"front.csv", "trials.parquet", "best", "report.html"}
