"""Which widths of a network can be chosen, and the Scheme that says what was chosen.

One gene per weight tensor; one per group of activation tensors. A layer's precision governs the tensor it
reads (`workload/assign.py`), so tensors stand in one group that one layer reads, that moving operators join
(reshape, concat, max pool ...), and, in SP, that an add joins. Tensors that only other operators read (the
input of a last pool) have the width of the scheme itself: one gene for all of them. Where operators read a
tensor beside layers its group is at least as wide as that gene. Residual tensors of HPR keep their bits; what
layers read of them is chosen.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from bitjoule.scheme import Override, Precision, Scheme, parse_scheme
from bitjoule.search.programme import ProgrammeError
from bitjoule.workload import Assignment, Graph, Node, assign
from bitjoule.workload.assign import CAREFUL_BITS, CAREFUL_OPS, layer_precisions
from bitjoule.workload.graph import MAC_OPS, TRANSPARENT
from bitjoule.workload.pipeline import class_of, pipeline_end, without_no_ops

__all__ = ["NetworkGenes", "WidthGroup", "network_genes"]

OPERATORS = "activation of operators"
SPECIAL = re.compile(r"[\[\]{}*?,:\s]")
"""Signs that an override's pattern cannot hold as they are."""


@dataclass(frozen=True)
class WidthGroup:
    """Activations of one width. `tensors` are stored at it (at least `floors[tensor]` bits), `layers` read at
    it, `points` are the quantizers whose Format it decides.
    """

    name: str
    choices: tuple[str, ...]
    tensors: tuple[str, ...]
    layers: tuple[str, ...]
    points: tuple[str, ...]
    floors: Mapping[str, int]
    above_operators: bool = False

    def bits(self, tensor: str, choice: str) -> str:
        """Width of one of its tensors."""
        return str(max(int(choice), self.floors.get(tensor, 0)))


@dataclass(frozen=True)
class NetworkGenes:
    """The genes of a graph under a scheme whose widths are free.

    `weights`: gene -> layers that read this weight. `groups`: by gene. `stored`: tensor -> gene, for tensors
    whose stored width a gene decides; `reads`: layer -> gene of what it reads.
    """

    graph: Graph
    scheme: Scheme
    weights: Mapping[str, tuple[str, ...]]
    weight_choices: Mapping[str, tuple[str, ...]]
    groups: Mapping[str, WidthGroup]
    stored: Mapping[str, str]
    reads: Mapping[str, str]

    def choices(self, gene: str) -> tuple[str, ...]:
        """What a gene may be."""
        return self.weight_choices[gene] if gene in self.weight_choices else self.groups[gene].choices

    @property
    def weight_of(self) -> dict[str, str]:
        """Layer -> gene of its weight."""
        return {layer: gene for gene, layers in self.weights.items() for layer in layers}

    def widest(self) -> dict[str, str]:
        """Every gene at its last choice."""
        return {gene: self.choices(gene)[-1] for gene in (*self.weight_choices, *self.groups)}

    def scheme_of(self, assignment: Mapping[str, str]) -> Scheme:
        """The Scheme of an assignment; it prints, parses back, and gives exactly these widths (checked).

        Raises:
            ProgrammeError: a layer name that an override cannot hold, or widths that no Scheme can say.
        """
        precisions = {}
        weight_of = self.weight_of
        for node in self.graph.mac_nodes():
            read = assignment[self.reads[node.name]]
            precisions[node.name] = Precision(assignment.get(weight_of.get(node.name, ""), read), read)
        weights = Counter(precision.weight for precision in precisions.values())
        activations = [assignment[gene] for gene in self.groups if gene != OPERATORS]
        plain = Precision(
            weights.most_common(1)[0][0],
            assignment[OPERATORS] if OPERATORS in self.groups else min(activations, key=int),
        )
        overrides = []
        for name, precision in precisions.items():
            if precision != plain:
                if SPECIAL.search(name):
                    raise ProgrammeError(
                        f"layer {name!r} needs an override, whose pattern cannot hold [ ] {{ }} * ? , : or "
                        "blanks: rename the module"
                    )
                overrides.append(Override(name, precision))
        found = replace(
            self.scheme,
            precision=plain,
            first=None,
            last=None,
            downsample=None,
            depthwise=None,
            overrides=tuple(overrides),
        )
        if parse_scheme(str(found)) != found:
            raise ProgrammeError(f"scheme {str(found)!r} does not parse back to what was chosen")
        self._check(assignment, assign(self.graph, found))
        return found

    def _check(self, assignment: Mapping[str, str], made: Assignment) -> None:
        for gene, layers in self.weights.items():
            for layer in layers:
                expected = Precision(assignment[gene], "8").weight_format()
                if made.weights[layer] != expected:
                    raise ProgrammeError(f"weight of {layer!r}: {made.weights[layer]}, chosen was {expected}")
        for layer, gene in self.reads.items():
            read = made.reads[layer, 0]
            if read is not None and str(read.format.bits) != assignment[gene]:
                raise ProgrammeError(f"{layer!r} reads {read}, chosen were {assignment[gene]} bits")
        for tensor, gene in self.stored.items():
            stored = made.stored[tensor]
            bits = self.groups[gene].bits(tensor, assignment[gene])
            if stored is None or str(stored.format.bits) != bits:
                raise ProgrammeError(f"tensor {tensor!r} is stored as {stored}, chosen were {bits} bits")


