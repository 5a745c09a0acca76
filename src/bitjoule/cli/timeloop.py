"""`bitjoule timeloop`: Timeloop v0.4 files in (architecture, tables, problem, mapping) and out (mapping)."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bitjoule.cli.output import FAILED, CommandFailed, NoColorOption, VerboseOption, speaking
from bitjoule.cli.timeloop_show import show_cases, show_evaluation

if TYPE_CHECKING:
    from bitjoule.mapping.packing import Mode

__all__ = ["timeloop_app"]

timeloop_app = typer.Typer(
    no_args_is_help=True, help="Timeloop v0.4 files: evaluate, check against cases, import, export."
)

ArchOption = Annotated[Path, typer.Option("--arch", help="Architecture YAML.")]
ArtOption = Annotated[Path | None, typer.Option("--art", help="Area reference table; areas are reported.")]
OutOption = Annotated[Path | None, typer.Option("--out", "-o", help="File to write; default: stdout.")]


@timeloop_app.command("eval")
def evaluate_files(
    arch: ArchOption,
    problem: Annotated[Path, typer.Option(help="Problem YAML.")],
    mapping: Annotated[Path, typer.Option(help="Mapping YAML.")],
    ert: Annotated[
        Path | None, typer.Option(help="Energy reference table; without it counts and cycles only.")
    ] = None,
    art: ArtOption = None,
    bits: Annotated[
        str | None, typer.Option(help="inputs=8,weights=4,outputs=8,psum=16; default: of the problem.")
    ] = None,
    mode: Annotated[
        str | None, typer.Option(help="native, paper or physical; default: physical with bits, else native.")
    ] = None,
    packing: Annotated[str, typer.Option(help="floor or dense, in physical mode.")] = "floor",
    json_file: Annotated[
        Path | None, typer.Option("--json", help="File for the numbers as JSON; - is stdout.")
    ] = None,
    verbose: VerboseOption = False,
    no_color: NoColorOption = False,
) -> None:
    """Count and price a given mapping. Exit code 1 when it does not fit, 2 when it is of another problem."""
    with speaking(verbose=verbose):
        from dataclasses import replace

        from bitjoule.mapping.evaluate import evaluate
        from bitjoule.mapping.timeloop_accelerator import read_accelerator
        from bitjoule.mapping.timeloop_mapping import read_mapping
        from bitjoule.mapping.timeloop_problem import read_problem, with_bits
        from bitjoule.mapping.timeloop_result import evaluation_document

        if packing not in ("floor", "dense"):
            raise ValueError(f"--packing must be floor or dense, not {packing!r}")
        hardware = read_accelerator(arch, ert, art)
        read = read_problem(problem)
        _warn((*hardware.notes, *read.notes))
        given = dict(read.bits) | _parse_bits(bits)
        chosen = _mode(mode, given)
        layer = replace(read.problem, mac_pj=hardware.mac_pj)
        if chosen != "native":
            layer = with_bits(layer, given)
        accelerator = replace(hardware.accelerator, packing=packing)  # type: ignore[arg-type]
        found = evaluate(layer, read_mapping(mapping, read, accelerator), accelerator, mode=chosen)
        document = evaluation_document(found, chosen, priced=hardware.priced)
        if chosen != "native":
            document["psum_bits"] = layer.psum_bits
        if hardware.areas_um2:
            document["area_um2"] = dict(hardware.areas_um2)
        if json_file is not None:
            _write(None if str(json_file) == "-" else json_file, json.dumps(document, indent=1) + "\n")
        if str(json_file) != "-":
            title = f"{layer.name} on {accelerator.name}, {chosen} mode"
            show_evaluation(title, found, hardware, no_color=no_color)
        if not found.valid:
            raise CommandFailed("the mapping does not fit: " + "; ".join(found.violations))


@timeloop_app.command("cases")
def cases(
    file: Annotated[Path, typer.Argument(help="JSONL file of cases.")],
    root: Annotated[Path, typer.Option(help="Folder with arch/, ert/ and problems/.")],
    check: Annotated[
        bool, typer.Option("--check", help="Exit code 1 when a case differs from its result.")
    ] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="File for all numbers as JSON; - is stdout.")
    ] = None,
    verbose: VerboseOption = False,
    no_color: NoColorOption = False,
) -> None:
    """Evaluate the fixed mappings of a case file and compare them with what Timeloop printed."""
    with speaking(verbose=verbose):
        from bitjoule.mapping.timeloop_cases import read_cases, run_case
        from bitjoule.mapping.timeloop_result import evaluation_document

        results = [run_case(case, root) for case in read_cases(file)]
        if json_file is not None:
            document = [
                {
                    "id": result.name,
                    "differences": list(result.differences),
                    **evaluation_document(result.evaluation, result.mode),
                }
                for result in results
            ]
            _write(None if str(json_file) == "-" else json_file, json.dumps(document, indent=1) + "\n")
        if str(json_file) != "-":
            show_cases(results, no_color=no_color)
        unlike = [result for result in results if result.differences]
        if check and unlike:
            lines = [f"  {result.name}: {text}" for result in unlike for text in result.differences]
            raise CommandFailed("\n".join([f"{len(unlike)} of {len(results)} cases differ:", *lines]), FAILED)
        if check and any(not result.integers for result in results):
            names = ", ".join(result.name for result in results if not result.integers)
            raise ValueError(f"{file}: no result to check against in {names}")


@timeloop_app.command("hardware")
def import_hardware(
    arch: ArchOption,
    ert: Annotated[Path, typer.Option(help="Energy reference table.")],
    art: ArtOption = None,
    name: Annotated[str | None, typer.Option(help="Name of the hardware; default: the file's.")] = None,
    depthwise: Annotated[
        bool, typer.Option("--depthwise", help="Fixed factors of M bind groups, not output channels.")
    ] = False,
    out: OutOption = None,
    verbose: VerboseOption = False,
) -> None:
    """Write an architecture, its prices and its constraints as a hardware file of ours."""
    with speaking(verbose=verbose):
        from bitjoule.hardware import load
        from bitjoule.hardware.timeloop import read_timeloop
        from bitjoule.hardware.timeloop_yaml import hardware_yaml

        read = read_timeloop(arch, ert, art, depthwise=depthwise, name=name)
        load(read.document)
        _warn(read.notes)
        _write(out, hardware_yaml(read))


@timeloop_app.command("export")
def export(
    mapping: Annotated[Path, typer.Argument(help="A mapping of ours, JSON (bitjoule.mapping/1).")],
    hardware: Annotated[str, typer.Option(help="The preset or .yaml file that it is of.")],
    out: OutOption = None,
    verbose: VerboseOption = False,
) -> None:
    """Write a mapping of ours as Timeloop mapping YAML."""
    with speaking(verbose=verbose):
        from bitjoule.hardware import load
        from bitjoule.mapping.hardware_levels import accelerator_of
        from bitjoule.mapping.nest import Mapping as Nest
        from bitjoule.mapping.problem import Problem
        from bitjoule.mapping.timeloop_mapping import to_timeloop

        try:
            document = json.loads(mapping.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{mapping}: is not JSON: {error}") from None
        nest = Nest.from_json(document)
        n, g, k, c, p, q, r, s = nest.bounds
        layer = Problem(mapping.name.partition(".")[0], (n, g, k, c, p, q, r, s))
        _write(out, to_timeloop(nest, accelerator_of(load(hardware)), layer))


def _parse_bits(text: str | None) -> dict[str, int]:
    """Bits per tensor of "inputs=8,weights=4,outputs=8,psum=16"."""
    found: dict[str, int] = {}
    for part in text.split(",") if text else ():
        key, _, value = part.partition("=")
        if key.strip() not in ("inputs", "weights", "outputs", "psum") or not value.strip().isdecimal():
            raise ValueError(f"--bits takes inputs=8,weights=4,outputs=8,psum=16, not {part!r} in {text!r}")
        found[key.strip()] = int(value)
    return found


def _mode(word: str | None, bits: Mapping[str, int]) -> Mode:
    if word is None:
        return "physical" if bits else "native"
    if word not in ("native", "paper", "physical"):
        raise ValueError(f"--mode must be native, paper or physical, not {word!r}")
    if word != "native" and not bits:
        raise ValueError(f"--mode {word} needs widths: --bits inputs=8,weights=8,outputs=8")
    return word  # type: ignore[return-value]


def _warn(notes: tuple[str, ...]) -> None:
    for note in notes:
        sys.stderr.write(f"warning: {note}\n")


def _write(path: Path | None, text: str) -> None:
    if path is None:
        sys.stdout.write(text)
    else:
        path.write_text(text, encoding="utf-8")
