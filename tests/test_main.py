"""`python -m bitjoule` is the command line."""

import subprocess
import sys

from bitjoule import __version__


def test_the_module_runs_the_command_line():
    done = subprocess.run(
        [sys.executable, "-m", "bitjoule", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"bitjoule {__version__}\n"
