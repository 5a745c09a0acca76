"""The examples run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bitjoule.search.study_file import read_study_file

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def test_pretrained_resnet20(bitjoule_data: Path) -> None:
    """500 images of the 10,000: captured logits equal the original's, folded ones nearly."""
    done = subprocess.run(
        [sys.executable, EXAMPLES / "pretrained_resnet20.py", "--images", "500"],
        env={**os.environ, "BITJOULE_DATA": str(bitjoule_data)},
        capture_output=True,
        text=True,
        check=True,
    )
    original, captured, folded = done.stdout.splitlines()[:3]
    assert captured.split("top-1")[1].split("%")[0] == original.split("top-1")[1].split("%")[0]
    assert float(captured.rsplit(" ", 1)[1]) < 1e-5
    assert float(folded.rsplit(" ", 1)[1]) < 1e-4


def test_ptq_digits(tmp_path: Path) -> None:
    """A module of one's own: little is lost, fewer bits take less energy, the folder is whole."""
    done = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES / "ptq_digits.py", "--output", tmp_path / "out"],
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stdout.splitlines()
    accuracy = [float(line.split(" %")[0].split()[-1]) for line in lines[:6]]
    assert accuracy[0] > 95
    assert min(accuracy[1:4] + accuracy[5:]) > accuracy[0] - 2.5
    energy = [float(line.split()[-4]) for line in lines[1:5]]
    assert energy == sorted(energy, reverse=True)
    assert lines[-1] == "saved, loaded, equal: True"
    assert (tmp_path / "out" / "card.json").is_file()


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.name)
def test_study_files_are_valid(path: Path) -> None:
    from bitjoule.hardware import presets

    file = read_study_file(path, presets())
    assert file.candidates().size >= 6
    if path.name == "digits.yaml":
        assert file.candidates().size >= 24
