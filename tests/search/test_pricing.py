"""Costs side by side: the same records on any number of workers, whatever happens to the workers."""

import subprocess
import sys
from dataclasses import replace

import pytest

from bitjoule.search import Candidate, pricing
from bitjoule.search.network_cost import NetworkCost
from bitjoule.search.pricing import Pair, PricedElsewhere, Pricing
from bitjoule.search.trial import CostRecord, Json
from tests.search.test_network_cost import candidate, linear_graph
from tests.search.toy_chain import ToyCost

PAIRS: list[Pair] = [
    (candidate("w4a4"), "eyeriss"),
    (candidate("int8"), "eyeriss"),
    (candidate("w4a4"), "moons-4mb"),
    (candidate("float32"), "eyeriss"),
]


def untimed(record: CostRecord) -> CostRecord:
    return replace(record, breakdown={k: v for k, v in record.breakdown.items() if k != "mapping_s"})


def priced(costs: NetworkCost, workers: int) -> dict[Pair, CostRecord]:
    return {pair: untimed(record) for pair, record in Pricing(costs, workers).records(PAIRS)}


@pytest.fixture(scope="module")
def here() -> dict[Pair, CostRecord]:
    """The records of one process."""
    return priced(NetworkCost(linear_graph), 1)


def test_records_do_not_depend_on_the_workers(here: dict[Pair, CostRecord]) -> None:
    assert list(here) == PAIRS
    assert [record.feasible for record in here.values()] == [True, True, True, False]
    assert priced(NetworkCost(linear_graph), 2) == here


def test_only_what_must_be_mapped_goes_elsewhere() -> None:
    costs = NetworkCost(linear_graph)
    assert isinstance(costs, PricedElsewhere)
    assert costs.pricing_job(candidate("w4a4"), "moons-4mb") is None
    job = costs.pricing_job(candidate("w4a4"), "eyeriss")
    assert job is not None and (job["scheme"], job["hardware"]) == ("w4a4", "eyeriss")
    assert not isinstance(ToyCost(), PricedElsewhere)


def test_workers_that_die_cost_time_and_nothing_else(
    here: dict[Pair, CostRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    def dead() -> subprocess.Popen[str]:
        command = [sys.executable, "-c", "import os; os._exit(9)"]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    monkeypatch.setattr(pricing, "_worker", dead)
    assert priced(NetworkCost(linear_graph), 2) == here


def test_a_job_that_a_worker_cannot_price_is_priced_here(here: dict[Pair, CostRecord]) -> None:
    class Garbled(NetworkCost):
        def pricing_job(self, candidate: Candidate, hardware: str) -> Json | None:
            job = super().pricing_job(candidate, hardware)
            return None if job is None else {**job, "graph": {}}

    assert priced(Garbled(linear_graph), 2) == here


def test_a_stop_ends_it_and_leaves_no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[str]] = []
    real = pricing._worker

    def worker() -> subprocess.Popen[str]:
        started.append(real())
        return started[-1]

    monkeypatch.setattr(pricing, "_worker", worker)
    records = Pricing(NetworkCost(linear_graph), 2).records(PAIRS[:2], lambda: bool(started))
    assert list(records) == []
    assert len(started) == 2
    assert all(process.poll() is not None for process in started)


def test_a_worker_ends_with_its_driver() -> None:
    process = pricing._worker()
    assert process.stdin is not None and process.stdout is not None
    process.stdin.close()
    assert process.wait(timeout=30) == 0
    process.stdout.close()
