"""Costs of real graphs through the energy models, and what the room loads."""

import subprocess
import sys
from pathlib import Path

import pytest

from bitjoule.energy import cost
from bitjoule.hardware import load, preset_text
from bitjoule.mapping.nest import Mapping
from bitjoule.mapping.search import MAPPER_VERSION
from bitjoule.scheme import parse_scheme
from bitjoule.search import Candidate, Study
from bitjoule.search.key import key
from bitjoule.search.network_cost import NetworkCost
from bitjoule.workload import Graph, Node, Tensor, workload_of
from tests.search.conftest import WriteStudy
from tests.search.toy_chain import ToyJoin


def linear_graph(candidate: Candidate) -> Graph:
    """Two linear layers; the first filter count is the number of hidden values."""
    hidden = int(dict(candidate.topology).get("F_A", 4))
    fc1 = Node(
        "fc1", "linear", ("x",), "fc1", {"in_features": 16, "out_features": hidden}, {"weight": (hidden, 16)}
    )
    act = Node("act", "relu", ("fc1",), "act")
    fc2 = Node(
        "fc2",
        "linear",
        ("act",),
        "fc2",
        {"in_features": hidden, "out_features": 10},
        {"weight": (10, hidden)},
    )
    tensors = {"x": (1, 16), "fc1": (1, hidden), "act": (1, hidden), "fc2": (1, 10)}
    return Graph(
        "tiny",
        ("x",),
        ("fc2",),
        (fc1, act, fc2),
        {name: Tensor(name, shape) for name, shape in tensors.items()},
    )


class GraphJoin(ToyJoin):
    def graph(self, candidate: Candidate) -> Graph:
        return linear_graph(candidate)


def candidate(scheme: str, hidden: int = 8) -> Candidate:
    return Candidate("tiny", (("F_A", hidden),), parse_scheme(scheme))


def test_costs_are_those_of_the_energy_room() -> None:
    costs = NetworkCost(linear_graph)
    chosen = candidate("w4a4")
    record = costs(chosen, "moons-4mb")
    expected = cost(workload_of(linear_graph(chosen), "w4a4"), load("moons-4mb"))
    assert record.energy_pj == expected.energy_pj
    assert record.breakdown["cost"] == expected.to_json()
    assert record.breakdown["macs"] == 16 * 8 + 8 * 10
    proxies = record.breakdown["proxies"]
    assert isinstance(proxies, dict)
    assert proxies["params"] == 208


def test_keys_follow_the_content() -> None:
    captured: list[Candidate] = []

    def graph(wanted: Candidate) -> Graph:
        captured.append(wanted)
        return linear_graph(wanted)

    costs = NetworkCost(graph)
    payloads = [
        costs.payload(candidate("w4a4"), "moons-4mb"),
        costs.payload(candidate("int8"), "moons-4mb"),
        costs.payload(candidate("w4a4"), "moons-1mb"),
        costs.payload(candidate("w4a4", hidden=9), "moons-4mb"),
    ]
    assert len({key("cost", payload) for payload in payloads}) == 4
    assert costs.hardware_hash("moons-4mb") == load("moons-4mb").hash
    assert len(captured) == 2


def test_a_format_the_hardware_lacks_is_infeasible() -> None:
    record = NetworkCost(linear_graph)(candidate("fp16"), "braintta22")
    assert not record.feasible
    assert record.energy_pj is None
    assert "FP16" in str(record.reason)


def test_a_study_over_two_kinds_of_hardware(write_study: WriteStudy, tmp_path: Path) -> None:
    config = write_study(hardware="[moons-4mb, braintta22]", schemes="[fp16, int8, w2a2]", depths="[1]")
    study = Study.open(tmp_path / "real.study", config, join=GraphJoin())
    status = study.run("in_process")
    assert (status.trials, status.infeasible, status.failed) == (2 * 18, 6, 0)
    assert {point.family for point in study.points("braintta22")} == {"int8", "w2a2"}
    reread = Study.open(tmp_path / "real.study")
    assert reread.trials() == study.trials()
    assert reread.report_data()["families"] == ["fp16", "int8", "w2a2"]
    assert study.front().points[0].energy_pj > 0


def test_a_memory_hierarchy_keeps_the_mapping_of_every_layer() -> None:
    costs = NetworkCost(linear_graph)
    record = costs(candidate("w4a4"), "eyeriss")
    expected = cost(workload_of(linear_graph(candidate("w4a4")), "w4a4"), load("eyeriss"))
    assert record.energy_pj == expected.energy_pj
    assert record.breakdown["cost"] == expected.to_json()
    mappings = record.breakdown["mappings"]
    assert isinstance(mappings, list)
    assert [name for group in mappings for name in group["layers"]] == ["fc1", "fc2"]
    for group in mappings:
        assert group["nest"].startswith("dram ")
        assert group["certificate"].startswith("proven optimal (energy)")
        assert 0 < group["utilization"] <= 1
        assert Mapping.from_json(group["mapping"]).levels[-1].name == "dram"
    assert costs.payload(candidate("w4a4"), "eyeriss")["mapper_version"] == MAPPER_VERSION
    assert "mapper_version" not in costs.payload(candidate("w4a4"), "moons-4mb")


def test_what_does_not_fit_a_hierarchy_is_infeasible(tmp_path: Path) -> None:
    path = tmp_path / "narrow.yaml"
    wide = "size_bits: 3584, word_bits: 16, width_bits: 16"
    path.write_text(preset_text("eyeriss").replace(wide, "size_bits: 4, word_bits: 4, width_bits: 4"))
    record = NetworkCost(linear_graph)(candidate("int8"), str(path))
    assert not record.feasible
    assert "filter_rf" in str(record.reason)
    assert "FLOAT32" in str(NetworkCost(linear_graph)(candidate("float32"), "eyeriss").reason)


def test_a_study_on_hierarchies_plans_its_mapping_and_reports_it(
    write_study: WriteStudy, tmp_path: Path
) -> None:
    config = write_study(hardware="[moons-4mb, eyeriss]", schemes="[int8, w2a2]", depths="[1]")
    study = Study.open(tmp_path / "mapped.study", config, join=GraphJoin())
    candidates = study.dry_run().candidates
    assert str(study.dry_run()).endswith(f"; {candidates} to map (not timed yet)")
    study.run("in_process")
    assert study.dry_run().to_map == 0
    data = study.report_data()
    points = [point for point in data["points"] if point["hardware"] == "eyeriss"]  # type: ignore[attr-defined]
    assert all(len(point["mappings"]) == 2 for point in points)
    assert any("proven cheapest" in text for text in data["assumptions"])  # type: ignore[attr-defined]
    wider = write_study(hardware="[moons-4mb, eyeriss]", schemes="[int8, w2a2, w4a4]", depths="[1]")
    plan = Study.open(tmp_path / "mapped.study", wider, join=GraphJoin()).dry_run()
    assert plan.to_map == candidates // 2
    assert str(plan).endswith(f"; {candidates // 2} to map (at most 1 min)")


@pytest.mark.parametrize("module", ["bitjoule.search", "bitjoule.search.study", "bitjoule.search.worker"])
def test_torch_stays_out(module: str) -> None:
    code = f"import sys, {module}; print(*(m in sys.modules for m in ('torch', 'scipy', 'pyarrow')))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["False", "False", "False"]


def test_public_names_are_there() -> None:
    from bitjoule import search

    for name in search.__all__:
        assert getattr(search, name).__name__ == name
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        _ = search.Nothing  # type: ignore[attr-defined]
