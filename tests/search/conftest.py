"""A small study on the toy chain."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.read_only import read_only_folder

__all__ = ["WriteStudy", "read_only_folder", "write_study"]

STUDY = """\
bitjoule: 1
name: toy
network: {{zoo: moons}}
space:
  kind: topology
  blocks: 2
  depths: {depths}
  filters: {filters}
  schemes: {schemes}
data: {{kind: digits}}
accuracy: {accuracy}
hardware: {hardware}
method: {{kind: grid}}
executor: {{kind: in_process}}
"""

WriteStudy = Callable[..., Path]


@pytest.fixture
def write_study(tmp_path: Path) -> WriteStudy:
    """Writes toy.yaml; the keyword arguments are flow-style YAML."""

    def write(
        depths: str = "[1, 2]",
        filters: str = "[2, 4, 8]",
        schemes: str = "[w4a4]",
        accuracy: str = "{evaluator: qat, init: scratch, budget: {epochs: 2}, seeds_front: 0}",
        hardware: str = "[toy]",
        extra: str = "",
    ) -> Path:
        path = tmp_path / "toy.yaml"
        text = STUDY.format(
            depths=depths, filters=filters, schemes=schemes, accuracy=accuracy, hardware=hardware
        )
        path.write_text(text + extra)
        return path

    return write
