"""Runs `bitjoule` inside the test process: its real exit code, stdout and stderr apart."""

from dataclasses import dataclass

from typer.testing import CliRunner

from bitjoule.cli import app

__all__ = ["Done", "bitjoule"]


@dataclass(frozen=True)
class Done:
    stdout: str
    stderr: str


def bitjoule(*arguments: str, code: int = 0) -> Done:
    result = CliRunner().invoke(app, list(arguments), env={"NO_COLOR": "1", "COLUMNS": "160"})
    assert result.exit_code == code, f"{arguments}: {result.exit_code}\n{result.stdout}\n{result.stderr}"
    return Done(result.stdout, result.stderr)
