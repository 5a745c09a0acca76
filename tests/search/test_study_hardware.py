"""The same hardware twice is refused: its trials could not be told apart."""

from pathlib import Path

import pytest

from bitjoule.hardware import preset_text
from bitjoule.search.points import points_of
from bitjoule.search.study import Study
from bitjoule.search.study_file import StudyFileError
from tests.search.conftest import WriteStudy
from tests.search.test_network_cost import GraphJoin
from tests.search.toy_chain import ToyCost, ToyJoin


def test_a_copy_of_a_preset_is_refused_when_opened(write_study: WriteStudy, tmp_path: Path) -> None:
    (tmp_path / "copy.yaml").write_text(preset_text("moons-4mb") + "\n# the same\n")
    config = write_study(hardware="[moons-4mb, braintta22, {file: copy.yaml}]")
    with pytest.raises(StudyFileError) as caught:
        Study.open(tmp_path / "toy.study", config, join=GraphJoin())
    assert str(caught.value) == (
        "toy.yaml:12: hardware[2]: copy.yaml is the same hardware as moons-4mb: keep one"
    )
    assert not (tmp_path / "toy.study").exists()


class OneHash(ToyCost):
    def hardware_hash(self, hardware: str) -> str:
        return "hash-of-all"


def test_a_run_refuses_it_too(write_study: WriteStudy) -> None:
    config = write_study(hardware="[toy, toy2]")
    study = Study.open(config.parent / "toy.study", config, join=ToyJoin(), cost_function=OneHash())
    for act in (study.run, study.dry_run):
        with pytest.raises(
            StudyFileError, match=r"hardware\[1\]: toy2 is the same hardware as toy: keep one"
        ):
            act()


def test_the_same_trial_twice_is_no_second_seed(write_study: WriteStudy) -> None:
    config = write_study()
    study = Study.open(config.parent / "toy.study", config, join=ToyJoin(), cost_function=ToyCost())
    study.run()
    twice = [trial for trial in study.trials() for _ in range(2)]
    assert points_of(twice, "toy") == points_of(study.trials(), "toy")
    assert {point.seeds for point in points_of(twice, "toy")} == {1}
