"""What the proven best mappings of whole networks cost to find, beside other mappers.

    python benchmarks/mapping.py [--quick] [--networks resnet18 mobilenet_v2] [--hardware eyeriss simba ...]
        [--schemes int16 int8 w4a8 w2a2] [--objective energy|edp] [--peers] [--json out.json]

Every distinct layer is searched in a fresh process, forked from one that has compiled the kernels and solved
one other layer; user CPU time by getrusage, median of --repeat runs; one thread. Shown per network: the sum
over its distinct layers, the slowest layer, nests priced, and the largest gap left. --peers adds the layers
that other tools were measured on, at their objective and under their hardware and cost law (Timeloop), and
the ratios; figures of peers are data (peers/*.json), except that a `timeloop-mapper` on the PATH is run too,
with --timeloop-inputs DIR (arch/, ert/, problems/ as its example designs have them).
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evaluations import kernel_rate, reference_rate
from timeloop_mapper import TimeloopMapper

from bitjoule.formats import parse_tensor_format
from bitjoule.hardware import load
from bitjoule.mapping.accelerator import Accelerator
from bitjoule.mapping.evaluate import Mode
from bitjoule.mapping.hardware_levels import accelerator_of
from bitjoule.mapping.infeasible import InfeasibleMapping
from bitjoule.mapping.layer_problem import problem_of
from bitjoule.mapping.problem import Problem
from bitjoule.mapping.search import solve
from bitjoule.workload import Layer

PEERS = Path(__file__).parent / "peers"
NETWORKS = ("resnet18", "mobilenet_v2")
HARDWARE = ("eyeriss-timeloop", "simba-timeloop", "eyeriss", "simba")
SCHEMES = ("int16", "int8", "w4a8", "w2a2")
GOALS = {"resnet18": 5.0, "mobilenet_v2": 15.0}


@dataclass(frozen=True)
class Figures:
    """One layer, searched once or several times."""

    layer: str
    cpu_s: float
    energy_uj: float
    cycles: int
    optimal: bool
    gap: float
    evaluated: int
    pruned: int

    @property
    def edp_j_cycles(self) -> float:
        """Energy * cycles."""
        return self.energy_uj * 1e-6 * self.cycles


def layers_of(network: str, scheme: str) -> tuple[Layer, ...]:
    """Layers of a zoo network at its own input size (224x224); builds and captures it."""
    from bitjoule.network import capture
    from bitjoule.workload import workload_of
    from bitjoule.zoo import build, input_shape

    net = capture(build(network, {}, seed=0), input_shape=input_shape(network, {}))
    return workload_of(net.graph, scheme).layers


def peer_layer(name: str) -> Layer:
    """One of the layers that peers were measured on, with 16-bit elements."""
    kernel, shape = name.split(" ", 1)
    sides = {"3x3s2 3->32": 112, "1x1 320->1280": 7, "1x1 256->512 s2": 14, "FC 512->1000": 1}
    side = sides.get(name, 56)
    if "@" in shape:
        shape, _, size = shape.partition("@")
        side = int(size)
    shape, _, step = shape.partition(" s")
    stride = 2 if step or kernel.endswith("s2") else 1
    taps = 3 if kernel[0] == "3" or kernel == "dw" else 1
    inputs, outputs = (int(shape), int(shape)) if kernel == "dw" else map(int, shape.split("->"))
    words = parse_tensor_format("INT16")
    return Layer(
        name,
        "conv",
        *(1, outputs, inputs, side, side, taps, taps),
        groups=inputs if kernel == "dw" else 1,
        stride=(stride, stride),
        weight_format=words,
        input_format=words,
        output_format=words,
    )


def apart(method: str, work: Callable[..., Any], *given: object) -> Any:
    """The result of `work` in a process of its own."""
    context = multiprocessing.get_context(method)
    with context.Pool(1, maxtasksperchild=1) as pool:
        return pool.apply(work, given)


def searched(problem: Problem, accelerator: Accelerator, mode: Mode, objective: str) -> Figures:
    """One search with its user CPU seconds."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    result = solve(problem, accelerator, mode=mode, objective=objective)  # type: ignore[arg-type]
    seconds = resource.getrusage(resource.RUSAGE_SELF).ru_utime - before
    return Figures(
        problem.name,
        seconds,
        result.energy_pj / 1e6,
        result.latency_cycles,
        result.optimal,
        result.gap,
        result.evaluated,
        sum(result.pruned.values()),
    )


