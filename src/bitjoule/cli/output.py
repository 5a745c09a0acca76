"""How commands speak: one JSON document on stdout, or text; errors in one or two lines; exit codes."""

from __future__ import annotations

import errno
import json
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

__all__ = [
    "BAD_INPUT",
    "FAILED",
    "NOTHING_FITS",
    "CommandFailed",
    "JsonOption",
    "NoColorOption",
    "QuietOption",
    "VerboseOption",
    "console",
    "print_json",
    "print_table",
    "progress_bar",
    "speaking",
    "tell",
]

FAILED = 1
BAD_INPUT = 2
NOTHING_FITS = 3
SCHEMA_VERSION = 1
EXIT_CODES = {
    "Infeasible": NOTHING_FITS,
    "InfeasibleMapping": NOTHING_FITS,
    "DiskFullError": FAILED,
    "NothingFinishedError": FAILED,
}
"""Errors of ours, by class name, that exit with something other than 2."""

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Numbers of file errors that are not the fault of what was given."""

JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]
VerboseOption = Annotated[bool, typer.Option("--verbose", help="Show tracebacks.")]
NoColorOption = Annotated[bool, typer.Option("--no-color", help="Plain text; NO_COLOR does the same.")]


class CommandFailed(Exception):
    """A command that did its work and has bad news: text and exit code."""

    def __init__(self, text: str, code: int = FAILED) -> None:
        super().__init__(text)
        self.code = code


def console(*, no_color: bool = False) -> Console:
    """Where tables go: stdout, coloured on a terminal only."""
    from rich.console import Console

    plain = no_color or "NO_COLOR" in os.environ
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else 120
    return Console(no_color=plain, highlight=False, markup=False, width=width)


def print_json(command: str, document: Mapping[str, object]) -> None:
    """Print `document` with the schema field `bitjoule: 1` and the command's name.

    Raises:
        ValueError: a number that JSON cannot hold (NaN, infinity).
    """
    whole = {"bitjoule": SCHEMA_VERSION, "command": command, **document}
    sys.stdout.write(json.dumps(whole, allow_nan=False, indent=1, ensure_ascii=False) + "\n")


def print_table(
    title: str, columns: Mapping[str, str], rows: list[tuple[Any, ...]], *, no_color: bool = False
) -> None:
    """A table with a title; `columns` maps each heading to left or right."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    for heading, side in columns.items():
        table.add_column(heading, justify="right" if side == "right" else "left", overflow="fold")
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    out = console(no_color=no_color)
    if title:
        out.print(title, style="bold", soft_wrap=True)
    out.print(table)


@contextmanager
def progress_bar(what: str, steps: int, *, quiet: bool = False) -> Iterator[Callable[[str], None]]:
    """A bar on stderr, on a terminal only; call what it gives with the name of each finished step."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    screen = Console(file=sys.stderr, highlight=False, markup=False)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[last]}", markup=False),
    )
    with Progress(*columns, console=screen, transient=True, disable=quiet or not screen.is_terminal) as bar:
        task = bar.add_task(what, total=steps, last="")
        yield lambda name: bar.update(task, advance=1, last=name)


@contextmanager
def speaking(*, verbose: bool = False) -> Iterator[None]:
    """Turn what a command raises into a line on stderr and an exit code.

    Bad input (ValueError, a missing file, a missing extra, a study that is locked or damaged) exits with 2,
    a full disk with 1, `CommandFailed` with its own code, an interrupted study with 130 or 143, a candidate
    that no hardware can run with 3. Anything else is an error of ours: one line, and exit code 1. Warnings of
    this package are one line each, too.
    """
    with warnings.catch_warnings():
        others = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *rest: Any) -> None:
            if category.__module__.startswith("bitjoule"):
                sys.stderr.write(f"warning: {message}\n")
            else:
                others(message, category, *rest)

        warnings.showwarning = show  # type: ignore[assignment]
        yield from _errors_told(verbose)


def _errors_told(verbose: bool) -> Iterator[None]:
    try:
        yield
    except (typer.Exit, typer.Abort):
        raise
    except CommandFailed as failure:
        _say(str(failure), verbose)
        raise typer.Exit(failure.code) from None
    except KeyboardInterrupt:
        _say("interrupted", verbose)
        raise typer.Exit(130) from None
    except Exception as error:
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            what = error.filename or "a file"
            _say(f"{what} could not be written ({error.strerror}): make room and run again", verbose)
            raise typer.Exit(FAILED) from None
        if _is_ours(error):
            _say(str(error), verbose)
            raise typer.Exit(EXIT_CODES.get(type(error).__name__, BAD_INPUT)) from None
        if verbose:
            raise
        _say(
            f"internal error: {type(error).__name__}: {error}; run with --verbose for the traceback", verbose
        )
        raise typer.Exit(FAILED) from None


def _is_ours(error: BaseException) -> bool:
    """Errors written for people: our own classes, plain ValueError and file errors."""
    ours = type(error).__module__.startswith("bitjoule")
    return ours or isinstance(error, OSError | ImportError) or type(error) is ValueError


def _say(text: str, verbose: bool) -> None:
    if verbose:
        traceback.print_exc()
    sys.stderr.write(f"error: {text}\n")


def tell(progress: object) -> None:
    """A line of progress on stderr, so that stdout holds the result alone."""
    typer.echo(str(progress), err=True)
