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


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.name)
def test_study_files_are_valid(path: Path) -> None:
    from bitjoule.hardware import presets

    file = read_study_file(path, presets())
    assert file.candidates().size >= 6
    if path.name == "digits.yaml":
        assert file.candidates().size >= 24
