"""`bitjoule hardware`, `data`, `networks`: what there is, and whether a file is sound."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from bitjoule.cli.output import (
    BAD_INPUT,
    CommandFailed,
    JsonOption,
    NoColorOption,
    VerboseOption,
    print_json,
    print_table,
    speaking,
)

__all__ = ["data_app", "hardware_app", "networks"]

hardware_app = typer.Typer(no_args_is_help=True, help="Hardware descriptions: list, show, check, scale.")
data_app = typer.Typer(no_args_is_help=True, help="Datasets: list the kinds, index a folder.")


@hardware_app.command("list")
def hardware_list(
    as_json: JsonOption = False, verbose: VerboseOption = False, no_color: NoColorOption = False
) -> None:
    """The presets."""
    with speaking(verbose=verbose):
        from bitjoule.hardware import load, presets

        found = [load(name) for name in presets()]
        if as_json:
            documents = [{"name": hw.name, "kind": hw.kind, "hash": hw.hash} for hw in found]
            print_json("hardware list", {"hardware": documents})
            return
        rows: list[tuple[object, ...]] = [(hw.name, hw.kind, hw.hash[:19]) for hw in found]
        print_table(
            "hardware presets", dict.fromkeys(("name", "kind", "hash"), "left"), rows, no_color=no_color
        )


@hardware_app.command("show")
def hardware_show(
    name: Annotated[str, typer.Argument(help="A preset or a .yaml file.")],
    as_yaml: Annotated[bool, typer.Option("--yaml", help="The file itself, to copy and change.")] = False,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
    no_color: NoColorOption = False,
) -> None:
    """The description with all its numbers and their sources; a hierarchy of memories as tables."""
    with speaking(verbose=verbose):
        from bitjoule.cli.hardware_tables import hierarchy_json, print_hierarchy
        from bitjoule.hardware import load, preset_text, presets

        hardware = load(name)
        if as_json:
            document = {"hardware": dict(hardware.to_mapping()), "hash": hardware.hash}
            print_json("hardware show", {**document, **hierarchy_json(hardware)})
        elif hardware.kind == "hierarchy" and not as_yaml:
            print_hierarchy(hardware, no_color=no_color)
        else:
            print(preset_text(name) if name in presets() else Path(name).read_text(encoding="utf-8"), end="")


@hardware_app.command("check")
def hardware_check(
    files: Annotated[list[str], typer.Argument(help="YAML files.")],
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Validate files; every fault is listed, and what deserves a look. Exit code 2 when one has a fault."""
    with speaking(verbose=verbose):
        from bitjoule.hardware import HardwareError, load

        results: list[dict[str, Any]] = []
        errors = []
        for file in files:
            try:
                hardware = load(file)
                notes = list(hardware.warnings)
                results.append({"file": file, "hash": hardware.hash, "faults": [], "warnings": notes})
            except HardwareError as error:
                errors.append(str(error))
                faults = str(error).splitlines()
                results.append({"file": file, "hash": None, "faults": faults, "warnings": []})
        if as_json:
            print_json("hardware check", {"files": results})
        else:
            for result in results:
                if result["hash"]:
                    print(f"{result['file']}: ok, {result['hash']}")
                    for warning in result["warnings"]:
                        print(f"  warning: {warning}")
        if errors:
            raise CommandFailed("\n".join(errors), BAD_INPUT)


@hardware_app.command("scale")
def hardware_scale(
    name: Annotated[str, typer.Argument(help="A preset or a .yaml file.")],
    node_nm: Annotated[float, typer.Option("--node", help="Technology node in nm, 7 to 130.")],
    vdd_v: Annotated[float, typer.Option("--vdd", help="Supply in volts, 0.5 to 1.2.")] = 0.8,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """On-chip energies at another node (Stillmaker and Baas 2017); DRAM stays."""
    with speaking(verbose=verbose):
        from bitjoule.hardware import load, scaled

        document = dict(scaled(load(name), node_nm=node_nm, vdd_v=vdd_v).to_mapping())
        if as_json:
            print_json("hardware scale", {"hardware": document})
            return
        import sys

        from ruamel.yaml import YAML

        writer = YAML()
        writer.default_flow_style = False
        writer.dump(document, sys.stdout)


@data_app.command("list")
def data_list(as_json: JsonOption = False, verbose: VerboseOption = False) -> None:
    """The kinds of data that can be read."""
    with speaking(verbose=verbose):
        from bitjoule.zoo import data

        if as_json:
            print_json(
                "data list", {"kinds": list(data.KINDS), "preprocessing": list(data.PREPROCESSING_KINDS)}
            )
        else:
            print("kinds:", ", ".join(data.KINDS))
            print("preprocessing:", ", ".join(data.PREPROCESSING_KINDS))


@data_app.command("index")
def data_index(
    kind: Annotated[str, typer.Argument(help="digits, mnist, cifar10 ... (see `data list`).")],
    root: Annotated[Path | None, typer.Argument(help="The folder; digits need none.")] = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Read a dataset once: its splits, its hash, whether its images are lossy."""
    with speaking(verbose=verbose):
        from bitjoule.zoo.data import data_card, load_dataset

        card = data_card(load_dataset(kind, root))
        if as_json:
            print_json("data index", {"data": card})
        else:
            for key, value in card.items():
                print(f"{key}: {value}")


def networks(
    as_json: JsonOption = False, verbose: VerboseOption = False, no_color: NoColorOption = False
) -> None:
    """The networks of the zoo and their options."""
    with speaking(verbose=verbose):
        from bitjoule import zoo

        cards = zoo.networks()
        if as_json:
            documents = [
                {"name": card.name, "summary": card.summary, "input_shape": list(card.input_shape),
                 "options": {key: list(v) if isinstance(v, tuple) else v for key, v in card.options.items()}}
                for card in cards
            ]  # fmt: skip
            print_json("networks", {"networks": documents})
            return
        rows: list[tuple[object, ...]] = [
            (card.name, "x".join(map(str, card.input_shape[1:])), card.summary, " ".join(card.options))
            for card in cards
        ]
        print_table(
            "networks", dict.fromkeys(("name", "input", "what", "options"), "left"), rows, no_color=no_color
        )
