"""`bitjoule formats`: list the number formats, draw one, compare several on the weights of a network."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bitjoule.cli.output import JsonOption, NoColorOption, VerboseOption, print_json, print_table, speaking

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bitjoule.formats import Format
    from bitjoule.formats.comparison import FormatFit

__all__ = ["formats_app"]

formats_app = typer.Typer(no_args_is_help=True, help="Number formats: list, show, compare on weights.")

COMPARED = (
    "INT4_NARROW,INT6_NARROW,INT8_NARROW,POT4,APOT4,APOT5,SPOT1,SPOT2,SPOT3_9,SVA0.75,SVA1,SVA1.5,SVA2,SVA3"
)
TABLE_ROWS = 64


@formats_app.command("list")
def formats_list(
    as_json: JsonOption = False, verbose: VerboseOption = False, no_color: NoColorOption = False
) -> None:
    """Examples of every family."""
    with speaking(verbose=verbose):
        from bitjoule.formats import describe, parse_format, registered_formats

        described = [describe(parse_format(str(name))) for name in registered_formats(self_scaling=True)]
        if as_json:
            print_json("formats list", {"formats": described})
            return
        columns = {"format": "left", "bits": "right", "kind": "left", "levels": "right", "min": "right",
                   "max": "right", "multiplier": "left", "terms": "right"}  # fmt: skip
        rows: list[tuple[object, ...]] = [
            (f["name"], f["bits"], f["kind"], "-" if f["levels"] is None else f["levels"],
             _short(f["min"]), _short(f["max"]),
             f["traits"]["multiplier"], f["traits"]["max_terms"] or "-")
            for f in described
        ]  # fmt: skip
        print_table("number formats", columns, rows, no_color=no_color)


def _short(number: float) -> str:
    """An integer whole, another number in few digits."""
    return str(number) if isinstance(number, int) else f"{number:.6g}"


@formats_app.command("show")
def formats_show(
    name: Annotated[str, typer.Argument(help="A format such as INT4_NARROW or APOT4.")],
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
    no_color: NoColorOption = False,
) -> None:
    """Levels on a line, their codes and terms, and hardware traits of one format."""
    with speaking(verbose=verbose):
        from bitjoule.formats import describe, parse_format
        from bitjoule.formats.drawing import level_rows

        format_ = parse_format(name)
        described = describe(format_)
        if as_json:
            rows = [asdict(row) for row in level_rows(format_)]
            print_json("formats show", {"format": described, "levels": rows})
            return
        for key, value in described.items():
            if key == "traits":
                print(f"{key}:", ", ".join(f"{trait} {what}" for trait, what in value.items()))
            elif value is not None:
                print(f"{key}: {value}")
        _draw(format_, no_color=no_color)


def _draw(format_: Format, *, no_color: bool) -> None:
    from bitjoule.formats.drawing import level_rows, number_line

    if format_.kind == "vector":
        print("levels: none of its own; what an entry can be depends on its row (`formats compare`)")
        print("bits and max_terms are those of a dense word; what rows take on average: `formats compare`")
        return
    rows = level_rows(format_)
    if not rows:
        print(f"levels: too many to draw, from {format_.min_level:g} to {format_.max_level:g}")
        return
    print("levels:", " ".join(f"{row.level:g}" for row in rows))
    print()
    for line in number_line(format_):
        print(line)
    print("| one level, 2 to 9 that many, # more, - none")
    if len(rows) <= TABLE_ROWS:
        columns = {"code": "right", "level": "right", "of the largest": "right", "terms": "left"}
        cells: list[tuple[object, ...]] = [
            (row.code, f"{row.level:g}", f"{row.relative:.6g}", row.terms) for row in rows
        ]
        print_table("", columns, cells, no_color=no_color)
    else:
        print(f"{len(rows)} levels; --json lists the code and the terms of each")


@formats_app.command("compare")
def formats_compare(
    weights: Annotated[Path, typer.Option("--weights", help="A .safetensors, .npz or torch checkpoint.")],
    formats: Annotated[str, typer.Option("--formats", help="Names, comma separated.")] = COMPARED,
    equal_terms: Annotated[
        bool, typer.Option("--equal-terms/--no-equal-terms", help="SVA at the terms of each SPOT, too.")
    ] = True,
    data: Annotated[Path | None, typer.Option("--data", help="A CIFAR-10 folder: measures accuracy.")] = None,
    network: Annotated[str, typer.Option("--network", help="What the weights belong to.")] = "resnet20",
    images: Annotated[int, typer.Option("--images", min=1, help="Test images, the first ones.")] = 1000,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
    no_color: NoColorOption = False,
) -> None:
    """Terms and bits per weight, signal to noise and, with --data, accuracy of formats on real weights.

    Weights only, all others stay float; no training. --data wants images as the network was trained on; they
    are normalised with the mean and deviation of ImageNet.
    """
    with speaking(verbose=verbose):
        from bitjoule.formats.comparison import fit_format, fit_sva_to_terms

        tensors = _weights_of(weights)
        names = [name.strip() for name in formats.split(",") if name.strip()]
        fits = [fit_format(tensors, name) for name in names]
        if equal_terms:
            spots = [fit.name for fit in fits if fit.name.startswith("SPOT")]
            fits += [fit_sva_to_terms(tensors, name) for name in spots]
        accuracy: dict[str, float] = {}
        if data is not None:
            accuracy = _accuracies(weights, network, data, images, [fit.name for fit in fits])
        size = sum(w.size for w in tensors.values())
        if as_json:
            documents = [_document(fit, accuracy) for fit in fits]
            extra = {"float_accuracy": accuracy.get(""), "images": images} if accuracy else {}
            print_json("formats compare", {"weights": size, **extra, "fits": documents})
            return
        columns = {"format": "left", "terms": "right", "bits": "right", "SQNR dB": "right"}
        if accuracy:
            columns["top-1 %"] = "right"
        rows: list[tuple[object, ...]] = [
            (fit.name, "-" if fit.terms is None else f"{fit.terms:.3f}", f"{fit.bits:.2f}",
             f"{fit.sqnr_db:.2f}", *([_percent(accuracy, fit.name)] if accuracy else []))
            for fit in fits
        ]  # fmt: skip
        title = f"{size} weights in {len(tensors)} tensors; terms and bits per weight"
        if accuracy:
            title += f"; float {100 * accuracy['']:.2f} % of {images} images"
        print_table(title, columns, rows, no_color=no_color)


def _document(fit: FormatFit, accuracy: dict[str, float]) -> dict[str, object]:
    exact = fit.sqnr_db == float("inf")
    document = asdict(replace(fit, sqnr_db=0.0) if exact else fit)
    if exact:
        document["sqnr_db"] = None
    return document | ({"accuracy": accuracy.get(fit.name)} if accuracy else {})


def _percent(accuracy: dict[str, float], name: str) -> str:
    return f"{100 * accuracy[name]:.2f}" if name in accuracy else "-"


def _weights_of(path: Path) -> dict[str, NDArray[Any]]:
    """The float tensors of two or more axes, by name; torch is loaded for torch checkpoints only."""
    import numpy as np

    if not path.is_file():
        raise ValueError(f"no weight file {str(path)!r}: expected .safetensors, .npz or a torch checkpoint")
    tensors: dict[str, NDArray[Any]]
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as archive:
            tensors = dict(archive)
    else:
        from bitjoule.zoo.weights import read_weights

        tensors = {name: tensor.float().numpy() for name, tensor in read_weights(path).items()}
    found = {name: w for name, w in tensors.items() if w.ndim >= 2 and w.dtype.kind == "f" and w.size}
    if not found:
        raise ValueError(f"{path}: holds no float tensor of two or more axes")
    return found


def _accuracies(weights: Path, network: str, data: Path, images: int, names: list[str]) -> dict[str, float]:
    """Top-1 of the float network (under the empty name) and with the weights in each format."""
    import torch

    from bitjoule import zoo
    from bitjoule.formats.comparison import restore
    from bitjoule.zoo.data import Preprocessing

    model = zoo.build(network, {}, seed=0).eval()
    zoo.load_weights(model, weights)
    test = zoo.load_dataset("cifar10", data, limit_train=1, limit_test=images).test
    original = {name: p.detach().clone() for name, p in model.named_parameters() if p.ndim >= 2}

    def top1() -> float:
        correct = 0
        with torch.no_grad():
            for x, labels in zoo.batches(test, 500, preprocessing=Preprocessing("standard")):
                correct += int((model(x).argmax(1) == labels).sum())
        return correct / len(test)

    found = {"": top1()}
    for format_name in names:
        if " " in format_name:  # an SVA at equal terms is no format of its own
            continue
        for name, p in model.named_parameters():
            if name in original:
                p.data = torch.from_numpy(restore(original[name].numpy(), format_name)).float()
        found[format_name] = top1()
    return found
