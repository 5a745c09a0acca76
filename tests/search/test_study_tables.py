"""best/ keeps the weights it has, wherever the checkpoints went."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from bitjoule.search.study import Study
from tests.search.conftest import WriteStudy
from tests.search.toy_chain import ToyCost, ToyJoin


@pytest.fixture
def study(write_study: WriteStudy) -> Study:
    config = write_study(filters="[2, 8]")
    opened = Study.open(config.parent / "toy.study", config, join=ToyJoin(), cost_function=ToyCost())
    opened.run()
    opened.export_tables()
    return opened


def contents(best: Path) -> dict[str, bytes]:
    return {str(path.relative_to(best)): path.read_bytes() for path in best.rglob("*") if path.is_file()}


def test_weights_stay_when_checkpoints_are_deleted(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(study.path / "best")
    shutil.rmtree(study.path / "checkpoints")
    study.export_tables()
    assert contents(study.path / "best") == before
    assert capsys.readouterr().err == ""


def test_weights_that_are_nowhere_are_told_and_keep_their_hash(
    study: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(study.path / "checkpoints")
    lost = sorted((study.path / "best").iterdir())[0]
    digest = hashlib.sha256((lost / "weights.safetensors").read_bytes()).hexdigest()
    (lost / "weights.safetensors").unlink()
    study.export_tables()
    card = json.loads((lost / "card.json").read_text())
    assert card["weights_sha256"] == digest
    assert not (lost / "weights.safetensors").exists()
    told = capsys.readouterr().err.splitlines()
    assert told == [
        f"warning: best/{lost.name}: the weights are gone: neither checkpoints/{card['training_key']}/"
        f"weights.safetensors nor the old best/ holds them (sha256 {digest[:12]}...); run the study in a new "
        "folder to train them again"
    ]


def test_a_checkpoint_of_other_weights_is_not_taken(study: Study) -> None:
    before = contents(study.path / "best")
    for weights in (study.path / "checkpoints").glob("*/weights.safetensors"):
        weights.write_bytes(b"trained once more, in another way")
    study.export_tables()
    assert contents(study.path / "best") == before
