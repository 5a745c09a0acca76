"""`bitjoule ptq`: a trained network to fixed scales and levels, by a scheme or within an energy budget."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bitjoule.cli.output import (
    JsonOption,
    QuietOption,
    VerboseOption,
    print_json,
    print_table,
    speaking,
    tell,
)
from bitjoule.cli.ptq_budget import Wanted, measured, real_loss, within_budget
from bitjoule.cli.ptq_inputs import (
    NORMALISATIONS,
    calibration_images,
    evaluator,
    float_network,
    opened,
    refuse_file,
    refuse_normalisation,
)

if TYPE_CHECKING:
    from bitjoule.train.ptq.sensitivity import Sensitivities

__all__ = ["ptq"]


def ptq(
    network: Annotated[str, typer.Argument(help="A network of the zoo.")],
    weights: Annotated[
        Path | None, typer.Option(help="Trained weights: .safetensors or a torch checkpoint.")
    ] = None,
    scheme: Annotated[
        str,
        typer.Option(
            help="Formats: int8, w4a8, w4a4 ... The first and the last layer stay at 8 bits, "
            "unless w4a4[first=same,last=same]."
        ),
    ] = "int8",
    data: Annotated[str, typer.Option(help="Kind of data: digits, mnist, cifar10 ...")] = "digits",
    images: Annotated[Path | None, typer.Option(help="Folder of the data.")] = None,
    normalise: Annotated[
        str | None,
        typer.Option(
            help="What the network was trained with: signed (-1 to 1, the default), unit (0 to 1), moons, "
            "or imagenet (mean and std)."
        ),
    ] = None,
    option: Annotated[
        list[str] | None, typer.Option("--option", help="Network option KEY=VALUE, repeatable.")
    ] = None,
    count: Annotated[
        int | None, typer.Option(min=1, help="Calibration images, by default 512; best takes 1,024.")
    ] = None,
    preset: Annotated[str, typer.Option(help="fast, best or data-free.")] = "fast",
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="A field of the recipe, FIELD=VALUE, repeatable.")
    ] = None,
    budget_uj: Annotated[
        float | None, typer.Option(help="Choose a width for every tensor within this energy per inference.")
    ] = None,
    hardware: Annotated[str | None, typer.Option(help="What the energy is of, with --budget-uj.")] = None,
    sensitivity: Annotated[
        str | None,
        typer.Option(help="Measure each tensor alone: kl, loss, accuracy_drop, sqnr, hessian or fisher."),
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
        Path | None, typer.Option("-o", "--output", help="Folder for weights, workload, card and plot.")
    ] = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Quantize a trained NETWORK after training, without labels; print accuracy and the worst layer."""
    with speaking(verbose=verbose):
        import dataclasses

        from bitjoule.train.ptq import PtqError, configured, preset_config
        from bitjoule.train.ptq import ptq as quantize
        from bitjoule.train.ptq.save import finite, save_quantized

        refuse_file(network)
        refuse_normalisation(normalise)
        if output is not None and output.exists() and not output.is_dir():
            raise PtqError(f"ptq: --output {output} is a file; give a folder, which is made where missing")
        config = configured(preset_config(preset), set_ or [])
        if count is not None:
            config = dataclasses.replace(config, calibration_count=count)
        free = config.synthetic_level > 0
        measures = budget_uj is not None or sensitivity is not None
        _check(budget_uj, hardware, sensitivity, compare, measures and free)
        dataset = opened(data, images, normalise) if evaluate or not free else None
        net = float_network(network, weights, option or [], data, dataset, seed)
        calibration = None
        if dataset is not None and not free:
            calibration = calibration_images(dataset, config.calibration_count, seed)
        if output is not None:
            _make(output)
        say = None if quiet else tell
        found: Sensitivities | None = None
        more: dict[str, Any] = {"data": data, "network": network}
        if dataset is not None and calibration is not None and measures:
            if budget_uj is not None and hardware is not None:
                wanted = Wanted(budget_uj, hardware, sensitivity or "kl", compare)
                scheme, found, predicted = within_budget(
                    net, calibration, dataset, scheme, wanted, config, seed, say
                )
                more |= predicted
            else:
                found = measured(net, calibration, dataset, scheme, sensitivity or "kl", config, seed, say)
        result = quantize(
            net,
            calibration,
            scheme,
            preset=preset,  # type: ignore[arg-type]  # an unknown one was refused above
            config=config,
            evaluate=evaluator(dataset) if evaluate and dataset is not None else None,
            seed=seed,
            progress=say,
        )
        if budget_uj is not None and dataset is not None and calibration is not None:
            kind = sensitivity or "kl"
            more["real_loss"] = real_loss(kind, net, result, calibration, dataset)
        report = result.quantization_report
        if output is not None:
            save_quantized(output, result, sensitivities=found, more=more)
        if as_json:
            written = None if output is None else str(output)
            print_json("ptq", finite({**more, **report.to_json(), "output": written}))
            return
        _print(result, found)
        _print_prediction(more)
        if dataset is not None and normalise is None and data != "digits":
            print(
                f"note: images were normalised as {NORMALISATIONS[0]!r}; where the network was trained with "
                "another normalisation, give --normalise",
                file=sys.stderr,
            )
        if output is not None:
            print(f"written: {output} (bitjoule energy {output / 'workload.json'} --hardware NAME prices it)")


def _make(output: Path) -> None:
    """The folder of the result, made before the work; PtqError where it cannot be."""
    from bitjoule.train.ptq.config import PtqError

    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PtqError(
            f"ptq: --output {output}: this folder cannot be made ({error.strerror}); give one in a place "
            "that can be written"
        ) from None


def _check(
    budget_uj: float | None, hardware: str | None, sensitivity: str | None, compare: int, without: bool
) -> None:
    """Options that do not go together, and names that there are not."""
    from bitjoule.train.ptq.config import PtqError
    from bitjoule.train.ptq.sensitivity import KINDS

    if sensitivity is not None and sensitivity not in KINDS:
        raise PtqError(f"ptq: --sensitivity must be one of {', '.join(KINDS)}; not {sensitivity!r}")
    if (budget_uj is None) != (hardware is None):
        raise PtqError("ptq: --budget-uj and --hardware go together: which energy, and of what machine")
    if budget_uj is not None and not 0 < budget_uj < float("inf"):
        raise PtqError(f"ptq: --budget-uj must be microjoules above 0, not {budget_uj:g}")
    if compare == 1:
        raise PtqError("ptq: --compare must be 0, or 2 and more: one network has no order to compare")
    if without:
        raise PtqError(
            "ptq: sensitivities, which --sensitivity and --budget-uj need, are measured on images; "
            "take preset fast or best"
        )


def _print_prediction(more: dict[str, Any]) -> None:
    """What the programme foretold, and what became of it."""
    if "predicted_loss" not in more:
        return
    print(
        f"{more['energy_uj']:.3f} uJ of {more['budget_uj']:g} on {more['hardware']} ({more['solver']}), "
        f"{more['sensitivity']} {more['predicted_loss']:.4g} predicted, {more['real_loss']:.4g} real"
    )
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
