"""`bitjoule map`: where every loop of a layer runs, what it costs, and the proof that nothing is cheaper."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from bitjoule.cli.map_show import Answered, answered_document, show_answers, show_modes
from bitjoule.cli.network_argument import graph_of, parse_settings, parse_shape
from bitjoule.cli.output import (
    NOTHING_FITS,
    CommandFailed,
    JsonOption,
    NoColorOption,
    QuietOption,
    VerboseOption,
    print_json,
    progress_bar,
    speaking,
)

if TYPE_CHECKING:
    from bitjoule.hardware import Hardware
    from bitjoule.mapping.evaluate import Mode
    from bitjoule.mapping.search import Objective
    from bitjoule.workload import Layer

__all__ = ["map_layers"]


def map_layers(
    network: Annotated[str, typer.Argument(help="A network of the zoo, or an .onnx or graph .json file.")],
    hardware: Annotated[str, typer.Option(help="A preset or a .yaml file of kind hierarchy.")] = "eyeriss",
    scheme: Annotated[str, typer.Option(help="Formats: w4a4, int8, hpr-w4a4, fp16 ...")] = "int8",
    layer: Annotated[list[str] | None, typer.Option(help="Only this layer, repeatable.")] = None,
    objective: Annotated[str, typer.Option(help="energy, edp or latency.")] = "energy",
    latency_cap: Annotated[
        int | None, typer.Option(min=1, help="Cycles that a layer may take at most.")
    ] = None,
    mode: Annotated[str, typer.Option(help="physical or paper: how partial sums are counted.")] = "physical",
    both_modes: Annotated[bool, typer.Option("--both-modes", help="Both, side by side.")] = False,
    width: Annotated[float | None, typer.Option(help="Channel multiplier.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Network option KEY=VALUE, repeatable.")
    ] = None,
    input_shape: Annotated[
        str | None, typer.Option(help="Such as 1,3,96,96; default: the network's.")
    ] = None,
    timeloop: Annotated[
        Path | None, typer.Option(help="Folder for a Timeloop mapping YAML per distinct layer.")
    ] = None,
    time_limit: Annotated[
        float | None, typer.Option(min=0.0, help="Seconds per distinct layer; then the best so far.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    summary: Annotated[bool, typer.Option("--summary", help="The table only, no loop nests.")] = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    no_color: NoColorOption = False,
) -> None:
    """The best mapping of every layer: loop nest, utilisation, energy by level, and the certificate."""
    with speaking(verbose=verbose):
        from bitjoule.mapping.batch import Wanted, groups_of, solve_groups
        from bitjoule.mapping.hardware_levels import accelerator_of
        from bitjoule.mapping.layer_problem import problem_of
        from bitjoule.mapping.memo import MappingMemo
        from bitjoule.workload import workload_of

        goal, modes = _objective(objective), _modes(mode, both_modes)
        described = _hierarchy(hardware)
        graph = graph_of(network, parse_settings(set_ or [], width=width), parse_shape(input_shape))
        workload = workload_of(graph, scheme)
        layers = [workload.layer(name) for name in layer] if layer else list(workload.layers)
        accelerator = accelerator_of(described)
        groups = {
            each: groups_of([problem_of(one, described, mode=each) for one in layers]) for each in modes
        }
        memo = MappingMemo.open()
        answered: list[Answered] = []
        with progress_bar("mapping", sum(map(len, groups.values())), quiet=quiet or as_json) as step:
            for each, some in groups.items():
                wanted = Wanted(each, goal, latency_cap, None, time_limit)
                found = solve_groups(
                    some, accelerator, wanted, memo=memo, workers=workers, on_done=lambda g: step(g.names[0])
                )
                answered.append(Answered(each, some, tuple(found)))
        notes = _psum_notes(layers, described)
        if timeloop is not None:
            _write_timeloop(timeloop, answered[0], accelerator)
        if as_json:
            document = {
                "network": network,
                "scheme": workload.scheme,
                "hardware": described.name,
                "hardware_hash": described.hash,
                "objective": goal,
                "modes": [answered_document(one) for one in answered],
                "warnings": notes,
            }
            print_json("map", document)
        else:
            title = f"{network} {workload.scheme} on {described.name}"
            for one in answered:
                show_answers(title, one, accelerator, nests=not summary, no_color=no_color)
            if len(answered) > 1:
                show_modes(title, answered, no_color=no_color)
            for text in notes:
                print(f"warning: {text}")
        _fail_where_nothing_fits(answered, described.name)


def _objective(word: str) -> Objective:
    from bitjoule.mapping.search import Objective

    if word not in get_args(Objective):
        raise ValueError(f"unknown objective {word!r}; one of: {', '.join(get_args(Objective))}")
    return word  # type: ignore[return-value]


def _modes(word: str, both: bool) -> tuple[Mode, ...]:
    if both:
        return ("physical", "paper")
    if word not in ("physical", "paper"):
        raise ValueError(f"unknown mode {word!r}; one of: physical, paper")
    return (word,)  # type: ignore[return-value]


def _hierarchy(source: str) -> Hardware:
    from bitjoule import hardware as hardware_room

    described = hardware_room.load(source)
    if described.kind != "hierarchy":
        raise ValueError(
            f"{described.name} is a hardware of kind {described.kind}; mappings are for memory hierarchies "
            "such as eyeriss or simba (`bitjoule hardware list` shows the kinds)"
        )
    return described


def _psum_notes(layers: Sequence[Layer], hardware: Hardware) -> list[str]:
    from bitjoule.mapping.layer_problem import psum_warning

    texts = [text for text in (psum_warning(layer, hardware) for layer in layers) if text is not None]
    more = len(texts) - 1
    return [] if not texts else [texts[0] + (f"; {more} more layers alike" if more else "")]


def _write_timeloop(folder: Path, answered: Answered, accelerator: Any) -> None:
    from bitjoule.mapping.timeloop_mapping import to_timeloop

    folder.mkdir(parents=True, exist_ok=True)
    for group, result in answered.found:
        name = "".join(c if c.isalnum() or c in "-_." else "_" for c in group.names[0])
        (folder / f"{name}.map.yaml").write_text(
            to_timeloop(result.mapping, accelerator, result.problem), encoding="utf-8"
        )


def _fail_where_nothing_fits(answered: Sequence[Answered], hardware: str) -> None:
    names = [name for one in answered for group, _ in one.infeasible for name in group.names]
    if names:
        raise CommandFailed(f"no mapping on {hardware}: {', '.join(dict.fromkeys(names))}", NOTHING_FITS)