def network_genes(
    graph: Graph,
    scheme: Scheme | str = "int8",
    *,
    weights: Sequence[str] = ("2", "3", "4", "5", "6", "7", "8"),
    activations: Sequence[str] = ("2", "3", "4", "5", "6", "7", "8"),
) -> NetworkGenes:
    """The genes of `graph`. `scheme` says the graph mode, and what layers have at least (`first=8` ...).

    `weights`: tokens as in schemes, bits or names of Formats. `activations`: bits from 2 to 16, since other
    Formats change which operators run.

    Raises:
        ProgrammeError: choices that are none; a scheme with overrides, repairs or groups.
    """
    base = parse_scheme(scheme) if isinstance(scheme, str) else scheme
    if base.overrides or base.repairs or "/" in base.precision.weight:
        raise ProgrammeError(
            f"scheme {str(base)!r}: the programme chooses all widths itself, give it a scheme without "
            "overrides, repairs and scales in groups, such as int8 or hpr-int8[first=same]"
        )
    if not weights or not activations:
        raise ProgrammeError("weights and activations need at least one choice each")
    for token in activations:
        if not (token.isdigit() and 2 <= int(token) <= 16):
            raise ProgrammeError(f"activations take bits from 2 to 16, not {token!r}")
        if base.mode == "HPR" and int(token) >= base.high_bits:
            raise ProgrammeError(
                f"activations of {token} bits are no narrower than the residuals of {str(base)!r}: "
                f"choose less than {base.high_bits}, or an SP scheme"
            )
    plain, _ = without_no_ops(graph)
    return _Builder(plain, base, tuple(weights), tuple(sorted(activations, key=int))).genes()


