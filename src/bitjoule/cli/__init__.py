"""The command line. Each command is a function over the public API; nothing heavy loads before it runs."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from bitjoule.cli.cache import cache_app
from bitjoule.cli.catalogue import data_app, hardware_app, networks
from bitjoule.cli.doctor import doctor
from bitjoule.cli.energy import energy
from bitjoule.cli.formats import formats_app
from bitjoule.cli.map import map_layers
from bitjoule.cli.prune import prune
from bitjoule.cli.ptq import ptq
from bitjoule.cli.recipes import recipes_app
from bitjoule.cli.studies import compare, front, report, search
from bitjoule.cli.study import study_app
from bitjoule.cli.timeloop import timeloop_app
from bitjoule.cli.train import train

__all__ = ["app", "main"]

app = typer.Typer(
    name="bitjoule",
    help="The quantization that costs the fewest joules at the accuracy you need.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(show: bool) -> None:
    if show:
        from bitjoule import __version__

        print(f"bitjoule {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    """The quantization that costs the fewest joules at the accuracy you need."""


app.command("energy")(energy)
app.command("map")(map_layers)
app.command("search")(search)
app.command("front")(front)
app.command("compare")(compare)
app.command("report")(report)
app.command("train")(train)
app.command("prune")(prune)
app.command("ptq")(ptq)
app.command("networks")(networks)
app.add_typer(hardware_app, name="hardware")
app.add_typer(formats_app, name="formats")
app.add_typer(recipes_app, name="recipes")
app.add_typer(data_app, name="data")
app.add_typer(cache_app, name="cache")
app.add_typer(timeloop_app, name="timeloop")
app.add_typer(study_app, name="study")
app.command("doctor")(doctor)


def main() -> None:
    """Entry point of the `bitjoule` command."""
    sys.exit(app())
