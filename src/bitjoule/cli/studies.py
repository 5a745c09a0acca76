"""`bitjoule search`, `front`, `compare`, `report`: studies, run and read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bitjoule.cli.output import (
    FAILED,
    NOTHING_FITS,
    CommandFailed,
    JsonOption,
    NoColorOption,
    QuietOption,
    VerboseOption,
    print_json,
    print_table,
    speaking,
)

if TYPE_CHECKING:
    from bitjoule.front_door import Study
    from bitjoule.search.points import Comparison

__all__ = ["compare", "front", "report", "search"]

StudyArgument = Annotated[Path, typer.Argument(help="The folder NAME.study.")]
HardwareOption = Annotated[str | None, typer.Option(help="One of the study's hardware; default: its first.")]


def search(
    config: Annotated[Path, typer.Argument(help="The study file, a YAML.")],
    study: Annotated[
        Path | None, typer.Option(help="Folder of the study; default: NAME.study in the current folder.")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Trials at once.")] = None,
    executor: Annotated[str | None, typer.Option(help="in_process or processes.")] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try failed trials again.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Begin anew; the old study is moved aside.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")
    ] = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Run or resume a study: train the candidates, price them, write front, tables and report."""
    with speaking(verbose=verbose):
        from bitjoule.front_door import Study
        from bitjoule.hardware import presets
        from bitjoule.search.jobs import Interrupted, TooManyFailuresError
        from bitjoule.search.study_file import read_study_file

        folder = study or Path(f"{read_study_file(config, presets()).name}.study")
        opened = Study.open(folder, config=config, fresh=fresh)
        if dry_run:
            plan = opened.dry_run(workers)
            if as_json:
                print_json("search", {"study": str(folder), "dry_run": vars(plan)})
            else:
                print(plan)
            return
        failure = None
        try:
            _run(opened, executor, workers, retry_failed=retry_failed, quiet=quiet or as_json)
        except Interrupted as stop:
            raise CommandFailed(str(stop), stop.exit_code) from None
        except TooManyFailuresError as error:
            failure = CommandFailed(str(error))
        opened.export_tables()
        page = opened.report()
        status = opened.status()
        failure = failure or _nothing_done(opened)
        if as_json:
            document = {"study": str(folder), "report": str(page), "status": vars(status)}
            print_json("search", {**document, "failure": None if failure is None else str(failure)})
        else:
            print(
                f"{status.name}: {status.done} done, {status.failed} failed, {status.infeasible} do not fit; "
                f"report: {page}"
            )

        if failure is not None:
            raise failure


def _nothing_done(study: Study) -> CommandFailed | None:
    """Bad news when no hardware has a finished trial; code 3 when that is because nothing fits."""
    names = study.hardware_names
    told = _unfinished(study, names)
    if len(told) < len(names):
        return None
    return CommandFailed("; ".join(told.values()), FAILED if study.status().failed else NOTHING_FITS)


def _unfinished(study: Study, names: Sequence[str], family: str | None = None) -> dict[str, str]:
    """Why there is nothing to show, for each hardware where that is so."""
    texts = {name: study.unfinished(name, family) for name in names}
    return {name: text for name, text in texts.items() if text is not None}


def _run(study: Study, executor: str | None, workers: int | None, *, retry_failed: bool, quiet: bool) -> None:
    from bitjoule.report.progress import StudyProgress

    with StudyProgress(study.trials, quiet=quiet) as watch:
        if executor is None:
            study.run(workers=workers, progress=watch, retry_failed=retry_failed)
        elif executor == "in_process":
            study.run("in_process", workers=workers, progress=watch, retry_failed=retry_failed)
        elif executor == "processes":
            study.run("processes", workers=workers, progress=watch, retry_failed=retry_failed)
        else:
            raise ValueError(f"unknown executor {executor!r}; one of: in_process, processes")


def front(
    study: StudyArgument,
    hardware: HardwareOption = None,
    family: Annotated[str | None, typer.Option(help="Only this family, such as w4a4.")] = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
    no_color: NoColorOption = False,
) -> None:
    """Print the accuracy-energy front: no point of it is beaten in both."""
    with speaking(verbose=verbose):
        from bitjoule.front_door import Study
        from bitjoule.report.tables import FRONT_COLUMNS, front_lines, front_rows

        opened = Study.open(study)
        names = [hardware] if hardware else list(opened.hardware_names)
        empty = _unfinished(opened, names, family)
        lines = {name: () if name in empty else front_lines(opened.front(name, family)) for name in names}
        if as_json:
            fronts = {name: [vars(line) for line in found] for name, found in lines.items()}
            print_json("front", {"fronts": fronts, "unfinished": empty})
        if len(empty) == len(names):
            raise CommandFailed("; ".join(empty.values()))
        if as_json:
            return
        for name, found in lines.items():
            if name in empty:
                print(empty[name])
                continue
            rows: list[tuple[object, ...]] = list(front_rows(found))
            print_table(f"front on {name}", FRONT_COLUMNS, rows, no_color=no_color)


def compare(
    study: StudyArgument,
    a: Annotated[str, typer.Argument(help="A family, such as hpr-w4a4.")],
    b: Annotated[str, typer.Argument(help="Another family, such as int8.")],
    hardware: HardwareOption = None,
    attained: Annotated[bool, typer.Option("--attained", help="Real points only, no interpolation.")] = False,
    bootstrap: Annotated[int, typer.Option(min=0, help="Replicates of the 95 % interval.")] = 0,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Iso-accuracy: how much less energy family A takes than family B."""
    with speaking(verbose=verbose):
        from bitjoule.front_door import Study

        opened = Study.open(study)
        names = [hardware] if hardware else list(opened.hardware_names)
        empty = _unfinished(opened, names, a) | _unfinished(opened, names, b)
        if len(empty) == len(names):
            raise CommandFailed("; ".join(empty.values()))
        found = {
            name: opened.compare(a, b, name, attained=attained, bootstrap=bootstrap)
            for name in names
            if name not in empty
        }
        if as_json:
            documents = {name: _document(comparison) for name, comparison in found.items()}
            print_json("compare", {"hardware": documents, "unfinished": empty})
            return
        for name in names:
            text = empty.get(name) or (f"{name}: {found[name]}" if len(names) > 1 else str(found[name]))
            print(text)


def _document(comparison: Comparison) -> dict[str, object]:
    return {
        "a": comparison.a,
        "b": comparison.b,
        "attained": comparison.attained,
        "saving": None if comparison.saving is None else vars(comparison.saving),
        "interval": None if comparison.interval is None else vars(comparison.interval),
        "reason": comparison.reason,
    }


def report(
    study: StudyArgument,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="The page; default: in the study.")
    ] = None,
    open_: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Build report.html, front.csv, trials.parquet and best/ from what is stored; with -o only the page."""
    with speaking(verbose=verbose):
        from bitjoule.front_door import Study

        opened = Study.open(study)
        written = opened.export_tables() if output is None else []
        page = opened.report(output)
        if as_json:
            print_json("report", {"report": str(page), "files": [str(path) for path in written]})
        else:
            print(page)
        if open_:
            import webbrowser

            webbrowser.open(page.absolute().as_uri())
