"""`bitjoule train` on the embedded digits: the table, the document, exit codes."""

import json
import re

import pytest
import torch

from bitjoule import zoo
from tests.cli.run import bitjoule

SHORT = ("train", "tfc", "--width", "0.5", "--epochs", "1", "--parent-epochs", "1")


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_a_table_in_percent_and_progress_apart():
    done = bitjoule(*SHORT, "--scheme", "w4a4")
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    assert re.match(r"tfc on digits, seed 0: 1 epochs in [\d.]+ s, 1 threads$", lines[0])
    assert lines[1].split() == ["scheme", "validation", "test"]
    rows = [line for line in lines if "%" in line]
    assert re.match(r" *float32 \(parent\) +[\d.]+ % +[\d.]+ %", rows[0])
    assert re.match(r" *w4a4 +[\d.]+ % +[\d.]+ %", rows[1])
    assert len(rows) == 2
    assert len(done.stderr.splitlines()) == 2


def test_a_network_without_a_parent_is_one_row():
    done = bitjoule(*SHORT, "--scheme", "float32", "--quiet")
    assert "parent" not in done.stdout and done.stdout.count("%") == 2
    assert done.stderr == ""


def test_json_is_alone_on_stdout(tmp_path):
    done = bitjoule(*SHORT, "--scheme", "w4a4", "--json", "-o", str(tmp_path))
    document = json.loads(done.stdout)
    assert (document["bitjoule"], document["command"], document["scheme"]) == (1, "train", "w4a4")
    assert 0 < document["accuracy_test"] <= 1 and document["failure"] is None
    assert len(done.stderr.splitlines()) == 2
    assert (tmp_path / "weights.safetensors").is_file()
    quiet = bitjoule(*SHORT, "--scheme", "w4a4", "--json", "--quiet")
    assert quiet.stderr == ""
    assert {**json.loads(quiet.stdout), "seconds": 0} == {**document, "seconds": 0}


@pytest.mark.parametrize("arguments", [("tfc", "--scheme", "w4b4"), ("tfc", "--data", "mnits"), ("tcf",)])
def test_bad_input_is_said_in_a_line(arguments):
    done = bitjoule("train", *arguments, "--epochs", "1", code=2)
    assert done.stdout == ""
    assert done.stderr.startswith("error: ") and len(done.stderr.splitlines()) <= 2
    assert arguments[-1] in done.stderr


@pytest.mark.parametrize("extra", [(), ("--json",)])
def test_a_divergence_exits_with_one(monkeypatch, extra):
    """Weights that are not finite diverge at the first steps of a real training."""
    built = zoo.build

    def poisoned(*given):
        model = built(*given)
        with torch.no_grad():
            model.classifier.weight.fill_(float("nan"))
        return model

    monkeypatch.setattr(zoo, "build", poisoned)
    done = bitjoule(*SHORT, "--scheme", "float32", *extra, code=1)
    assert "error: the loss was not finite in 3 steps in a row" in done.stderr
    if extra:
        document = json.loads(done.stdout)
        assert document["accuracy_test"] is None and document["failure"].startswith("the loss was not")
    else:
        assert "%" not in done.stdout and "- " in done.stdout
