"""`bitjoule study list | show | run`: the reproductions that ship with bitjoule, and their claims."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from bitjoule.cli.output import (
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
    from collections.abc import Sequence

    from bitjoule.search.claims import Checked, Claim, Fact, Size
    from bitjoule.search.core_energies import PricedNetwork
    from bitjoule.search.repair_plan import RepairPlan
    from bitjoule.search.repair_study import RepairFindings

__all__ = ["study_app"]

study_app = typer.Typer(no_args_is_help=True, help="Shipped reproductions: list, show, run.")

SizeOption = Annotated[str, typer.Option(help="minutes, hour or paper.")]
DataOption = Annotated[str | None, typer.Option(help="Data of that size, such as digits; default: its own.")]
OutOption = Annotated[Path | None, typer.Option(help="Folder of the results; default: ID-SIZE-DATA.")]
WorkersOption = Annotated[
    int | None, typer.Option(min=1, help="Trainings at once; default: cores, at most 2.")
]
ForceOption = Annotated[bool, typer.Option("--force", help="Run although it takes longer than the size.")]
FreshOption = Annotated[bool, typer.Option("--fresh", help="Begin anew; the old study is moved aside.")]
RetryOption = Annotated[bool, typer.Option("--retry-failed", help="Try failed trainings again.")]
DryOption = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and for how long.")]
EnergiesOption = Annotated[bool, typer.Option("--energies", help="Only what needs no training.")]


@study_app.command("list")
def list_studies(as_json: JsonOption = False, no_color: NoColorOption = False) -> None:
    """The studies that ship, their sizes and data."""
    with speaking():
        from bitjoule.studies import shipped

        plans = [_plan(name) for name in shipped()]
        if as_json:
            listed = [{"id": plan.id, "name": plan.name, "question": plan.question} for plan in plans]
            print_json("study list", {"studies": listed})
            return
        rows: list[tuple[object, ...]] = [
            (plan.id, plan.name, ", ".join(plan.sizes), plan.question) for plan in plans
        ]
        columns = dict.fromkeys(("id", "name", "sizes", "question"), "left")
        print_table("studies", columns, rows, no_color=no_color)


@study_app.command("show")
def show(
    study: Annotated[str, typer.Argument(help="S3 or its name, repairs.")],
    as_json: JsonOption = False,
    no_color: NoColorOption = False,
) -> None:
    """What a study trains at each size, and what is claimed of it."""
    with speaking():
        from bitjoule.search.repair_plan import isolation_arms
        from bitjoule.search.repair_study import most_trainings

        plan = _plan(study)
        claims = _claims(plan)
        sizes = {
            name: {
                "data": list(size.data),
                "default": size.default,
                "seeds": size.seeds,
                "trainings": most_trainings(plan, name),
                "epochs": {data: entry.budget["epochs"] for data, entry in size.data.items()},
            }
            for name, size in plan.sizes.items()
        }
        if as_json:
            document = {"study": plan.model_dump(mode="json"), "sizes": sizes}
            print_json(
                "study show", {**document, "claims": [claim.model_dump(mode="json") for claim in claims]}
            )
            return
        print(f"{plan.id} {plan.name}: {plan.question}")
        print(f"sources: {', '.join(plan.sources)}")
        print(f"baseline {plan.baseline} on {plan.hardware}; arms: ", end="")
        print(", ".join(arm.label for arm in isolation_arms(plan)))
        rows: list[tuple[object, ...]] = [
            (name, ", ".join(map(str, entry["data"])), entry["seeds"], entry["trainings"])  # type: ignore[call-overload]
            for name, entry in sizes.items()
        ]
        columns = {"size": "left", "data": "left", "seeds": "right", "trainings at most": "right"}
        print_table("sizes", columns, rows, no_color=no_color)
        print_table(
            "claims",
            dict.fromkeys(("id", "claim", "kind", "mark", "printed", "checkable"), "left"),
            [(c.id, c.text, c.kind, c.mark, c.printed, c.checkable) for c in claims],
            no_color=no_color,
        )


@study_app.command("run")
def run(
    study: Annotated[str, typer.Argument(help="S3 or its name, repairs.")],
    size: SizeOption = "minutes",
    data: DataOption = None,
    out: OutOption = None,
    workers: WorkersOption = None,
    energies: EnergiesOption = False,
    dry_run: DryOption = False,
    force: ForceOption = False,
    fresh: FreshOption = False,
    retry_failed: RetryOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    no_color: NoColorOption = False,
) -> None:
    """Run or resume a study, and check its claims; exits with 1 when one differs."""
    with speaking(verbose=verbose):
        _run(
            _plan(study),
            _size(size),
            data,
            out,
            workers or min(2, os.cpu_count() or 1),
            energies=energies,
            dry_run=dry_run,
            force=force,
            fresh=fresh,
            retry_failed=retry_failed,
            as_json=as_json,
            quiet=quiet,
            no_color=no_color,
        )


@study_app.command("repairs", help="The same as `study run repairs`.")
def repairs(
    size: SizeOption = "minutes",
    data: DataOption = None,
    out: OutOption = None,
    workers: WorkersOption = None,
    dry_run: DryOption = False,
    force: ForceOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """The isolation study of binary repairs."""
    run(
        "repairs",
        size=size,
        data=data,
        out=out,
        workers=workers,
        dry_run=dry_run,
        force=force,
        as_json=as_json,
        quiet=quiet,
        verbose=verbose,
    )


def _run(
    plan: RepairPlan,
    size: Size,
    data: str | None,
    out: Path | None,
    workers: int,
    *,
    energies: bool,
    dry_run: bool,
    force: bool,
    fresh: bool,
    retry_failed: bool,
    as_json: bool,
    quiet: bool,
    no_color: bool,
) -> None:
    from bitjoule.cli.study_run import check_budget, priced_without_training, run_stored, write_results
    from bitjoule.front_door import Study
    from bitjoule.search.repair_study import RepairRun, facts_of

    chosen = plan.size(size)
    chosen.training(data)
    folder = out or Path(f"{plan.id}-{size}-{data or chosen.default}")
    findings, opened = None, None
    if not energies:
        started = RepairRun(plan, size, data, folder, Study.open, workers)
        estimate = check_budget(started, fresh=fresh, force=force or dry_run)
        if dry_run and as_json:
            print_json("study run", {"dry_run": asdict(estimate)})
        elif dry_run or not (quiet or as_json):
            print(estimate)
        if dry_run:
            return
        stored, findings = started.run(
            lambda one: run_stored(one, workers, retry_failed=retry_failed, quiet=quiet or as_json),
            fresh=fresh,
        )
        opened = cast(Study, stored)
    priced, facts = priced_without_training(plan)
    checked = _checked(plan, {**(facts_of(findings, plan) if findings else {}), **facts}, size)
    document = _document(plan, size, findings, priced, checked)
    files = write_results(folder, plan, document, findings, priced, checked, opened)
    if as_json:
        print_json("study run", {**document, "files": [str(path) for path in files]})
    else:
        _print_tables(plan, findings, priced, checked, no_color=no_color)
        print(f"written: {', '.join(map(str, files))}")
    _judge(checked, findings)


def _document(
    plan: RepairPlan,
    size: Size,
    findings: RepairFindings | None,
    priced: Sequence[PricedNetwork],
    checked: Sequence[Checked],
) -> dict[str, object]:
    """The JSON document of a run."""
    return {
        "study": plan.id,
        "name": plan.name,
        "size": size,
        "repairs": None if findings is None else findings.to_json(),
        "energies": {"network": plan.energies.network, "rows": [asdict(row) for row in priced]},
        "claims": [{"id": entry.claim.id, **entry.to_json()} for entry in checked],
    }


def _print_tables(
    plan: RepairPlan,
    findings: RepairFindings | None,
    priced: Sequence[PricedNetwork],
    checked: Sequence[Checked],
    *,
    no_color: bool,
) -> None:
    from bitjoule.report.repairs import (
        ARM_COLUMNS,
        CLAIM_COLUMNS,
        ENERGY_COLUMNS,
        arm_rows,
        claim_rows,
        energy_rows,
        ranking_lines,
    )

    def show_table(title: str, columns: Mapping[str, str], rows: Sequence[tuple[str, ...]]) -> None:
        print_table(title, columns, list(rows), no_color=no_color)

    if findings is not None:
        known = "" if findings.float_percent is None else f", float {findings.float_percent:.1f} %"
        show_table(f"repairs on {findings.hardware}{known}", ARM_COLUMNS, arm_rows(findings.rows))
        if findings.greedy:
            steps = arm_rows([step.row for step in findings.greedy])
            show_table("greedy selection by gain per joule", ARM_COLUMNS, steps)
        for line in ranking_lines(findings):
            print(line)
        print(f"on the front of all: {'; '.join(findings.front)}")
    title = f"{plan.energies.network} without training, one inference"
    show_table(title, ENERGY_COLUMNS, energy_rows(priced))
    show_table("claims", CLAIM_COLUMNS, claim_rows(checked))


def _judge(checked: Sequence[Checked], findings: RepairFindings | None) -> None:
    """Exit with 1 when a claim that this size can check differs, or when arms have no accuracy."""
    from bitjoule.search.claims import failed_claims

    if failed := failed_claims(checked):
        listed = "; ".join(f"{entry.claim.id}: {entry.ours}" for entry in failed)
        raise CommandFailed(f"{len(failed)} of {len(checked)} claims differ: {listed}")
    lost = [row for row in findings.rows if row.accuracy is None] if findings else []
    if lost:
        first = lost[0]
        raise CommandFailed(
            f"{len(lost)} arms have no accuracy ({', '.join(row.label for row in lost)}), "
            f"{first.label}: {first.reason}; run again with --retry-failed"
        )


def _plan(study: str) -> RepairPlan:
    """The plan of a study by its identifier or its name."""
    from bitjoule.search.repair_plan import read_plan
    from bitjoule.search.study_faults import nearest_of
    from bitjoule.studies import shipped, text_of

    plans = [read_plan(text_of(name, "study.yaml"), f"{name}/study.yaml") for name in shipped()]
    for plan in plans:
        if study in (plan.id, plan.id.lower(), plan.name):
            return plan
    raise ValueError(nearest_of("study", study, [name for plan in plans for name in (plan.id, plan.name)]))


def _size(text: str) -> Size:
    from bitjoule.search.claims import SIZES
    from bitjoule.search.study_faults import nearest_of

    for size in SIZES:
        if size == text:
            return size
    raise ValueError(nearest_of("size", text, SIZES))


def _claims(plan: RepairPlan) -> tuple[Claim, ...]:
    from bitjoule.search.claims import read_claims
    from bitjoule.studies import text_of

    return read_claims(text_of(plan.id, "claims.yaml"), f"{plan.id}/claims.yaml")


def _checked(plan: RepairPlan, facts: Mapping[str, Fact], size: Size) -> list[Checked]:
    from bitjoule.search.claims import check_claim

    return [check_claim(claim, facts, size) for claim in _claims(plan)]
