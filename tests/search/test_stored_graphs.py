"""Graphs are captured once in the life of a study."""

from pathlib import Path

import pytest

from bitjoule.search.space import Candidate
from bitjoule.search.store import Store
from bitjoule.search.stored_graphs import StoredGraphs
from bitjoule.search.study import Study
from bitjoule.search.study_file import StudyFile
from bitjoule.workload import Graph
from tests.search.conftest import WriteStudy
from tests.search.test_network_cost import candidate, linear_graph
from tests.search.toy_chain import ToyJoin


class CountingJoin(ToyJoin):
    def __init__(self, content: str = "tiny") -> None:
        super().__init__()
        self.captured: list[Candidate] = []
        self.content = content

    def graph(self, candidate: Candidate) -> Graph:
        self.captured.append(candidate)
        return linear_graph(candidate)

    def graph_content(self, file: StudyFile) -> dict[str, object]:
        return {"network": self.content}


def test_a_study_captures_each_topology_once_and_a_replay_none(
    write_study: WriteStudy, tmp_path: Path
) -> None:
    parents = "{evaluator: qat, parent: {epochs: 4}, budget: {epochs: 2}, seeds_front: 1}"
    config = write_study(
        hardware="[moons-4mb, braintta22]", schemes="[int8, w2a2]", depths="[1]", accuracy=parents
    )
    first, again, dry = CountingJoin(), CountingJoin(), CountingJoin()
    study = Study.open(tmp_path / "a.study", config, join=first)
    study.run("in_process")
    topologies = [c.topology for c in first.captured]
    assert len(topologies) == len(set(topologies)) == 6
    before = study.trials()
    study = Study.open(tmp_path / "a.study", config, join=again)
    study.run("in_process")
    assert again.captured == []
    assert study.trials() == before
    assert Study.open(tmp_path / "a.study", config, join=dry).dry_run().to_train == 0
    assert dry.captured == []
    other = CountingJoin("another")
    Study.open(tmp_path / "a.study", config, join=other).run("in_process")
    assert len(other.captured) == 6


def test_a_graph_comes_back_as_it_was_stored(tmp_path: Path) -> None:
    store = Store(tmp_path / "study.sqlite")
    wanted = candidate("w4a4")
    captured = StoredGraphs(linear_graph, {"network": "tiny"}, store)(wanted)

    def refuse(_: Candidate) -> Graph:
        raise AssertionError("captured again")

    assert StoredGraphs(refuse, {"network": "tiny"}, store)(wanted) == captured
    assert StoredGraphs(refuse, {"network": "tiny"}, store)(candidate("int8")) == captured
    with pytest.raises(AssertionError, match="captured again"):
        StoredGraphs(refuse, {"network": "tiny"}, store)(candidate("w4a4", hidden=9))
    with pytest.raises(AssertionError, match="captured again"):
        StoredGraphs(refuse, {"network": "another"}, store)(wanted)
    store.close()


@pytest.mark.parametrize("text", ["not JSON", '{"schema": "bitjoule.graph/0"}', "[]"])
def test_a_stored_graph_that_cannot_be_read_is_captured_anew(tmp_path: Path, text: str) -> None:
    store = Store(tmp_path / "study.sqlite")
    graphs = StoredGraphs(linear_graph, {"network": "tiny"}, store)
    expected = graphs(candidate("w4a4"))
    with store.transaction():
        store.connection.execute("UPDATE meta SET value=? WHERE key LIKE 'graph:%'", (text,))
    assert graphs(candidate("w4a4")) == expected
    store.close()


def test_a_store_that_is_only_read_stays_as_it_is(tmp_path: Path) -> None:
    store = Store(tmp_path / "study.sqlite")
    StoredGraphs(linear_graph, {}, store, keep=False)(candidate("w4a4"))
    assert store.connection.execute("SELECT COUNT(*) FROM meta").fetchone()[0] == 0
    store.close()
