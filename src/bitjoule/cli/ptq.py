"""`bitjoule ptq`: a trained network to fixed scales and levels, by a scheme or within an energy budget."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bitjoule.cli.network_argument import parse_settings, zoo_network
from bitjoule.cli.output import (
    JsonOption,
    QuietOption,
    VerboseOption,
    print_json,
    print_table,
    speaking,
    tell,
)
from bitjoule.cli.ptq_budget import Wanted, measured, within_budget

if TYPE_CHECKING:
    from torch import Tensor

    from bitjoule.network import Network
    from bitjoule.train.ptq.sensitivity import Sensitivities
    from bitjoule.zoo import Dataset

__all__ = ["ptq"]


def ptq(
    network: Annotated[str, typer.Argument(help="A network of the zoo.")],
    weights: Annotated[
        Path | None, typer.Option(help="Trained weights: .safetensors or a torch checkpoint.")
    ] = None,
    scheme: Annotated[str, typer.Option(help="Formats: int8, w4a8, w4a4[first=same,last=same] ...")] = "int8",
    data: Annotated[str, typer.Option(help="Kind of data: digits, mnist, cifar10 ...")] = "digits",
    images: Annotated[Path | None, typer.Option(help="Folder of the data.")] = None,
    normalise: Annotated[
        str | None,
        typer.Option(help="What the network was trained with: signed, unit, or imagenet (mean and std)."),
    ] = None,
    option: Annotated[
        list[str] | None, typer.Option("--option", help="Network option KEY=VALUE, repeatable.")
    ] = None,
    count: Annotated[int | None, typer.Option(min=1, help="Calibration images, by default 512.")] = None,
    preset: Annotated[str, typer.Option(help="fast, best or data-free.")] = "fast",
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="A field of the recipe, FIELD=VALUE, repeatable.")
    ] = None,
    budget_uj: Annotated[
        float | None, typer.Option(help="Choose a width for every tensor within this energy per inference.")
    ] = None,
    hardware: Annotated[str | None, typer.Option(help="What the energy is of, with --budget-uj.")] = None,
    sensitivity: Annotated[
        str | None, typer.Option(help="Measure each tensor alone: kl, loss, accuracy_drop, sqnr ...")
    ] = None,
    compare: Annotated[
        int,
        typer.Option(
            min=0,
            help="With --budget-uj: networks along the front, rounded to nearest, whose real losses are "
            "compared with the predicted ones (Kendall's tau); 0: none.",
        ),
    ] = 4,
    evaluate: Annotated[bool, typer.Option("--evaluate", help="Test accuracy before and after.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of images, synthetic images and learning.")] = 0,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder for weights, card and plot.")
    ] = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Quantize a trained NETWORK after training, without labels; print accuracy and the worst layer."""
    with speaking(verbose=verbose):
        import dataclasses

        from bitjoule.train.ptq import configured, preset_config
        from bitjoule.train.ptq import ptq as quantize
        from bitjoule.train.ptq.config import PtqError

        config = configured(preset_config(preset), set_ or [])
        if count is not None:
            config = dataclasses.replace(config, calibration_count=count)
        if (budget_uj is None) != (hardware is None):
            raise PtqError("--budget-uj and --hardware go together: which energy, and of what machine")
        dataset = _dataset(data, images, normalise)
        net = _network(network, weights, option or [], dataset, seed)
        free = preset == "data-free"
        calibration = None if free else _calibration(dataset, config.calibration_count, seed)
        say = None if quiet else tell
        found: Sensitivities | None = None
        more: dict[str, Any] = {"data": data, "network": network}
        if budget_uj is not None and hardware is not None:
            scheme, found, predicted = within_budget(
                net,
                calibration,
                dataset,
                scheme,
                Wanted(budget_uj, hardware, sensitivity or "kl", compare),
                config,
                seed,
                say,
            )
            more |= predicted
        elif sensitivity is not None:
            found = measured(net, calibration, dataset, scheme, sensitivity, config, seed, say)
        result = quantize(
            net,
            calibration,
            scheme,
            preset=preset,  # type: ignore[arg-type]  # an unknown one was refused above
            config=config,
            evaluate=_evaluator(dataset) if evaluate else None,
            seed=seed,
            progress=say,
        )
        report = result.quantization_report
        if output is not None:
            from bitjoule.train.ptq.save import save_quantized

            save_quantized(output, result, sensitivities=found, more=more)
        if as_json:
            print_json("ptq", {**more, **report.to_json(), "output": None if output is None else str(output)})
            return
        _print(result, found)
        if "kendall_tau" in more:
            tau, points = more["kendall_tau"], more["kendall_points"]
            shown = "not defined" if tau is None else f"{tau:.2f}"
            print(f"predicted and real loss of {points} networks along the front: Kendall tau {shown}")


def _print(result: Any, found: Sensitivities | None) -> None:
    report = result.quantization_report
    if found is not None:
        worst = sorted(found.rows, key=lambda row: -row.value)[:8]
        rows = [(r.tensor, r.role, r.token, f"{r.value:.4g}", f"{r.error:.2g}") for r in worst]
        columns = {"tensor": "left", "role": "left", "format": "left", found.kind: "right", "+-": "right"}
        print_table("most sensitive tensors, each quantized alone", columns, rows)
    seconds = f"{sum(report.seconds.values()):.0f} s"
    worst_layer = report.worst_layer
    tail = ""
    if worst_layer is not None:
        tail = f"   (worst layer: {worst_layer.name.removesuffix('.weight')}, "
        tail += f"SQNR {worst_layer.output_sqnr_db:.1f} dB)"
    if report.accuracy is None or report.float_accuracy is None:
        print(f"{report.scheme}   {len(report.rows)} tensors   {seconds}{tail}")
    else:
        before, after = 100 * report.float_accuracy, 100 * report.accuracy
        print(
            f"float {before:.2f} %   {report.scheme} {after:.2f} %   drop {before - after:.2f} pp   "
            f"{seconds}{tail}"
        )
    for note in report.notes[:10]:
        print(f"note: {note}", file=sys.stderr)


def _dataset(kind: str, folder: Path | None, normalise: str | None) -> Dataset:
    from bitjoule import zoo
    from bitjoule.zoo.data import Preprocessing

    if normalise == "imagenet":
        means, deviations = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
        return zoo.load_dataset(
            kind, folder, preprocessing=Preprocessing("standard", mean=means, std=deviations)
        )
    return zoo.load_dataset(kind, folder, preprocessing=normalise or "signed")


def _network(name: str, weights: Path | None, options: list[str], dataset: Dataset, seed: int) -> Network:
    from bitjoule.train.ptq.config import PtqError

    if weights is None:
        raise PtqError(
            f"ptq: {name} needs trained weights; give --weights FILE "
            f"(bitjoule train {name} -o FOLDER makes one)"
        )
    return zoo_network(name, parse_settings(options), dataset, seed, weights).eval()


def _calibration(dataset: Dataset, count: int, seed: int) -> Tensor:
    """Images of the training split, drawn by `seed`."""
    import torch

    from bitjoule import zoo

    size = min(4 * count, len(dataset.train))
    found = []
    for x, _ in zoo.batches(dataset.train, 256, preprocessing=dataset.preprocessing):
        found.append(x)
        if sum(map(len, found)) >= size:
            break
    images = torch.cat(found)[:size]
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    return images[order[:count]]


def _evaluator(dataset: Dataset) -> Any:
    from bitjoule.train.accuracy import measure

    return lambda net: measure(net, dataset.test, dataset.preprocessing).fraction
