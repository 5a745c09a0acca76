"""Timeloop v0.4 problems: the projections decide what a dimension is (mapping.md section 5).

Names mean nothing, except which of two windows is the rows (the one with P or R) and which the columns. The
coefficient paired with P is the row stride, whatever it is called.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from bitjoule.hardware.timeloop_document import Node, read_yaml
from bitjoule.mapping.problem import DIMS, TENSORS, Problem

__all__ = ["TimeloopProblem", "problem_of_document", "read_problem", "with_bits"]

_ROLES = {
    frozenset({"weights", "inputs", "outputs"}): "G",
    frozenset({"weights", "outputs"}): "K",
    frozenset({"weights", "inputs"}): "C",
    frozenset({"inputs", "outputs"}): "N",
}
_WINDOWS = (("P", "R"), ("Q", "S"))
_INSTANCE = {"bitwidths", "commonBitwidth", "densities"}

Term = tuple[str, int]
"""(Timeloop dimension, coefficient)."""


@dataclass(frozen=True)
class TimeloopProblem:
    """A Problem in native mode (no bits), and how its file calls things.

    `dims`: Timeloop's dimension -> ours, None for one of bound 1 that no tensor of ours has. `bounds`: of
    Timeloop's dimensions. `bits`: of the file, per tensor. `notes`: keys that were not read.
    """

    problem: Problem
    dims: Mapping[str, str | None]
    bounds: Mapping[str, int]
    bits: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def read_problem(path: Path | str) -> TimeloopProblem:
    """The problem in a YAML file; it is called by the file's name.

    Raises:
        TimeloopError: a file or key that cannot be read, a projection that is none of mapping.md section 1.
    """
    return problem_of_document(read_yaml(path), Path(path).name.partition(".")[0])


def problem_of_document(top: Node, name: str) -> TimeloopProblem:
    """The problem under the key `problem` of a document; see `read_problem`."""
    node = top.at("problem")
    shape, instance = node.at("shape"), node.at("instance")
    unknown = top.unknown({"problem", "dumped_by_timeloop_front_end"})
    unknown += node.unknown({"version", "instance", "shape", "name"})
    unknown += shape.unknown({"name", "dimensions", "coefficients", "data_spaces", "version"})
    dims = [item.text() for item in shape.at("dimensions").items()]
    bounds = {dim: instance.at(dim).whole() for dim in dims}
    coefficients = _coefficients(shape, instance)
    unknown += instance.unknown({*dims, *coefficients, *_INSTANCE})
    spaces, space_nodes = _spaces(shape, dims, coefficients, unknown)
    roles, stride, dilation = _Roles(bounds, spaces, space_nodes).found()
    sizes = dict.fromkeys(DIMS, 1)
    for dim, ours in roles.items():
        if ours is not None:
            sizes[ours] *= bounds[dim]
    n, g, k, c, p, q, r, s = sizes.values()
    problem = Problem(name, (n, g, k, c, p, q, r, s), stride, dilation)
    notes = (f"{top.source}: not read: {', '.join(unknown)}",) if unknown else ()
    return TimeloopProblem(problem, roles, bounds, _bits(instance), notes)


def with_bits(problem: Problem, bits: Mapping[str, int]) -> Problem:
    """The problem with storage bits of `weights`, `inputs`, `outputs` and `psum` (left out: `auto`).

    `auto` is 1 + ceil(log2(C*R*S * max|w| * max|a| + 1)) of mapping.md section 3, with two's complement
    weights and unsigned inputs; a partial sum is never narrower than the result it becomes.

    Raises:
        ValueError: a tensor without bits, or an unknown key.

    >>> layer = Problem("fc", (1, 1, 8, 4, 1, 1, 1, 1))
    >>> with_bits(layer, {"weights": 4, "inputs": 4, "outputs": 4}).psum_bits
    10
    """
    lacking = [tensor for tensor in TENSORS if tensor not in bits]
    unknown = [key for key in bits if key not in (*TENSORS, "psum")]
    if lacking or unknown:
        wrong = f"no bits of {', '.join(lacking)}" if lacking else f"no tensor is called {', '.join(unknown)}"
        raise ValueError(f"problem {problem.name!r}: {wrong}; bits are of weights, inputs, outputs and psum")
    psum = bits.get("psum")
    if psum is None:
        terms = problem.bound("C") * problem.bound("R") * problem.bound("S")
        greatest = terms * 2 ** (bits["weights"] - 1) * (2 ** bits["inputs"] - 1)
        psum = min(256, 1 + greatest.bit_length())
    return replace(
        problem,
        weight_bits=bits["weights"],
        input_bits=bits["inputs"],
        output_bits=bits["outputs"],
        psum_bits=max(psum, bits["outputs"]),
    )


def _coefficients(shape: Node, instance: Node) -> dict[str, int]:
    """Values of the coefficients: of the instance, else their default."""
    listed = shape.get("coefficients")
    found = {}
    for entry in [] if listed is None else listed.items():
        name = entry.at("name").text()
        node = instance.get(name) or entry.get("default")
        if node is None:
            raise instance.child(name, None).fault("is missing; the shape gives this coefficient no default")
        found[name] = node.whole()
    return found


def _spaces(
    shape: Node, dims: list[str], coefficients: Mapping[str, int], unknown: list[str]
) -> tuple[dict[str, list[list[Term]]], dict[str, Node]]:
    """Axes of the three tensors, each a sum of terms."""
    found: dict[str, list[list[Term]]] = {}
    nodes: dict[str, Node] = {}
    for entry in shape.at("data_spaces").items():
        unknown += entry.unknown({"name", "projection", "read_write"})
        tensor = entry.at("name").text().lower()
        if tensor not in TENSORS or tensor in found:
            raise entry.at("name").fault(f"must be Weights, Inputs and Outputs, once each, not {tensor!r}")
        nodes[tensor] = entry.at("projection")
        found[tensor] = [
            [_term(term, dims, coefficients) for term in axis.items()] for axis in nodes[tensor].items()
        ]
    lacking = [tensor for tensor in TENSORS if tensor not in found]
    if lacking:
        raise shape.at("data_spaces").fault(f"lacks {', '.join(lacking)}")
    return found, nodes


def _term(node: Node, dims: list[str], coefficients: Mapping[str, int]) -> Term:
    parts = [item.text() for item in node.items()]
    if len(parts) not in (1, 2) or parts[0] not in dims or (len(parts) == 2 and parts[1] not in coefficients):
        raise node.fault(
            f"must be [dimension] or [dimension, coefficient], not {node.value} "
            f"(dimensions: {', '.join(dims)}; coefficients: {', '.join(coefficients) or 'none'})"
        )
    return parts[0], 1 if len(parts) == 1 else coefficients[parts[1]]


def _bits(instance: Node) -> dict[str, int]:
    """Bits of `bitwidths` or `commonBitwidth`, by our names; none where the file gives none."""
    common, single = instance.get("commonBitwidth"), instance.get("bitwidths")
    found = dict.fromkeys(TENSORS, common.whole()) if common is not None else {}
    for key, node in [] if single is None else single.entries():
        if key.lower() not in TENSORS:
            raise node.fault("is no tensor; bitwidths are of Weights, Inputs and Outputs")
        found[key.lower()] = node.whole()
    if found and len(found) < len(TENSORS):
        lacking = ", ".join(tensor for tensor in TENSORS if tensor not in found)
        raise instance.child("bitwidths", None).fault(f"must give all three tensors; {lacking} is missing")
    return found


@dataclass
class _Roles:
    """Which of our dimensions each of Timeloop's is."""

    bounds: Mapping[str, int]
    spaces: Mapping[str, list[list[Term]]]
    nodes: Mapping[str, Node]

    def found(self) -> tuple[dict[str, str | None], tuple[int, int], tuple[int, int]]:
        """Roles, (row, column) stride, (row, column) dilation."""
        for tensor, axes in self.spaces.items():
            named = [dim for axis in axes for dim, _ in axis]
            twice = sorted({dim for dim in named if named.count(dim) > 1})
            if twice:
                self.refuse(tensor, f"names {', '.join(twice)} twice")
            if tensor != "inputs" and any(len(axis) != 1 or axis[0][1] != 1 for axis in axes):
                self.refuse(tensor, "has an axis that is not one dimension without coefficient")
        within = {
            dim: frozenset(
                t for t, axes in self.spaces.items() if any(dim == d for axis in axes for d, _ in axis)
            )
            for dim in self.bounds
        }
        roles: dict[str, str | None] = {}
        steps = {"P": 1, "Q": 1, "R": 1, "S": 1}
        windows = [axis for axis in self.spaces["inputs"] if self.is_window(axis, within)]
        free = [0, 1]
        for axis in sorted(windows, key=lambda axis: self.place(axis) is None):
            wanted = self.place(axis)
            if not free or (wanted is not None and wanted not in free):
                self.refuse("inputs", "has more windows than rows and columns")
            place = free[0] if wanted is None else wanted
            free.remove(place)
            outside, inside = _WINDOWS[place]
            for dim, step in axis:
                role = {
                    frozenset({"inputs", "outputs"}): outside,
                    frozenset({"inputs", "weights"}): inside,
                }.get(within[dim])
                if role is None or role in roles.values():
                    self.refuse("inputs", f"has the window {_axis_text(axis)}, not stride*P + dilation*R")
                roles[dim] = role
                steps[str(role)] = step
        for dim, tensors in within.items():
            if dim not in roles:
                roles[dim] = _ROLES.get(tensors)
                if roles[dim] is None and self.bounds[dim] > 1:
                    where = ", ".join(sorted(tensors)) or "no data space"
                    self.refuse(
                        None, f"{dim} (bound {self.bounds[dim]}) is in {where}, as no dimension of ours"
                    )
        return {dim: roles[dim] for dim in self.bounds}, (steps["P"], steps["Q"]), (steps["R"], steps["S"])

    def is_window(self, axis: list[Term], within: Mapping[str, frozenset[str]]) -> bool:
        """A sum, a step above 1, or a lone dimension that is called like a window's and is in two tensors."""
        lone = axis[0][0]
        named = lone.upper() in "PQRS" and len(within[lone]) == 2
        return len(axis) > 1 or axis[0][1] > 1 or named

    def place(self, axis: list[Term]) -> int | None:
        """0 for rows, 1 for columns, None when the names do not say."""
        names = {dim.upper() for dim, _ in axis}
        return next((place for place, window in enumerate(_WINDOWS) if names & set(window)), None)

    def refuse(self, tensor: str | None, text: str) -> None:
        """Refuse the shape, with the projections as they were read."""
        nodes = self.nodes
        node = nodes["weights"] if tensor is None else nodes[tensor]
        read = "; ".join(
            f"{name}[{', '.join(_axis_text(axis) for axis in axes)}]" for name, axes in self.spaces.items()
        )
        raise node.fault(
            f"cannot be mapped: {text if tensor is None else f'{tensor} {text}'} (read {read}; expected "
            "weights[G, K, C, R, S], inputs[N, G, C, stride*P + dilation*R, stride*Q + dilation*S], "
            "outputs[N, G, K, P, Q])"
        )


def _axis_text(axis: list[Term]) -> str:
    return " + ".join(dim if step == 1 else f"{step}*{dim}" for dim, step in axis)
