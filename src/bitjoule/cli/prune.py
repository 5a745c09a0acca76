"""`bitjoule prune`: a network with fewer channels, fine-tuned, and what that saves."""

from __future__ import annotations

import json
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
    from bitjoule.hardware import Hardware
    from bitjoule.network import Network
    from bitjoule.train.accuracy import Accuracy

__all__ = ["prune"]

GRAPH = "graph.json"


def prune(
    network: Annotated[str, typer.Argument(help="A network of the zoo.")],
    channels: Annotated[float, typer.Option(help="Share of the channels to cut, such as 0.3.")],
    score: Annotated[
        str, typer.Option(help="What a channel is worth: bn_gamma (batch norm's scale) or l1 (its filters).")
    ] = "bn_gamma",
    fading: Annotated[
        float, typer.Option(min=0, help="L1 on batch norm's scales while the parent trains; 0: none.")
    ] = 1e-4,
    scheme: Annotated[
        str, typer.Option(help="Formats of the fine-tuned network: float32, w4a4, w4a4[prune=2:4] ...")
    ] = "float32",
    hardware: Annotated[str, typer.Option(help="What the energy is of: a preset or a .yaml file.")] = (
        "moons-4mb"
    ),
    data: Annotated[str, typer.Option(help="Kind of data: digits, mnist, cifar10 ...")] = "digits",
    root: Annotated[Path | None, typer.Option(help="Folder of the data.")] = None,
    width: Annotated[float | None, typer.Option(help="Channel multiplier.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Network option KEY=VALUE, repeatable.")
    ] = None,
    parent_epochs: Annotated[int, typer.Option(min=1, help="Epochs of the float parent.")] = 10,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs of fine-tuning under SCHEME.")] = 5,
    seed: Annotated[int, typer.Option(help="Seed of weights, order and augmentation.")] = 0,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Folder for the pruned graph.json, weights and checkpoints."),
    ] = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Train a float parent, cut its weakest channels, fine-tune under SCHEME; print accuracy and energy.

    N:M pruning of single weights is part of a scheme: bitjoule train NETWORK --scheme "w4a4[prune=2:4]".
    """
    with speaking(verbose=verbose):
        from bitjoule import hardware as hardware_room
        from bitjoule import train as train_room
        from bitjoule import zoo
        from bitjoule.network.pruning import prune_channels
        from bitjoule.quant.pruning import fade_channels, without_fading
        from bitjoule.scheme import parse_scheme

        parsed, described = parse_scheme(scheme), hardware_room.load(hardware)
        dataset = zoo.load_dataset(data, root)
        net = zoo_network(network, parse_settings(set_ or [], width=width), dataset, seed)
        prune_channels(net, channels, score=score)  # type: ignore[arg-type]  # bad input ends here
        start = fade_channels(net, fading) if fading and score == "bn_gamma" else net
        progress = None if quiet else tell
        parent = train_room.train_network(
            start,
            dataset,
            "float32",
            epochs=parent_epochs,
            parent_epochs=0,
            seed=seed,
            workdir=output and output / "parent",
            progress=progress,
        )
        if parent.failure:
            raise CommandFailed(parent.failure)
        pruned = prune_channels(without_fading(parent.network), channels, score=score)  # type: ignore[arg-type]
        tuned = train_room.train_network(
            pruned,
            dataset,
            parsed,
            epochs=epochs,
            parent_epochs=0,
            seed=seed,
            workdir=output and output / "pruned",
            progress=progress,
        )
        if output is not None:
            (output / GRAPH).write_text(json.dumps(pruned.graph.to_json()), encoding="utf-8")
        rows = {
            "parent": {**_size(net, scheme, described), "accuracy_test": _fraction(parent.test)},
            "pruned": {**_size(pruned, scheme, described), "accuracy_test": _fraction(tuned.test)},
        }
        notes = list(dict.fromkeys((*pruned.notes, *tuned.network.notes)))
        if as_json:
            print_json(
                "prune",
                {
                    "network": network,
                    "channels": channels,
                    "score": score,
                    "scheme": str(parsed),
                    "hardware": described.name,
                    "data": data,
                    "seed": seed,
                    **rows,
                    "notes": notes,
                    "failure": tuned.failure or None,
                },
            )
        else:
            _show(
                f"{network} on {data}, {channels:.0%} of the channels to go by {score}", rows, described.name
            )
            for note in notes:
                print(f"note: {note}")
        if tuned.failure:
            raise CommandFailed(tuned.failure)


def _fraction(accuracy: Accuracy | None) -> float | None:
    return None if accuracy is None else accuracy.fraction


def _size(net: Network, scheme: str, hardware: Hardware) -> dict[str, object]:
    """What one inference of `net` computes, stores and costs."""
    from bitjoule import energy as energy_room
    from bitjoule.workload import workload_of

    workload = workload_of(net.graph, scheme)
    return {
        "scheme": workload.scheme,
        "macs": workload.macs,
        "weights": workload.weight_elements,
        "weight_bits": workload.weight_bits,
        "energy_pj": energy_room.cost(workload, hardware).energy_pj,
    }


def _show(title: str, rows: dict[str, dict[str, object]], hardware: str) -> None:
    from bitjoule.report.units import energy_text, size_text

    def percent(value: object) -> str:
        return f"{100 * value:.2f} %" if isinstance(value, float) else "-"

    table = [
        (
            "parent (tested in float32)" if name == "parent" else name,
            f"{row['macs']:,}",
            f"{row['weights']:,}",
            size_text(row["weight_bits"]),  # type: ignore[arg-type]
            energy_text(row["energy_pj"]),  # type: ignore[arg-type]
            percent(row["accuracy_test"]),
        )
        for name, row in rows.items()
    ]
    energy = f"energy on {hardware}, {rows['pruned']['scheme']}"
    columns = {
        "": "left",
        "MACs": "right",
        "weights": "right",
        "stored": "right",
        energy: "right",
        "test": "right",
    }
    print_table(title, columns, table)
