"""`bitjoule prune` on the embedded digits: the table, the document, the saved graph, bad input."""

import json

import pytest
import torch

from tests.cli.run import bitjoule

SHORT = ("prune", "tfc", "--channels", "0.5", "--parent-epochs", "1", "--epochs", "1")


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_a_table_of_what_is_saved_and_notes():
    done = bitjoule(*SHORT, "--scheme", "w4a4[prune=2:4]", "--hardware", "braintta22")
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    assert lines[0] == "tfc on digits, 50% of the channels to go by bn_gamma"
    assert "energy on braintta22, w4a4[prune=2:4]" in lines[1]
    rows = [line.split() for line in lines if line.rstrip().endswith("%")]
    assert [row[0] for row in rows] == ["parent", "pruned"]
    assert "12,928" in rows[0] and "4,416" in rows[1]
    assert lines[-2].startswith("note: channels cut: hidden.hidden1.linear 64 -> 32")
    assert lines[-1] == "note: not pruned, because it reads the network input: hidden.hidden1.linear"
    assert len(done.stderr.splitlines()) == 2


def test_json_and_a_graph_that_other_commands_read(tmp_path):
    done = bitjoule(*SHORT, "--score", "l1", "--json", "--quiet", "-o", str(tmp_path))
    document = json.loads(done.stdout)
    assert (document["bitjoule"], document["command"], document["score"]) == (1, "prune", "l1")
    parent, pruned = document["parent"], document["pruned"]
    assert pruned["macs"] == 4416 and pruned["energy_pj"] < parent["energy_pj"]
    assert 0 < pruned["accuracy_test"] <= 1 and done.stderr == ""
    priced = bitjoule("energy", str(tmp_path / "graph.json"), "--scheme", "float32", "--json")
    assert json.loads(priced.stdout)["workload"]["macs"] == 4416
    assert (tmp_path / "pruned" / "weights.safetensors").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--channels", "1.5"), "prune_channels: ratio must be at least 0 and below 1, not 1.5"),
        (("--channels", "0.3", "--score", "l0"), "prune_channels: score must be bn_gamma or l1, not 'l0'"),
        (("--channels", "0.3", "--scheme", "w4a4[prune=9]"), "prune must be N:M"),
    ],
)
def test_bad_input_is_said_before_any_training(arguments, message):
    done = bitjoule("prune", "tfc", *arguments, code=2)
    assert done.stdout == "" and message in done.stderr and len(done.stderr.splitlines()) == 1
