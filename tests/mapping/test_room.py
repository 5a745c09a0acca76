"""The room as a whole: its public names, and that counting loads no compiler."""

import subprocess
import sys

import pytest

import bitjoule.mapping as room


def test_every_public_name_is_there() -> None:
    for name in room.__all__:
        assert getattr(room, name) is not None
    assert callable(room.evaluate)
    assert callable(room.count)
    with pytest.raises(
        AttributeError, match=r"^module 'bitjoule\.mapping' has no attribute 'mapper'; it has: .*solve"
    ):
        _ = room.mapper


def test_counting_loads_no_compiler() -> None:
    code = "import bitjoule.mapping, bitjoule.mapping.interpreter, sys; print('numba' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
