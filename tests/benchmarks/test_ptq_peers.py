"""The benchmark's runs of other tools: interpreters, children and reasons, without any of the tools."""

import importlib
import json
import stat
import sys
from pathlib import Path

import pytest
import torch

from bitjoule import zoo

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
FAKE = """#!{python}
import json, sys
from pathlib import Path
if sys.argv[1] == "-c":
    print(json.dumps({versions}))
    raise SystemExit
folder, tool = Path(sys.argv[3]), sys.argv[4]
job = json.loads((folder / "job.json").read_text())
assert (folder / "arrays.npz").exists() and job["threads"] == 1
with (folder / (tool + ".jsonl")).open("a") as out:
    for scheme in job["schemes"]:
        row = {{"scheme": scheme, "recipe": "plain", "seed": job["seeds"][0], "note": ""}}
        if scheme == "w4a8":
            row["reason"] = "8 bits only"
        else:
            row |= {{"top1": 50.0, "agreement": 75.0, "wall_s": 2.0, "cpu_s": 1.0}}
        out.write(json.dumps(row) + "\\n")
print("warming up")
{end}
"""


@pytest.fixture
def peers(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("ptq_peers")


@pytest.fixture
def child(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("ptq_tools.child")


def fake(folder, versions, end=""):
    path = folder / f"python{len(list(folder.iterdir()))}"
    path.write_text(FAKE.format(python=sys.executable, versions=versions, end=end), encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def job_of(peers, **arrays):
    schemes = {"w8a8": (8, 8), "w4a8": (4, 8)}
    return peers.Job("tfc", {}, schemes, (3,), 1, arrays or {"images": torch.zeros(2, 3)})


def tool_of(peers):
    return peers.Tool("Fake", "fake", ("fake-tool-of-the-tests", "torch"))


def test_answers_come_from_the_child(peers, tmp_path):
    python = fake(tmp_path, {"fake-tool-of-the-tests": "1.2", "torch": "2"})
    heard = []
    answers = peers.run_peers(job_of(peers), [python], [tool_of(peers)], heard.append)
    assert answers == heard
    assert answers == [
        peers.Answer("Fake 1.2", "w8a8", "plain", 3, 50.0, 75.0, 2.0, 1.0),
        peers.Answer("Fake 1.2", "w4a8", "plain", 3, reason="8 bits only"),
    ]


def test_broken_child_says_its_last_lines(peers, tmp_path):
    end = "print('out of luck', file=sys.stderr); sys.exit(3)"
    python = fake(tmp_path, {"fake-tool-of-the-tests": "1.2", "torch": "2"}, end)
    answers = peers.run_peers(job_of(peers), [python], [tool_of(peers)])
    assert [answer.scheme for answer in answers] == ["w8a8", "w4a8", "rest"]
    text = answers[-1].reason
    assert text.startswith("the child ended with 3 after 2 runs: ") and "out of luck" in text


@pytest.mark.parametrize(
    ("versions", "reason"),
    [
        ({}, "not installed; --python PATH names an interpreter that has it"),
        ({"fake-tool-of-the-tests": "1.2"}, "python0 has it but lacks torch"),
    ],
)
def test_tool_that_is_not_there_has_a_reason(peers, tmp_path, versions, reason):
    answers = peers.run_peers(job_of(peers), [fake(tmp_path, versions)], [tool_of(peers)])
    assert answers == [peers.Answer("Fake", "all", "-", None, reason=reason)]


def test_interpreter_that_does_not_start_is_named(peers):
    found = peers.find(tool_of(peers), ["/nowhere/python"])
    assert found.startswith("/nowhere/python does not start (")


def test_widths_of_plain_integer_schemes(peers):
    assert peers.widths("w4a8") == (4, 8)
    assert peers.widths("wPOT4a8") is None
    assert peers.widths("w4a8[first=8]") is None


def small_job(change=0.0):
    model = zoo.build("tfc", {}, 0).eval()
    images = torch.randn(40, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits = model(images)
    weights = {f"weights/{name}": value for name, value in model.state_dict().items()}
    return {
        "images": images,
        "labels": logits.argmax(1),
        "float_logits": logits + change,
        "calibration/3": images[:8],
        **weights,
    }


def test_child_runs_recipes_and_gives_reasons(peers, child, tmp_path, monkeypatch):
    recipe = importlib.import_module("ptq_tools.recipe")

    def refuse(model, task):
        raise recipe.Refused(f"no {task.weight_bits} bits")

    def fail(model, task):
        raise ValueError("broken\nfor a reason")

    module = type(sys)("ptq_tools.fake_recipes")
    module.RECIPES = (
        recipe.Recipe("float", lambda model, task: model, "all of it float"),
        recipe.Recipe("refuses", refuse),
        recipe.Recipe("fails", fail),
    )
    monkeypatch.setitem(sys.modules, "ptq_tools.fake_recipes", module)
    job = peers.Job("tfc", {}, {"w4a8": (4, 8)}, (3,), torch.get_num_threads(), small_job())
    peers.write(tmp_path, job)
    child.main(tmp_path, "fake")
    lines = (tmp_path / "fake.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row["recipe"] for row in rows] == ["float", "refuses", "fails"]
    assert rows[0]["top1"] == rows[0]["agreement"] == 100.0
    assert rows[0]["wall_s"] >= 0 and rows[0]["note"] == "all of it float"
    assert rows[1]["reason"] == "no 4 bits"
    assert rows[2]["reason"] == "ValueError: broken"


def test_child_refuses_another_float_network(peers, child, tmp_path):
    peers.write(tmp_path, peers.Job("tfc", {}, {}, (), torch.get_num_threads(), small_job(change=1.0)))
    with pytest.raises(
        RuntimeError, match=r"the float network differs here: its logits are .*% of their range"
    ):
        child.main(tmp_path, "fake")


def test_real_child_builds_the_network_without_the_data_sets(peers):
    """The child of the running interpreter passes the check of the network and stops at unknown recipes."""
    job = peers.Job("tfc", {}, {"w4a8": (4, 8)}, (3,), 1, small_job())
    (answer,) = peers.run_peers(job, [], [peers.Tool("Nobody", "nobody", ("torch",))])
    assert answer.scheme == "all"
    assert answer.reason.startswith("the child ended with 1 after 0 runs: ")
    assert "No module named 'ptq_tools.nobody_recipes'" in answer.reason


def test_table_says_reasons_and_spread(peers, capsys):
    ptq = importlib.import_module("ptq")
    rows = [
        ptq.row_of(peers.Answer("T 1", "w8a8", "plain", 0, 80.0, 90.0, 2.0, 1.0), "test"),
        ptq.row_of(peers.Answer("T 1", "w8a8", "plain", 1, 81.0, 90.0, 2.0, 1.0), "test"),
        ptq.row_of(peers.Answer("U", "all", "-", None, reason="not installed"), "test"),
    ]
    ptq.show(rows)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[1] == ["w8a8", "T", "1:", "plain", "2", "80.50", "1.00", "90.00", "2.0", "1.0"]
    assert lines[2] == ["all", "U:", "-", "-", "not", "installed"]


def test_child_builds_the_network_with_its_options(peers, child, tmp_path):
    """Numbers joined by commas come back from the file as the tuple that the zoo takes."""
    options = {"filters": (4, 8, 8), "in_channels": 1}
    model = zoo.build("moons", options, 5)
    weights = {f"weights/{name}": value for name, value in model.state_dict().items()}
    peers.write(tmp_path, peers.Job("moons", options, {}, (), 1, weights))
    job = json.loads((tmp_path / "job.json").read_text(encoding="utf-8"))
    made = child.float_network(job, weights)
    for name, value in model.state_dict().items():
        assert torch.equal(made.state_dict()[name], value)


def test_weights_are_a_name_in_the_folder_or_a_path(peers, tmp_path, monkeypatch):
    ptq = importlib.import_module("ptq")
    inside, outside = tmp_path / "weights" / "net.th", tmp_path / "own.th"
    inside.parent.mkdir()
    for path in (inside, outside):
        path.write_text("", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert ptq.weights_file(tmp_path, "net.th") == inside
    assert ptq.weights_file(tmp_path, str(outside)) == outside
    assert ptq.weights_file(tmp_path, "own.th") == Path("own.th")
    assert ptq.weights_file(tmp_path, "missing.th") == tmp_path / "weights" / "missing.th"


def test_shortcut_without_slices_is_the_same_function(peers):
    recipes = importlib.import_module("ptq_tools.brevitas_recipes")
    model = zoo.build("resnet20", {"width": 0.25}, 0).eval()
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        wanted = model(images)
        made = recipes.pooled(model)
        assert not any(type(module).__name__ == "OptionAShortcut" for module in made.modules())
        assert torch.equal(made(images), wanted)