class _Builder:
    """Unites tensor classes into groups."""

    def __init__(
        self, graph: Graph, scheme: Scheme, weights: tuple[str, ...], activations: tuple[str, ...]
    ) -> None:
        self.graph, self.scheme = graph, scheme
        self.weights = tuple(sorted(weights, key=lambda token: Precision(token, "8").weight_bits))
        self.activations = activations
        # two widths of everything: what differs is chosen by genes, what does not is fixed
        narrow, wide = (
            replace(
                scheme, precision=Precision("4", bits), first=None, last=None, downsample=None, depthwise=None
            )
            for bits in ("2", "3")
        )
        self.narrow, self.wide = assign(graph, narrow), assign(graph, wide)
        self.classes = class_of(graph)
        self.floor = {
            name: (precision.weight_bits, precision.activation_bits)
            for name, precision in layer_precisions(
                graph, replace(scheme, precision=Precision("1", "1"))
            ).items()
        }
        self.parent = {name: name for name in self.classes.values()}

    def genes(self) -> NetworkGenes:
        graph = self.graph
        layers = graph.mac_nodes()
        read_classes = {self.classes[t] for node in layers for t in self._operands(node)}
        for node in layers:
            self._unite([self.classes[tensor] for tensor in self._operands(node)])
        if self.scheme.mode == "SP":
            for node in graph.nodes:
                if graph.is_residual_add(node):
                    end = pipeline_end(graph, node, self.narrow.internal)
                    stored = [t for t in (*node.inputs, end) if t not in self.narrow.internal]
                    self._unite([c for t in stored if (c := self.classes[t]) in read_classes])
        reads = {node.name: self._find(self.classes[node.inputs[0]]) for node in layers}
        governed = [t for t in graph.tensors if self._varies(t)]
        of_layers = {t: self._find(self.classes[t]) for t in governed if self.classes[t] in read_classes}
        of_operators = [t for t in governed if t not in of_layers]
        floors = {t: self._operator_floor(t) for t in governed}
        groups: dict[str, WidthGroup] = {}
        names = {root: f"activation {self._first(root, reads)}" for root in dict.fromkeys(reads.values())}
        for root, name in names.items():
            members = tuple(t for t, found in of_layers.items() if found == root)
            readers = tuple(layer for layer, found in reads.items() if found == root)
            least = max([self.floor[layer][1] for layer in readers] + [floors[t] or 0 for t in members])
            groups[name] = WidthGroup(
                name,
                _at_least(self.activations, least),
                members,
                readers,
                self._points(members, readers),
                {},
                any(floors[t] is not None for t in members),
            )
        if of_operators:
            bounds = {t: floors[t] or 0 for t in of_operators}
            points = self._points(tuple(of_operators), ())
            groups[OPERATORS] = WidthGroup(
                OPERATORS, self.activations, tuple(of_operators), (), points, bounds
            )
        shared: dict[str, list[str]] = {}
        for node in layers:
            if "weight" in node.parameters:
                shared.setdefault(node.shared.get("weight", node.name), []).append(node.name)
        weight_genes = {f"weight {members[0]}": tuple(members) for members in shared.values()}
        return NetworkGenes(
            graph=graph,
            scheme=self.scheme,
            weights=weight_genes,
            weight_choices={
                gene: _at_least(self.weights, max(self.floor[layer][0] for layer in members))
                for gene, members in weight_genes.items()
            },
            groups=groups,
            stored={t: names[root] for t, root in of_layers.items()} | dict.fromkeys(of_operators, OPERATORS),
            reads={layer: names[root] for layer, root in reads.items()},
        )

    def _operands(self, node: Node) -> tuple[str, ...]:
        return node.inputs[: 1 if "weight" in node.parameters else 2]

    def _varies(self, tensor: str) -> bool:
        """Whether the stored width of a tensor follows from precisions of its readers."""
        narrow, wide = self.narrow.stored[tensor], self.wide.stored[tensor]
        if narrow is None or wide is None:
            return False
        if self.scheme.mode == "HPR" and narrow == wide == self.scheme.high():
            return False
        return narrow != wide or self._operator_floor(tensor) is not None

    def _operator_floor(self, tensor: str) -> int | None:
        """Least bits that operators which are no layers read of this tensor's class; None: none reads it."""
        floors = []
        for member, name in self.classes.items():
            if name == self.classes[tensor]:
                for node, _ in self.graph.consumers(member):
                    if node.op not in MAC_OPS and node.op not in TRANSPARENT:
                        careful = CAREFUL_BITS if node.op in CAREFUL_OPS else 0
                        floors.append(max(careful, node.ints("bits", 1, 0)[0]))
        return max(floors) if floors else None

    def _points(self, tensors: tuple[str, ...], layers: tuple[str, ...]) -> tuple[str, ...]:
        """Quantizers of these stored tensors, and of the copies that these layers read."""
        found = []
        for point in self.narrow.points:
            copy = point.kind == "read" and any(reader in layers for reader, _ in point.readers)
            if copy or (point.kind != "read" and point.tensor in tensors):
                found.append(point.tensor)
        return tuple(dict.fromkeys(found))

    def _first(self, root: str, reads: Mapping[str, str]) -> str:
        layer = next(name for name, found in reads.items() if found == root)
        return self.graph.node(layer).inputs[0]

    def _find(self, name: str) -> str:
        while self.parent[name] != name:
            name = self.parent[name]
        return name

    def _unite(self, names: Sequence[str]) -> None:
        for name in names[1:]:
            self.parent[self._find(name)] = self._find(names[0])


def _at_least(choices: tuple[str, ...], bits: int) -> tuple[str, ...]:
    """Choices of at least so many bits, or that number of bits itself."""
    kept = tuple(token for token in choices if Precision(token, "8").weight_bits >= bits)
    return kept or (str(bits),)
