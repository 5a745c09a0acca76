"""`bitjoule study list | show | run`: what ships, energies without training, and a whole small run."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from bitjoule.cli import study
from bitjoule.search.repair_plan import RepairPlan
from tests.cli.run import bitjoule


def smaller(plan: RepairPlan, *, epochs: float = 1.0) -> RepairPlan:
    """Two repairs, one seed, ResNet-8 in the place of ResNet-18."""
    categories = {"feature binarizer": ("grad=approx",), "activation": ("rprelu",)}
    size = plan.sizes["minutes"]
    recipe = {"epochs": epochs, "batch": 64}
    digits = size.data["digits"].model_copy(update={"width": 0.25, "budget": recipe, "parent": recipe})
    changed = size.model_copy(
        update={
            "seeds": 1,
            "data": {"digits": digits},
            "greedy": size.greedy.model_copy(update={"steps": 1, "candidates": 1}),
        }
    )
    energies = plan.energies.model_copy(update={"network": "resnet8", "topology": ("rprelu",)})
    return plan.model_copy(
        update={
            "categories": categories,
            "together": ("grad=approx", "rprelu"),
            "references": ("w4a4", "int8"),
            "energies": energies,
            "sizes": {"minutes": changed},
        }
    )


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = study._plan
    monkeypatch.setattr(study, "_plan", lambda name: smaller(whole(name)))


def test_what_ships() -> None:
    out = bitjoule("study", "list").stdout
    assert "S3" in out and "repairs" in out and "minutes, hour, paper" in out
    listed = json.loads(bitjoule("study", "list", "--json").stdout)["studies"]
    assert [entry["id"] for entry in listed] == ["S3"]


def test_show_says_what_is_trained_and_claimed() -> None:
    out = bitjoule("study", "show", "S3").stdout
    assert "baseline hpr-w1a1 on braintta22" in out and "all - rprelu" in out and "S3.7" in out
    document = json.loads(bitjoule("study", "show", "repairs", "--json").stdout)
    assert document["sizes"]["minutes"]["trainings"] == 94
    assert {claim["kind"] for claim in document["claims"]} >= {"exact", "band", "ordering", "trend", "report"}


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("show", "S33"), "unknown study 'S33', did you mean 'S3'?"),
        (("run", "repair"), "unknown study 'repair', did you mean 'repairs'?"),
        (("run", "S3", "--size", "minute"), "unknown size 'minute', did you mean 'minutes'?"),
        (("run", "S3", "--data", "svhn"), "no data 'svhn' at this size; data: digits, mnist, cifar10"),
        (("repairs", "--data", "svhn"), "no data 'svhn' at this size; data: digits, mnist, cifar10"),
    ],
)
def test_bad_input(arguments: tuple[str, ...], text: str) -> None:
    assert bitjoule("study", *arguments, code=2).stderr == f"error: {text}\n"


@pytest.mark.usefixtures("small")
def test_energies_need_no_training(tmp_path: Path) -> None:
    out = bitjoule("study", "run", "S3", "--energies", "--out", str(tmp_path)).stdout
    assert "resnet8 without training" in out and "not checkable here" in out
    document = json.loads((tmp_path / "repairs.json").read_text())
    assert document["repairs"] is None
    rows = {row["scheme"]: row for row in document["energies"]["rows"]}
    assert rows["hpr-w1a1"]["energy_pj"] < rows["hpr-w1a1+rprelu"]["energy_pj"]
    assert rows["w1a1"]["int8_pj"] < rows["w1a1"]["compute_pj"] < rows["int8"]["compute_pj"]


@pytest.mark.usefixtures("small")
def test_a_run_that_takes_too_long_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bitjoule.cli import study_run

    monkeypatch.setattr(study_run, "_seconds_per_image", lambda run, file: 10.0)
    done = bitjoule("study", "run", "S3", "--out", str(tmp_path), code=1)
    assert "0 stored, at most 7 to train and 1 float parent, about " in done.stderr
    assert "size minutes should take 10 min: choose other --data, more --workers, or" in done.stderr
    dry = bitjoule("study", "run", "S3", "--out", str(tmp_path), "--dry-run").stdout
    assert dry.startswith("repairs-minutes-digits: 0 stored, at most ")
    assert not (tmp_path / "repairs.study").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("small")
def test_a_whole_run_and_again(tmp_path: Path) -> None:
    arguments = ("study", "run", "S3", "--out", str(tmp_path), "--workers", "1", "--json", "--force")
    document = json.loads(bitjoule(*arguments).stdout)
    arms = {row["label"]: row for row in document["repairs"]["arms"]}
    assert set(arms) == {
        *("baseline", "+ grad=approx", "+ rprelu", "all", "all - grad=approx", "all - rprelu"),
        *("w4a4", "int8"),
    }
    assert arms["+ grad=approx"]["added_pj"] == 0.0 < arms["+ rprelu"]["added_pj"]
    assert all(row["accuracy"]["mean"] > 0 for row in arms.values())
    rows = list(csv.DictReader((tmp_path / "repairs.csv").read_text().splitlines()))
    assert [row["repair"] for row in rows if row["kind"] == "one"] == ["grad=approx", "rprelu"]
    page = (tmp_path / "repairs.html").read_text()
    assert "<svg" in page and "all - rprelu" in page and "<script" not in page and "S3.4b" in page
    verdicts = {claim["id"]: claim["verdict"] for claim in document["claims"]}
    assert verdicts["S3.4b"] == "ordering holds"
    again = json.loads(bitjoule(*arguments).stdout)
    assert again == document  # nothing is trained twice, nothing moves


@pytest.mark.slow
def test_resnet18_energies_are_those_of_the_specification(tmp_path: Path) -> None:
    arguments = ("study", "run", "S3", "--energies", "--out", str(tmp_path), "--json")
    document = json.loads(bitjoule(*arguments).stdout)
    verdicts = {claim["id"]: claim["verdict"] for claim in document["claims"]}
    judged = {key: value for key, value in verdicts.items() if key[:4] in ("S3.5", "S3.6", "S3.7")}
    assert len(judged) == 8 and set(judged.values()) == {"in band", "ordering holds"}
    ours = {claim["id"]: claim["ours"] for claim in document["claims"]}
    assert [ours[f"S3.6{letter}"] for letter in "abcde"] == ["229", "117.3", "111.6", "336.2", "1469"]
    assert ours["S3.7"] == "48.75"