def measured(problem: Problem, accelerator: Accelerator, mode: Mode, objective: str, repeat: int) -> Figures:
    """Median CPU time over fresh processes."""
    runs = [apart("fork", searched, problem, accelerator, mode, objective) for _ in range(repeat)]
    return replace(runs[0], cpu_s=statistics.median(run.cpu_s for run in runs))


def warm_up(objective: str) -> float:
    """Seconds until the first small layer is solved: loading, or compiling, the kernels."""
    began = time.perf_counter()
    for name in ("eyeriss-timeloop", "eyeriss"):
        hardware = load(name)
        small = replace(peer_layer("1x1 96->24"), name="warm-up", K=4, C=4, P=4, Q=4)
        solve(problem_of(small, hardware), accelerator_of(hardware), objective=objective)  # type: ignore[arg-type]
    return time.perf_counter() - began


def distinct(layers: Sequence[Layer], hardware: Any) -> list[Problem]:
    """Problems that differ in more than their names."""
    found: dict[Problem, Problem] = {}
    for layer in layers:
        problem = problem_of(layer, hardware)
        found.setdefault(replace(problem, name=""), problem)
    return list(found.values())


def networks(options: argparse.Namespace) -> list[dict[str, Any]]:
    """The table of networks, hardware and schemes."""
    print(f"{'network':<14}{'hardware':<18}{'scheme':<8}{'layers':>6}{'CPU s':>9}{'slowest':>9}"
          f"{'nests':>9}{'pruned':>11}{'gap':>8}{'goal s':>8}")  # fmt: skip
    rows = []
    for network in options.networks:
        for scheme in options.schemes:
            layers = apart("spawn", layers_of, network, scheme)
            for name in options.hardware:
                hardware = load(name)
                accelerator = accelerator_of(hardware)
                problems = distinct(layers, hardware)
                try:
                    runs = [
                        measured(problem, accelerator, "physical", options.objective, options.repeat)
                        for problem in problems
                    ]
                except InfeasibleMapping as reason:
                    first = str(reason).splitlines()[1].strip()
                    print(f"{network:<14}{name:<18}{scheme:<8}{reason.layer} does not fit: {first}")
                    rows.append(
                        {"network": network, "hardware": name, "scheme": scheme, "error": str(reason)}
                    )
                    continue
                total, gap = sum(run.cpu_s for run in runs), max(run.gap for run in runs)
                row = {
                    "network": network,
                    "hardware": name,
                    "scheme": scheme,
                    "objective": options.objective,
                    "cpu_s": total,
                    "layers": [vars(run) for run in runs],
                }
                rows.append(row)
                goal = GOALS.get(network, math.nan) * (5 if options.objective == "edp" else 1)
                nests, pruned = sum(run.evaluated for run in runs), sum(run.pruned for run in runs)
                slowest = max(run.cpu_s for run in runs)
                print(
                    f"{network:<14}{name:<18}{scheme:<8}{len(runs):>6}{total:>9.3f}{slowest:>9.3f}"
                    f"{nests:>9}{pruned:>11}{gap:>8.4f}{goal:>8.0f}",
                    flush=True,
                )
    return rows


def rates() -> dict[str, float]:
    """Evaluations of given nests per second and core."""
    hardware = load("eyeriss-timeloop")
    accelerator = accelerator_of(hardware)
    problem = problem_of(peer_layer("1x1 96->24"), hardware)
    return {
        "kernels": kernel_rate(problem, accelerator),
        "reference in Python": reference_rate(problem, accelerator),
    }


