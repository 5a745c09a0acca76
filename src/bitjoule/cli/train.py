"""`bitjoule train`: one accuracy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bitjoule.cli.network_argument import parse_settings, zoo_network
from bitjoule.cli.output import (
    CommandFailed,
    JsonOption,
    QuietOption,
    VerboseOption,
    print_json,
    print_table,
    speaking,
    tell,
)

if TYPE_CHECKING:
    from bitjoule.train import Recipe, TrainReport
    from bitjoule.train.accuracy import Accuracy

__all__ = ["train"]


def train(
    network: Annotated[str, typer.Argument(help="A network of the zoo.")],
    scheme: Annotated[str, typer.Option(help="Formats: w4a4, int8, float32 ...")] = "float32",
    data: Annotated[str, typer.Option(help="Kind of data: digits, mnist, cifar10 ...")] = "digits",
    root: Annotated[Path | None, typer.Option(help="Folder of the data.")] = None,
    width: Annotated[float | None, typer.Option(help="Channel multiplier.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Network option KEY=VALUE, repeatable.")
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(min=1, help="Epochs of the quantized training; by default 5, or the preset's."),
    ] = None,
    parent_epochs: Annotated[
        int | None,
        typer.Option(
            min=0, help="Epochs of the float parent; 0: from scratch; by default 10, or the preset's."
        ),
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="Recipe of the quantized training (see `recipes list`).")
    ] = None,
    parent_preset: Annotated[str | None, typer.Option(help="Recipe of the float parent.")] = None,
    teacher: Annotated[
        str | None, typer.Option(help="`parent`: learn from the outputs of the float parent too.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of weights, order and augmentation.")] = 0,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder for weights and checkpoints.")
    ] = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Train a float parent, then the same network under SCHEME; print accuracies on validation and test."""
    with speaking(verbose=verbose):
        from bitjoule import train as train_room
        from bitjoule import zoo
        from bitjoule.scheme import parse_scheme

        parsed = parse_scheme(scheme)
        if teacher not in (None, "parent"):
            raise ValueError(f"--teacher must be 'parent' or left out, not {teacher!r}")
        recipe, passes = _recipe(preset, epochs, 5)
        parent_recipe, parent_passes = _recipe(parent_preset, parent_epochs, 10)
        dataset = zoo.load_dataset(data, root)
        net = zoo_network(network, parse_settings(set_ or [], width=width), dataset, seed)
        report = train_room.train_network(
            net,
            dataset,
            parsed,
            epochs=passes,
            parent_epochs=parent_passes,
            seed=seed,
            recipe=recipe,
            parent_recipe=parent_recipe,
            teacher="parent" if teacher else None,
            workdir=output,
            progress=None if quiet else tell,
        )
        document = report.to_json()
        if as_json:
            print_json("train", {"network": network, "scheme": str(parsed), "data": data, **document})
        else:
            _print_accuracies(network, data, report)
        if report.failure:
            raise CommandFailed(report.failure)


def _recipe(preset: str | None, epochs: int | None, default: int) -> tuple[Recipe | None, float]:
    """The preset at the epochs asked for, and how many those are; a warm-up keeps to a fifth of fewer."""
    if preset is None:
        return None, default if epochs is None else epochs
    from bitjoule.train.recipes import recipe

    found = recipe(preset)
    if not epochs:
        return found, found.epochs if epochs is None else 0
    return recipe(preset, epochs=epochs, warmup=min(found.warmup, epochs / 5)), epochs


def _print_accuracies(network: str, data: str, report: TrainReport) -> None:
    """One line per trained network."""

    def percent(accuracy: Accuracy | None) -> str:
        return "-" if accuracy is None else f"{100 * accuracy.fraction:.2f} %"

    rows = [(str(report.scheme), percent(report.validation), percent(report.test))]
    if report.parent_validation is not None:
        rows.insert(0, ("float32 (parent)", percent(report.parent_validation), percent(report.parent_test)))
    seconds = sum(epoch.seconds for epoch in report.history)
    print_table(
        f"{network} on {data}, seed {report.seed}: {len(report.history)} epochs in {seconds:.1f} s, "
        f"{report.threads} threads",
        {"scheme": "left", "validation": "right", "test": "right"},
        rows,
    )
