"""`bitjoule map`: where every loop of a layer runs, what it costs, and the proof that nothing is cheaper."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from bitjoule.cli.map_show import Answered, answered_document, show_answers, show_modes
from bitjoule.cli.network_argument import graph_of, parse_settings, parse_shape
from bitjoule.cli.output import (
    FAILED,
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

        goal, modes = _objective(objective, latency_cap), _modes(mode, both_modes)
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
        unsaid = [] if timeloop is None else _write_timeloop(timeloop, answered[0], accelerator)
        if as_json:
            document = {
                "network": network,
                "scheme": workload.scheme,
                "hardware": described.name,
                "hardware_hash": described.hash,
                "objective": goal,
                "modes": [answered_document(one) for one in answered],
                "warnings": notes,
                "not_exported": [{"names": list(names), "text": text} for names, text in unsaid],
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
        _fail_where_timeloop_is_mute(unsaid, len(answered[0].found))


def _objective(word: str, cap: int | None) -> Objective:
    from bitjoule.mapping.search import Objective

    if word not in get_args(Objective):
        raise ValueError(f"unknown objective {word!r}; one of: {', '.join(get_args(Objective))}")
    if cap is not None and word != "energy":
        raise ValueError(
            f"--latency-cap goes with --objective energy, not {word}: the least energy among mappings of at "
            "most so many cycles"
        )
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


def _write_timeloop(folder: Path, answered: Answered, accelerator: Any) -> list[tuple[tuple[str, ...], str]]:
    """A file per distinct layer; returns the layers whose mapping Timeloop cannot say, and why."""
    from bitjoule.mapping.timeloop_mapping import to_timeloop

    folder.mkdir(parents=True, exist_ok=True)
    unsaid = []
    for group, result in answered.found:
        name = "".join(c if c.isalnum() or c in "-_." else "_" for c in group.names[0])
        try:
            text = to_timeloop(result.mapping, accelerator, result.problem)
        except ValueError as error:
            unsaid.append((group.names, str(error)))
            continue
        (folder / f"{name}.map.yaml").write_text(text, encoding="utf-8")
    return unsaid


def _fail_where_nothing_fits(answered: Sequence[Answered], hardware: str) -> None:
    from bitjoule.mapping.infeasible import InfeasibleMapping

    unmapped = [(group, error) for one in answered for group, error in one.unmapped]
    if not unmapped:
        return
    names = dict.fromkeys(name for group, _ in unmapped for name in group.names)
    late = all(isinstance(error, TimeoutError) for _, error in unmapped)
    fits = not any(isinstance(error, InfeasibleMapping) for _, error in unmapped)
    why = " within the time limit" if late else " within the latency cap" if fits else ""
    raise CommandFailed(
        f"no mapping on {hardware}{why}: {', '.join(names)}", FAILED if late else NOTHING_FITS
    )


def _fail_where_timeloop_is_mute(unsaid: Sequence[tuple[tuple[str, ...], str]], distinct: int) -> None:
    if unsaid:
        lines = "\n".join(f"{', '.join(names)}: {text}" for names, text in unsaid)
        raise CommandFailed(
            f"{len(unsaid)} of {distinct} mappings cannot be said as Timeloop YAML; the others are written\n"
            f"{lines}"
        )
