"""`bitjoule recipes`: how networks can be trained, and where each recipe comes from."""

from __future__ import annotations

from typing import Annotated

import typer

from bitjoule.cli.output import (
    JsonOption,
    NoColorOption,
    VerboseOption,
    print_json,
    print_table,
    speaking,
)

__all__ = ["recipes_app"]

recipes_app = typer.Typer(no_args_is_help=True, help="Recipes of training: list, show.")


@recipes_app.command("list")
def recipes_list(
    as_json: JsonOption = False, verbose: VerboseOption = False, no_color: NoColorOption = False
) -> None:
    """The presets, our own before the published ones."""
    with speaking(verbose=verbose):
        from bitjoule.train.recipes import PRESETS, SOURCES

        if as_json:
            documents = [
                {"name": name, "source": SOURCES[name], "recipe": found.settings()}
                for name, found in PRESETS.items()
            ]
            print_json("recipes list", {"recipes": documents})
            return
        rows: list[tuple[object, ...]] = [
            (name, f"{found.epochs:g}", found.batch, found.optimizer, f"{found.lr:g}", found.schedule)
            for name, found in PRESETS.items()
        ]
        columns = {"name": "left", "epochs": "right", "batch": "right", "optimizer": "left"}
        print_table(
            "recipes (`bitjoule recipes show NAME`: fields and source)",
            {**columns, "rate": "right", "schedule": "left"},
            rows,
            no_color=no_color,
        )


@recipes_app.command("show")
def recipes_show(
    name: Annotated[str, typer.Argument(help="A preset (see `recipes list`).")],
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
    no_color: NoColorOption = False,
) -> None:
    """Every field of a preset, its source, and what it cannot say of a published training."""
    with speaking(verbose=verbose):
        from bitjoule.train.recipes import SOURCES, recipe

        found = recipe(name)
        if as_json:
            print_json("recipes show", {"name": name, "source": SOURCES[name], "recipe": found.to_json()})
            return
        own = found.settings()
        rows: list[tuple[object, ...]] = [
            (key, value, "" if key in own else "default") for key, value in found.to_json().items()
        ]
        print_table(
            f"{name}: {SOURCES[name]}", dict.fromkeys(("field", "value", ""), "left"), rows, no_color=no_color
        )
