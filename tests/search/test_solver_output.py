"""What C code prints to file 1 goes to file 2; Python's own output returns."""

from __future__ import annotations

import os

import pytest

from bitjoule.search.solver_output import quiet_stdout


def test_file_one_is_moved_and_comes_back(capfd: pytest.CaptureFixture[str]) -> None:
    with quiet_stdout():
        os.write(1, b"from C\n")
    os.write(1, b"answer\n")
    assert capfd.readouterr() == ("answer\n", "from C\n")


def test_file_one_comes_back_after_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match=r"^solver$"), quiet_stdout():
        raise ValueError("solver")
    os.write(1, b"answer\n")
    assert capfd.readouterr().out == "answer\n"


def test_without_a_file_one_the_work_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(_number: int) -> int:
        raise OSError("bad file descriptor")

    monkeypatch.setattr(os, "dup", closed)
    done = []
    with quiet_stdout():
        done.append(1)
    assert done
