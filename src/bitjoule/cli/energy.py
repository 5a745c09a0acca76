"""`bitjoule energy`: what one inference costs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bitjoule.cli.network_argument import graph_of, parse_settings
from bitjoule.cli.output import (
    JsonOption,
    NoColorOption,
    VerboseOption,
    print_json,
    print_table,
    speaking,
)

if TYPE_CHECKING:
    from bitjoule.energy import Cost
    from bitjoule.workload import Workload

__all__ = ["energy"]

DEFAULT = "int8"


def energy(
    network: Annotated[
        str, typer.Argument(help="A network of the zoo, or an .onnx, graph .json or workload .json file.")
    ],
    scheme: Annotated[
        str | None,
        typer.Option(
            help="Formats: w4a4, int8, hpr-w4a4, fp16, moons-4 ... A workload has its own.",
            show_default=DEFAULT,
        ),
    ] = None,
    hardware: Annotated[str, typer.Option(help="A preset or a .yaml file.")] = "moons-4mb",
    width: Annotated[float | None, typer.Option(help="Channel multiplier.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Network option KEY=VALUE, repeatable.")
    ] = None,
    residency: Annotated[
        str, typer.Option(help="Feature maps on chip: optimal, none or ideal (a lower bound).")
    ] = "optimal",
    mode: Annotated[
        str, typer.Option(help="physical or paper: how a memory hierarchy counts partial sums.")
    ] = "physical",
    pin_weights: Annotated[
        bool,
        typer.Option(
            "--pin-weights", help="Weights may stay in the level of the feature maps of a hierarchy."
        ),
    ] = False,
    per_layer: Annotated[bool, typer.Option("--per-layer", help="One row per layer.")] = False,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
    no_color: NoColorOption = False,
) -> None:
    """Energy of one inference, by component, tensor and layer."""
    with speaking(verbose=verbose):
        from bitjoule import energy as energy_room
        from bitjoule import hardware as hardware_room

        described = hardware_room.load(hardware)
        options = energy_room.CostOptions(residency, mode, pin_weights)  # type: ignore[arg-type]
        workload = _workload(network, scheme, parse_settings(set_ or [], width=width))
        cost = energy_room.cost(workload, described, options=options)
        if as_json:
            print_json("energy", {"network": network, "workload": _counts(workload), "cost": cost.to_json()})
            return
        _show(network, workload, cost, described.name, per_layer=per_layer, no_color=no_color)


def _workload(network: str, scheme: str | None, options: dict[str, object]) -> Workload:
    """A saved workload as it is, such as one with measured weights; else that of a graph under `scheme`.

    Raises:
        ValueError: options or another scheme for a saved workload; what `graph_of` raises.
    """
    from bitjoule.workload import workload_of

    found = _saved_workload(Path(network))
    if found is None:
        return workload_of(graph_of(network, options), scheme or DEFAULT)
    if options:
        raise ValueError(f"{network}: options ({', '.join(options)}) are for networks of the zoo, not files")
    if scheme is not None and scheme != found.scheme:
        raise ValueError(
            f"{network}: this workload has the Formats of {found.scheme!r}; to price {scheme!r} give the "
            "network or the graph it was made of"
        )
    return found


def _saved_workload(path: Path) -> Workload | None:
    """The Workload in a .json file of that schema; None for all else, which `graph_of` reads or refuses."""
    if path.suffix != ".json" or not path.is_file():
        return None
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError):
        return None
    if not isinstance(document, dict) or not str(document.get("schema")).startswith("bitjoule.workload/"):
        return None
    from bitjoule.workload import Workload

    return Workload.from_json(document)


def _counts(workload: Workload) -> dict[str, object]:
    return {
        "layers": len(workload.layers),
        "macs": workload.macs,
        "weights": workload.weight_elements,
        "biases": workload.bias_elements,
        "weight_bits": workload.weight_bits,
        "outputs": workload.output_elements,
        "parameters": workload.parameters,
    }


def _show(
    network: str, workload: Workload, cost: Cost, hardware: str, *, per_layer: bool, no_color: bool
) -> None:
    from bitjoule.report.tables import energy_text

    total = cost.energy_pj
    title = f"{network} {workload.scheme} on {hardware}: {energy_text(total)} per inference"
    if any(component.startswith("level:") for (component,) in cost.by("component")):
        columns, rows = _levels_by_tensor(cost)
    else:
        columns, rows = _components(cost)
    print_table(title, columns, rows, no_color=no_color)
    kib = workload.weight_bits / 8192
    print(f"{workload.macs:,} MACs, {workload.weight_elements:,} weights in {kib:,.1f} KiB")
    print(f"{sum(cost.latency_cycles.values()):,} cycles, DRAM share {100 * cost.dram_share:.1f} %")
    for note in cost.notes:
        print(f"note: {note}")
    if per_layer:
        by_layer = cost.by("layer")
        layers = [
            (
                layer.name,
                f"{layer.macs:,}",
                str(layer.weight_format),
                str(layer.input_format),
                str(layer.output_format),
                energy_text(by_layer.get((layer.name,), 0.0)),
                f"{100 * by_layer.get((layer.name,), 0.0) / total:.1f} %" if total else "-",
            )
            for layer in workload.layers
        ]
        columns = {
            "layer": "left", "MACs": "right", "weights": "left", "input": "left", "output": "left",
            "energy": "right", "share": "right",
        }  # fmt: skip
        print_table("", columns, layers, no_color=no_color)


def _components(cost: Cost) -> tuple[dict[str, str], list[tuple[object, ...]]]:
    """One row per component and tensor, the greatest first."""
    from bitjoule.report.tables import energy_text

    total = cost.energy_pj
    parts = sorted(cost.by("component", "tensor").items(), key=lambda item: -item[1])
    rows: list[tuple[object, ...]] = [
        (component, tensor, energy_text(part), f"{100 * part / total:.1f} %" if total else "-")
        for (component, tensor), part in parts
    ]
    rows.append(("total", "", energy_text(total), "100.0 %"))
    return {"component": "left", "tensor": "left", "energy": "right", "share": "right"}, rows


def _levels_by_tensor(cost: Cost) -> tuple[dict[str, str], list[tuple[object, ...]]]:
    """One row per level or other component, one column per tensor, and their sums."""
    from bitjoule.report.tables import energy_text

    total = cost.energy_pj
    cells = cost.by("component", "tensor")
    by_component = dict(sorted(cost.by("component").items(), key=lambda item: -item[1]))
    by_tensor = dict(sorted(cost.by("tensor").items(), key=lambda item: -item[1]))

    def share(part: float) -> str:
        return f"{100 * part / total:.1f} %" if total else "-"

    rows: list[tuple[object, ...]] = [
        (
            component,
            *(
                energy_text(cells[component, tensor]) if (component, tensor) in cells else ""
                for (tensor,) in by_tensor
            ),
            energy_text(whole),
            share(whole),
        )
        for (component,), whole in by_component.items()
    ]
    rows.append(
        ("total", *(energy_text(part) for part in by_tensor.values()), energy_text(total), share(total))
    )
    rows.append(("share", *(share(part) for part in by_tensor.values()), share(total), ""))
    names = {tensor: "no tensor" if tensor == "none" else tensor for (tensor,) in by_tensor}
    return {
        "component": "left",
        **dict.fromkeys(names.values(), "right"),
        "sum": "right",
        "of all": "right",
    }, rows
