"""Studies on the toy chain: order, memory, parents, failures, refusals, outputs."""

import csv
import json
import resource
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from bitjoule.search.evaluation import MEASURING_EPOCHS
from bitjoule.search.jobs import Job, Jobs, TooManyFailuresError
from bitjoule.search.lock import StudyLock
from bitjoule.search.pareto import front
from bitjoule.search.progress import ProgressEvent
from bitjoule.search.store import AccuracyRow, DiskFullError, Store, StoreError
from bitjoule.search.study import Study
from bitjoule.search.study_directory import StudyError
from bitjoule.search.study_tables import FRONT_COLUMNS
from tests.search.conftest import WriteStudy
from tests.search.toy_chain import ToyCost, ToyJoin, accuracy, energy_pj, widths

PARENTS = "{evaluator: qat, parent: {epochs: 4}, budget: {epochs: 2}, seeds_front: 3}"


def opened(config: Path, join: ToyJoin | None = None, *, fresh: bool = False) -> Study:
    return Study.open(
        config.parent / "toy.study", config, join=join or ToyJoin(), cost_function=ToyCost(), fresh=fresh
    )


def log_of(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def test_a_grid_is_evaluated_in_order_and_exactly(write_study: WriteStudy) -> None:
    study = opened(write_study())
    status = study.run()
    trials = study.trials()
    assert status.trials == status.done == len(trials) == 4 * 6
    assert [trial.number for trial in trials] == list(range(24))
    assert [trial.candidate for trial in trials] == list(study.file.candidates())
    for trial in trials:
        w, a = widths(trial.candidate)
        assert (trial.accuracy, trial.energy_pj) == (accuracy(w, a), energy_pj(w, a))
        assert trial.epochs == 2.0
        assert trial.weight_bits == 1000 * sum(w)
    points = [(trial.energy_pj or 0, trial.accuracy or 0) for trial in trials]
    assert [point.number for point in study.front()] == front(points)


def test_a_second_run_evaluates_nothing(write_study: WriteStudy, tmp_path: Path) -> None:
    log = tmp_path / "log"
    config = write_study(accuracy=PARENTS)
    opened(config, ToyJoin({"log": str(log)})).run()
    before, lines = opened(config).trials(), log_of(log)
    events: list[ProgressEvent] = []
    study = opened(config, ToyJoin({"log": str(log)}))
    study.run(progress=events.append)
    assert study.trials() == before
    assert log_of(log) == lines
    assert (events[0].kind, events[-1].kind) == ("start", "end")
    assert events[-1].text.endswith("0 evaluated")
    assert events[-1].done == events[-1].total == events[-1].memo


def test_more_candidates_reuse_what_is_stored(write_study: WriteStudy, tmp_path: Path) -> None:
    log = tmp_path / "log"
    opened(write_study(), ToyJoin({"log": str(log)})).run()
    assert len(log_of(log)) == 24
    study = opened(write_study(filters="[2, 3, 4, 8]", hardware="[toy, toy2]"), ToyJoin({"log": str(log)}))
    status = study.run()
    assert status.trials == 2 * 40
    assert len(log_of(log)) == 40
    candidates = [trial.candidate for trial in study.trials()[::2]]
    assert candidates == list(study.file.candidates())
    study = opened(write_study(), ToyJoin({"log": str(log)}))
    assert study.run().trials == 24
    assert len(log_of(log)) == 40


def test_parents_come_first_and_are_shown(write_study: WriteStudy, tmp_path: Path) -> None:
    log = tmp_path / "log"
    study = opened(write_study(accuracy=PARENTS, schemes="[w4a4, float32]"), ToyJoin({"log": str(log)}))
    study.run()
    trials = study.trials()
    assert [trial.family for trial in trials] == ["float32"] * 24 + ["w4a4"] * 24
    assert [trial.epochs for trial in trials[:25:24]] == [4.0, 2.0]
    lines = log_of(log)
    assert len(lines) == len(set(lines))
    for trial in trials[24:]:
        parent = trial.candidate.label.replace("w4a4", "float32")
        own = f"{trial.candidate.label} seed 0 validation"
        assert lines.index(f"{parent} seed 0 validation") < lines.index(own)


def test_front_points_are_measured_on_the_test_split(write_study: WriteStudy) -> None:
    study = opened(write_study(accuracy=PARENTS))
    study.run()
    chosen = study.front()
    for point in study.front(split="test"):
        trial = point.trials[0]
        assert trial.accuracy is not None
        assert trial.seeds == point.seeds == 3
        # seed s adds 0.001 s, the test split takes 0.005
        assert point.accuracy == pytest.approx(trial.accuracy + 0.001 - 0.005)
        assert point.sd == pytest.approx(0.001)
    assert [p.number for p in study.front(split="test")] == [p.number for p in chosen]
    others = {trial.number for trial in study.trials()} - {point.number for point in chosen}
    assert all(trial.accuracy_test is None for trial in study.trials() if trial.number in others)


def test_seeds_are_averaged(write_study: WriteStudy) -> None:
    text = "{evaluator: qat, init: scratch, budget: {epochs: 1}, seeds_search: 3, seeds_front: 0}"
    study = opened(write_study(accuracy=text))
    study.run()
    assert study.status().trials == 72
    point = study.points()[0]
    assert (point.seeds, len(point.trials)) == (3, 3)
    assert point.accuracy == pytest.approx(accuracy(*widths(point.candidate)) + 0.001)
    assert point.sd == pytest.approx(0.001)


def test_infeasible_candidates_are_stored_and_not_trained(write_study: WriteStudy, tmp_path: Path) -> None:
    log = tmp_path / "log"
    study = opened(write_study(hardware="[narrow]"), ToyJoin({"log": str(log)}))
    status = study.run()
    assert (status.trials, status.done, status.infeasible, len(log_of(log))) == (24, 12, 12, 12)
    refused = [trial for trial in study.trials() if trial.status == "infeasible"]
    assert {str(trial.failure) for trial in refused} == {
        "infeasible: weights of 8 bits do not fit 4-bit multipliers"
    }
    assert all(trial.accuracy_key is None and trial.energy_pj is None for trial in refused)


@pytest.mark.parametrize("executor", ["in_process", "processes"])
def test_failures_are_stored_and_retried_on_demand(write_study: WriteStudy, executor: str) -> None:
    config = write_study()
    part = "n_A 1 F_A 2 n_B 1 F_B 2 "
    study = opened(config, ToyJoin({"faults": {part: "raise"}}))
    assert study.run(executor).failed == 1  # type: ignore[arg-type]
    failed = next(trial for trial in study.trials() if trial.status == "failed")
    assert str(failed.failure) == "error: the third layer has no weights"
    assert failed.failure is not None
    assert "Traceback" in failed.failure.detail
    healthy = opened(config)
    assert healthy.run().failed == 1
    assert healthy.run(retry_failed=True).failed == 0


def test_a_crash_is_tried_again(write_study: WriteStudy) -> None:
    study = opened(write_study(), ToyJoin({"faults": {"n_A 1 F_A 2 n_B 1 F_B 2 ": "once"}}))
    assert study.run("processes", workers=2).failed == 0
    with Store(study.path / "study.sqlite").connection as connection:
        attempts = connection.execute("SELECT MAX(attempts) FROM accuracy").fetchone()[0]
        events = connection.execute("SELECT detail FROM event WHERE kind='failed'").fetchall()
    assert attempts == 2
    assert events == [("1: crashed: the worker exited with status 3",)]


def test_a_crash_that_stays_is_given_up_after_three(write_study: WriteStudy) -> None:
    study = opened(write_study(), ToyJoin({"faults": {"n_A 1 F_A 2 n_B 1 F_B 2 ": "exit"}}))
    assert study.run("processes", workers=2).failed == 1
    store = Store(study.path / "study.sqlite")
    rows = [row for row in store.accuracies() if not row.done]
    store.close()
    assert [row.attempts for row in rows] == [3]


def test_children_of_a_failed_parent_fail_and_come_back(write_study: WriteStudy) -> None:
    config = write_study(accuracy=PARENTS)
    study = opened(config, ToyJoin({"faults": {"float32 n_A 1 F_A 2 n_B 1 F_B 2 ": "nan"}}))
    assert study.run().failed == 2
    texts = sorted(str(trial.failure) for trial in study.trials() if trial.status == "failed")
    assert texts == [
        "diverged: loss was not finite in 3 consecutive steps",
        "error: its float32 parent failed, diverged: loss was not finite in 3 consecutive steps",
    ]
    assert opened(config).run(retry_failed=True).failed == 0


def test_a_parent_whose_weights_are_gone_is_trained_again(write_study: WriteStudy, tmp_path: Path) -> None:
    log = tmp_path / "log"
    opened(write_study(accuracy=PARENTS)).run()
    for weights in (tmp_path / "toy.study" / "checkpoints").glob("*/weights.safetensors"):
        weights.unlink()
    study = opened(write_study(accuracy=PARENTS, schemes="[w4a4, w2a2]"), ToyJoin({"log": str(log)}))
    assert study.run().failed == 0
    assert sum(line.startswith("float32") and "seed 0 validation" in line for line in log_of(log)) == 24


def test_too_many_failures_stop_the_study(write_study: WriteStudy) -> None:
    study = opened(write_study(), ToyJoin({"faults": {"F_A 2": "raise"}}))
    with pytest.raises(TooManyFailuresError) as caught:
        study.run()
    assert str(caught.value) == (
        "6 of 8 evaluations failed, limits.max_failures is 0.25: error 6 (the third layer has no weights); "
        "mend the cause and run again with --retry-failed"
    )
    assert study.status().failed == 6


@pytest.mark.parametrize("executor", ["in_process", "processes"])
@pytest.mark.parametrize(
    ("fault", "part"), [("disk", "w4a4 n_A 2"), ("full", "w4a4 n_A 2"), ("full", "float32 n_A 2")]
)
def test_a_full_disk_stops_and_fails_nothing(
    write_study: WriteStudy, fault: str, part: str, executor: str
) -> None:
    config = write_study(accuracy=PARENTS, filters="[2, 4]")
    study = opened(config, ToyJoin({"faults": {f"{part} F_A 2 n_B 1 F_B 2 ": fault}}))
    with pytest.raises(DiskFullError, match=r"could not write its checkpoint \(.*make room and run the same"):
        study.run(executor)  # type: ignore[arg-type]
    store = Store(study.path / "study.sqlite")
    assert all(row.done for row in store.accuracies())
    store.close()
    status = opened(config).run()
    assert (status.done, status.failed, status.trials) == (24, 0, 24)


def test_tables_without_room_are_told_as_a_full_disk(write_study: WriteStudy, tmp_path: Path) -> None:
    study = opened(write_study())
    study.run()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        with pytest.raises(DiskFullError, match=r"front\.csv could not be written \(File too large\): "):
            study.export_tables(tmp_path / "tables")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list((tmp_path / "tables").iterdir()) == []
    assert len(study.export_tables(tmp_path / "tables")) == 3


def test_other_networks_and_data_are_refused(write_study: WriteStudy) -> None:
    config = write_study()
    opened(config).run()
    text = config.read_text()
    config.write_text(text.replace("{zoo: moons}", "{zoo: mlp}"))
    with pytest.raises(StudyError) as caught:
        opened(config)
    assert str(caught.value) == (
        f"{config.parent}/toy.study holds a study of another network: use --fresh to move it aside and "
        "begin anew, or give another directory"
    )
    assert opened(config, fresh=True).run().done == 24
    assert (config.parent / "toy.study.old-1" / "study.sqlite").exists()
    with pytest.raises(StudyError, match=r"holds a study of other data \(manifest toy-data, now another\)"):
        opened(config, ToyJoin(manifest="another")).run()


def test_a_second_driver_is_refused(write_study: WriteStudy) -> None:
    study = opened(write_study())
    study.run()
    lock = StudyLock(study.path / "study.lock")
    with pytest.raises(StoreError, match=r"^study is being run by process \d+ on host \S+ since \d\d:\d\d$"):
        study.run()
    lock.close()
    study.run()


def test_reading_needs_only_the_directory(write_study: WriteStudy) -> None:
    config = write_study(schemes="[w4a4, w2a2]", filters="[2, 4]")
    opened(config).run()
    config.unlink()
    study = Study.open(config.parent / "toy.study", cost_function=ToyCost())
    assert len(study.trials()) == 24
    assert len(study.front(family="w4a4")) >= 1
    comparison = study.compare("w4a4", "w2a2", bootstrap=20)
    assert comparison.median == pytest.approx(1.0)
    assert str(comparison).startswith("w4a4 over w2a2: up to 1.00x less energy (at ")
    assert study.compare("w4a4", "w2a2", attained=True).max == pytest.approx(1.0)
    with pytest.raises(ValueError, match=r"no family 'W4A4' in toy\.study, did you mean 'w4a4'\?; families"):
        study.compare("W4A4", "w2a2")
    with pytest.raises(ValueError, match=r"no family 'int9' in toy\.study; families: w2a2, w4a4"):
        study.compare("w4a4", "int9")
    with pytest.raises(ValueError, match=r"no hardware 'eyeriss' in toy\.study; hardware: toy"):
        study.front(hardware="eyeriss")
    with pytest.raises(ValueError, match=r"no point on toy reaches 99\.00 %; the greatest is"):
        study.front().at_accuracy(0.99)
    assert study.front().at_accuracy(0.5).energy_pj == study.front().points[0].energy_pj
    with pytest.raises(StudyError, match="opened for reading: to run it, open it with join="):
        study.run()
    with pytest.raises(StudyError, match=r"no study at .*; give the study file that is to be run"):
        Study.open(config.parent / "none.study", cost_function=ToyCost())


def test_dry_run_says_what_is_left(write_study: WriteStudy) -> None:
    config = write_study(accuracy=PARENTS)
    assert str(opened(config).dry_run()) == (
        "toy: 24 candidates x 1 hardware, 0 stored, 24 to train and 24 float32 parents (nothing timed yet)"
    )
    assert not (config.parent / "toy.study").exists()
    opened(config).run()
    assert str(opened(config).dry_run()) == "toy: 24 candidates x 1 hardware, 24 stored, 0 to train"
    wider = opened(write_study(accuracy=PARENTS, filters="[2, 3, 4, 8]")).dry_run(workers=2)
    assert (wider.stored, wider.to_train, wider.parents, wider.workers) == (24, 16, 16, 2)
    assert wider.estimate_s is not None
    assert "(about 1 min on 2 workers, from " in str(wider)


def test_a_space_too_large_is_refused(write_study: WriteStudy) -> None:
    study = opened(write_study(extra="limits: {max_trials: 10}\n"))
    with pytest.raises(ValueError, match="space has 24 candidates, max_trials is 10"):
        study.run()
    assert not study.path.exists()


def test_tables(write_study: WriteStudy) -> None:
    study = opened(write_study(accuracy=PARENTS, hardware="[toy, narrow]"))
    study.run()
    paths = study.export_tables()
    assert [path.name for path in paths] == ["front.csv", "trials.parquet", "best"]
    with paths[0].open() as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == FRONT_COLUMNS
    fronts = {name: study.front(name) for name in ("toy", "narrow")}
    assert len(rows) == sum(len(front) for front in fronts.values())
    assert [row["rank"] for row in rows if row["hardware"] == "narrow"][:2] == ["1", "2"]
    assert float(rows[0]["energy_uj"]) == fronts["toy"].points[0].energy_pj / 1e6
    table = pq.read_table(paths[1])
    assert table.num_rows == study.status().trials
    assert {"energy_level_DRAM_pj", "energy_dram_pj", "accuracy", "failure"} <= set(table.column_names)
    folders = sorted(paths[2].iterdir())
    assert folders[0].name.startswith("01-")
    assert len(folders) == len({point.candidate for front in fronts.values() for point in front})
    card = json.loads((folders[0] / "card.json").read_text())
    weights = (folders[0] / "weights.safetensors").read_bytes()
    assert weights.decode().startswith(card["candidate"]["scheme"])
    assert f'scheme: "{card["candidate"]["scheme"]}"' in (folders[0] / "scheme.yaml").read_text()
    study.export_tables()
    assert sorted(paths[2].iterdir()) == folders
    assert not [path for path in study.path.iterdir() if path.name.startswith(".")]


def test_report_data_is_whole(write_study: WriteStudy) -> None:
    study = opened(
        write_study(accuracy=PARENTS, hardware="[toy, narrow]", schemes="[w4a4, w2a2]", filters="[2, 8]"),
        ToyJoin({"faults": {"w2a2 n_A 1 F_A 2 n_B 1 F_B 2 ": "raise"}}),
    )
    study.run()
    data = json.loads(json.dumps(study.report_data(), allow_nan=False))
    assert data["schema"] == "bitjoule.report_data/1"
    assert data["header"]["counts"] == {"trials": 72, "done": 46, "failed": 2, "infeasible": 24}
    assert data["families"] == ["float32", "w4a4", "w2a2"]
    assert [point["id"] for point in data["points"]] == list(range(72))
    ranked = [point for point in data["points"] if point["hardware"] == "toy" and point["rank"] == 0]
    assert {point["id"] for point in ranked} >= set(data["hardware"][0]["front"])  # equal points share a rank
    assert data["hardware"][0]["reference"]["accuracy"] == 0.1
    assert data["hardware"][0]["hypervolume"] > 0
    assert len(data["iso_accuracy"]) == len(data["iso_energy"]) == 6
    assert all(entry["saving"]["median"] >= 1 - 1e-12 for entry in data["iso_accuracy"] if entry["saving"])
    assert {entry["proxy"] for entry in data["proxies"]} >= {"bops", "macs"}
    kinds = {entry["kind"]: entry["count"] for entry in data["failures"]}
    assert kinds == {"error": 1, "infeasible": 24}
    assert data["dram"][0]["by_tensor"] == {"weights": data["points"][data["dram"][0]["point"]]["energy_pj"]}


def test_the_remaining_time_weighs_work_by_macs_and_epochs(
    write_study: WriteStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A candidate trained 2 epochs, its parent 4, and a measurement on the test split a fraction of one."""
    weights: dict[str, float] = {}
    run = Jobs.run

    def recording(self: Jobs, jobs: Sequence[Job], resolved: Callable[[Job, AccuracyRow], None]) -> None:
        weights.update({job.label: job.weight for job in jobs})
        run(self, jobs, resolved)

    monkeypatch.setattr(Jobs, "run", recording)
    study = opened(write_study(accuracy=PARENTS.replace("seeds_front: 3", "seeds_front: 1")))
    study.run()
    macs = 1e6 * len(widths(study.trials()[0].candidate)[0])
    trained = {label: weight for label, weight in weights.items() if "test split" not in label}
    assert {weight / macs for label, weight in trained.items() if "float32" in label} == {4.0}
    assert {weight / macs for label, weight in trained.items() if "float32" not in label} == {2.0}
    measured = [weight / macs for label, weight in weights.items() if "test split" in label]
    assert measured and set(measured) == {MEASURING_EPOCHS}


def test_the_report_says_how_to_run_again(write_study: WriteStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    config = write_study()
    monkeypatch.chdir(config.parent)
    study = Study.open("elsewhere.study", config.name, join=ToyJoin(), cost_function=ToyCost())
    study.run()
    header = study.report_data()["header"]
    assert isinstance(header, dict)
    assert header["command"] == f"bitjoule search {config.name} --study elsewhere.study"