def peers(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Timeloop's six layers under its own hardware files: EDP and CPU time, ours against theirs."""
    rows = []
    table = json.loads((PEERS / "timeloop.json").read_text())
    local = TimeloopMapper.installed(options.timeloop_inputs)
    print(f"\n{table['tool']} {table['version']}; mode native, objective edp, J * cycles")
    print(f"{'layer':<16}{'hardware':<18}{'EDP here':>10}{'EDP peer':>10}{'ratio':>8}{'CPU here':>10}"
          f"{'CPU peer':>10}{'ratio':>8}  peer settings")  # fmt: skip
    if local is None:
        print("(no timeloop-mapper on the PATH or no --timeloop-inputs: recorded figures of the peer)")
    for run in table["runs"]:
        hardware = load(run["hardware"])
        accelerator = accelerator_of(hardware)
        for name, theirs in run["layers"].items():
            problem = problem_of(peer_layer(name), hardware, mode="native")
            ours = measured(problem, accelerator, "native", "edp", options.repeat)
            found = [(run["settings"], theirs)]
            if local is not None:
                found.append(("run now", local.measure(problem, run["hardware"])))
            for settings, peer in found:
                edp, cpu = peer.get("edp_j_cycles", math.nan), peer.get("cpu_s", math.nan)
                row = {
                    "layer": name,
                    "hardware": run["hardware"],
                    "settings": settings,
                    **vars(ours),
                    "edp_j_cycles": ours.edp_j_cycles,
                    "peer": peer,
                }
                rows.append(row)
                print(f"{name:<16}{run['hardware']:<18}{ours.edp_j_cycles:>10.4g}{edp:>10.4g}"
                      f"{edp / ours.edp_j_cycles:>8.2f}{ours.cpu_s:>10.3f}{cpu:>10.2f}"
                      f"{cpu / max(ours.cpu_s, 1e-4):>8.0f}  {settings}", flush=True)  # fmt: skip
    table = json.loads((PEERS / "accelforge.json").read_text())
    print(f"\n{table['tool']} {table['version']}: time only, the cost laws differ")
    for entry in table["layers"]:
        hardware = load(entry["hardware"])
        problem = problem_of(peer_layer(entry["layer"]), hardware)
        ours = measured(problem, accelerator_of(hardware), "physical", "energy", options.repeat)
        cpu = entry.get("cpu_s", entry.get("unfinished_after_s"))
        more = "" if "cpu_s" in entry else "more than "
        print(f"{entry['layer']:<18}{entry['hardware']:<10}{ours.cpu_s:>9.3f} s here, {more}{cpu} s there: "
              f"{more}{cpu / max(ours.cpu_s, 1e-4):.0f} times", flush=True)  # fmt: skip
        rows.append({"tool": table["tool"], **entry, "here": vars(ours)})
    return rows


def zigzag(rows: list[dict[str, Any]]) -> None:
    """Ratios of network times to ZigZag's."""
    table = json.loads((PEERS / "zigzag.json").read_text())
    print(f"\n{table['tool']} {table['version']}, {table['settings']}: time only, the cost laws differ")
    for entry in table["networks"]:
        for row in rows:
            if row["network"] == entry["network"] and "cpu_s" in row:
                ours, theirs = row["cpu_s"], entry["cpu_s"]
                print(
                    f"{entry['network']:<14}{row['hardware']:<18}{row['scheme']:<8}{ours:>8.2f} s here, "
                    f"{theirs} s on {entry['hardware']}: {theirs / ours:.0f} times"
                )


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    parser.add_argument("--hardware", nargs="+", default=HARDWARE)
    parser.add_argument("--schemes", nargs="+", default=SCHEMES)
    parser.add_argument("--objective", choices=("energy", "edp"), default="energy")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="one run, eyeriss-timeloop, int8")
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--timeloop-inputs", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    if options.quick:
        options.hardware, options.schemes, options.repeat = ("eyeriss-timeloop",), ("int8",), 1
    ready = warm_up(options.objective)
    print(f"{platform.machine()}, Python {platform.python_version()}; first layer after {ready:.2f} s\n")
    rows = networks(options)
    rate = rates()
    print("\nevaluations of given nests per second and core: "
          + ", ".join(f"{value:,.0f} ({name})" for name, value in rate.items()))  # fmt: skip
    beside = peers(options) if options.peers else []
    if options.peers:
        zigzag(rows)
    if options.json:
        document = {"warm_up_s": ready, "networks": rows, "evaluations_per_s": rate, "peers": beside}
        options.json.write_text(json.dumps(document, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
