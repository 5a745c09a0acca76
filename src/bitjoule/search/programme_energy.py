"""Energies of the integer programme: e(w, a, o) of every step of a network on a hardware, by its own model.

A step (a layer with what is fused into it, an element operation) is priced alone, with all feature maps
streamed (`residency="none"`) or all on chip (`"ideal"`): then its energy depends on the Formats of its own
tensors only, and the sum over steps equals `bitjoule.energy` of the Scheme under `CostOptions` of the same
residency, to rounding. What is not additive, and how the table stands to it:

* which feature maps stay on chip in truth (`"optimal"`) depends on all widths together. Streaming is one of
  the choices of that optimum and an unlimited memory its bound: "none" gives at least the real energy, so a
  budget holds for sure; "ideal" at most, and exactly where all maps fit. `EnergyTable.compare` says both.
* the closed form of Moons fetches from DRAM the share of weights that does not fit, which depends on all
  widths together: the table takes the share at `reference` and a note says so. With weights that always fit
  (or an unbounded memory) it is exact.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Literal

import numpy as np

from bitjoule.energy import Cost, CostOptions, Infeasible, cost
from bitjoule.formats import TensorFormat
from bitjoule.hardware import Hardware
from bitjoule.scheme import Precision, Scheme
from bitjoule.search.programme import Answer, Gene, Programme, ProgrammeError, Term
from bitjoule.search.programme_genes import OPERATORS, NetworkGenes
from bitjoule.search.programme_sensitivity import losses
from bitjoule.workload import Layer, Operation, StoredTensor, Workload, workload_of

__all__ = ["Comparison", "EnergyTable", "energy_table"]

Streaming = Literal["none", "ideal"]


@dataclass(frozen=True)
class Comparison:
    """One assignment: the sum of the table, the energy model with the table's residency, and as it is."""

    scheme: Scheme
    predicted_pj: float
    modelled_pj: float
    real_pj: float

    @property
    def additive(self) -> bool:
        """Whether the sum is the model's energy under the table's residency, to rounding."""
        return math.isclose(self.predicted_pj, self.modelled_pj, rel_tol=1e-9)


@dataclass(frozen=True)
class EnergyTable:
    """Terms of a network on a hardware. `notes`: what the sum does not hold."""

    genes: NetworkGenes
    hardware: Hardware
    terms: tuple[Term, ...]
    notes: tuple[str, ...]
    residency: Streaming = "none"

    def programme(
        self,
        weight_losses: Mapping[str, Mapping[str, float]],
        activation_losses: Mapping[str, Mapping[str, float]],
    ) -> Programme:
        """The programme of measured sensitivities: layer -> token -> loss, stored tensor -> bits -> loss.

        A weight that several layers read, and a group of tensors, lose the sum of their losses. Genes with
        one choice need no sensitivities.

        Raises:
            ProgrammeError: a sensitivity is missing or not finite; the tensor and the choice are named.
        """
        genes = [
            Gene(name, self.genes.weight_choices[name], self._sum(name, layers, weight_losses))
            for name, layers in self.genes.weights.items()
        ]
        for name, group in self.genes.groups.items():
            genes.append(
                Gene(name, group.choices, self._sum(name, group.points, activation_losses), "activation")
            )
        return Programme(tuple(genes), self.terms)

    def compare(self, assignment: Mapping[str, str] | Answer) -> Comparison:
        """The energy that the table gives an assignment beside that of the energy model.

        Raises:
            Infeasible: the hardware cannot run the assignment.
        """
        chosen = assignment.assignment if isinstance(assignment, Answer) else assignment
        scheme = self.genes.scheme_of(chosen)
        workload = workload_of(self.genes.graph, scheme)
        predicted = Programme(self._free(), self.terms).value(chosen, "energy_pj")
        modelled = cost(workload, self.hardware, options=CostOptions(residency=self.residency))
        return Comparison(scheme, predicted, modelled.energy_pj, cost(workload, self.hardware).energy_pj)

    def _free(self) -> tuple[Gene, ...]:
        names = (*self.genes.weights, *self.genes.groups)
        return tuple(
            Gene(name, self.genes.choices(name), (0.0,) * len(self.genes.choices(name))) for name in names
        )

    def _sum(
        self, gene: str, tensors: tuple[str, ...], measured: Mapping[str, Mapping[str, float]]
    ) -> tuple[float, ...]:
        choices = self.genes.choices(gene)
        if len(choices) == 1 and not all(tensor in measured for tensor in tensors):
            return (0.0,)
        floors = self.genes.groups[gene].floors if gene in self.genes.groups else {}
        parts = []
        for tensor in tensors:
            if tensor not in measured:
                raise ProgrammeError(
                    f"no sensitivity of {tensor!r}, which {gene!r} decides; "
                    f"measured: {', '.join(measured) or 'nothing'}"
                )
            floor = floors.get(tensor, 0)
            stored = [str(max(int(choice), floor)) if floor else choice for choice in choices]
            values = dict(
                zip(
                    dict.fromkeys(stored),
                    losses(measured[tensor], tuple(dict.fromkeys(stored)), of=tensor),
                    strict=True,
                )
            )
            parts.append([values[choice] for choice in stored])
        return (
            tuple(math.fsum(column) for column in zip(*parts, strict=True))
            if parts
            else (0.0,) * len(choices)
        )


def energy_table(
    genes: NetworkGenes,
    hardware: Hardware,
    *,
    residency: Streaming = "none",
    reference: Mapping[str, str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> EnergyTable:
    """Energy, weight storage and cycles of every step for all choices of the genes it depends on.

    `reference`: the assignment at which what is not additive is taken, by default the widest.
    `progress(done, total)`: combinations priced; equal layers are priced once.

    Raises:
        Infeasible: a step fits the hardware with no choice.
        UnknownOperation: operators that the energy model does not count.
    """
    pricer = _Pricer(genes, hardware, dict(reference or genes.widest()), residency)
    terms = list(_precedences(genes))
    steps = pricer.steps
    counts = {
        name: math.prod(len(genes.choices(gene)) for gene in pricer.genes_of(step))
        for name, step in steps.items()
    }
    done, total = 0, sum(counts.values())
    for name, step in steps.items():
        terms.append(pricer.term(step))
        done += counts[name]
        if progress is not None:
            progress(done, total)
    return EnergyTable(genes, hardware, tuple(terms), pricer.notes(), residency)


def _precedences(genes: NetworkGenes) -> Iterator[Term]:
    """Groups that operators read too are no narrower than what the scheme gives to operators."""
    if OPERATORS not in genes.groups:
        return
    least = genes.groups[OPERATORS].choices
    for name, group in genes.groups.items():
        if group.above_operators:
            table = [[0.0 if int(own) >= int(base) else math.inf for base in least] for own in group.choices]
            yield Term(f"{name} above operators", (name, OPERATORS), np.array(table))


class _Pricer:
    """Prices single steps of one network."""

    def __init__(
        self, genes: NetworkGenes, hardware: Hardware, reference: dict[str, str], residency: Streaming
    ) -> None:
        self.options = CostOptions(residency=residency)
        self.genes, self.hardware, self.reference = genes, hardware, reference
        self.workload = workload_of(genes.graph, genes.scheme_of(reference))
        self.weight_of = genes.weight_of
        self.alone = hardware.kind != "moons"
        self.first_reader: dict[str, str] = {}
        for layer in self.workload.layers:
            gene = self.weight_of.get(layer.name)
            if gene is not None:
                self.first_reader.setdefault(gene, layer.name)
        found = {layer.name: layer for layer in self.workload.layers}
        others = {op.name: op for op in self.workload.operations if not op.fused_into}
        every: dict[str, Layer | Operation] = {**found, **others}
        self.steps = {name: every[name] for name in self.workload.order}
        self.priced: dict[str, tuple[float, float]] = {}
        self.faults: dict[str, Infeasible] = {}

    def notes(self) -> tuple[str, ...]:
        """What the sum of the terms does not hold."""
        if not self.alone:
            return (
                "the share of weights that is fetched from DRAM is that of the reference assignment "
                f"{self.genes.scheme_of(self.reference)}",
            )
        if self.options.residency == "ideal":
            return ("all feature maps stay on chip; those that do not fit make the real energy more",)
        return ("feature maps are streamed; those that stay on chip make the real energy less",)

    def genes_of(self, step: Layer | Operation) -> tuple[str, ...]:
        """Weight, input, stored tensors: each gene once."""
        found: list[str] = []
        if isinstance(step, Layer):
            found += [gene for gene in (self.weight_of.get(step.name), self.genes.reads[step.name]) if gene]
        found += [self.genes.stored[t] for t in self._tensors(step) if t in self.genes.stored]
        return tuple(dict.fromkeys(found))

    def term(self, step: Layer | Operation) -> Term:
        """All combinations of one step."""
        names = self.genes_of(step)
        choices = [self.genes.choices(name) for name in names]
        shape = tuple(map(len, choices))
        energy, cycles, size = (np.zeros(shape) for _ in range(3))
        for index, combination in zip(np.ndindex(*shape), product(*choices), strict=True):
            chosen = {**self.reference, **dict(zip(names, combination, strict=True))}
            energy[index], cycles[index] = self._price(step, chosen)
            if (
                isinstance(step, Layer)
                and self.first_reader.get(self.weight_of.get(step.name, "")) == step.name
            ):
                bits = Precision(chosen[self.weight_of[step.name]], "8").weight_bits
                size[index] = step.weight_elements * bits
        if not np.isfinite(energy).any():
            raise self.faults[step.name]
        cycles[~np.isfinite(energy)] = 0.0
        return Term(step.name, names, energy, size_bits=size, latency_cycles=cycles)

    def _price(self, step: Layer | Operation, chosen: Mapping[str, str]) -> tuple[float, float]:
        """Energy and cycles of one step; infinite where the hardware cannot run it."""
        part = self._part(step, chosen) if self.alone else self._whole(step, chosen)
        name = "step" if self.alone else step.name
        key = repr(part) if self.alone else ""
        if key and key in self.priced:
            return self.priced[key]
        try:
            found = cost(part, self.hardware, options=self.options)
        except Infeasible as error:
            self.faults[step.name] = error
            result = math.inf, 0.0
        else:
            result = _of_step(found, name)
        if key:
            self.priced[key] = result
        return result

    def _tensors(self, step: Layer | Operation) -> tuple[str, ...]:
        """Stored tensors that the step and what is fused into it touch."""
        fused = [op for op in self.workload.operations if op.fused_into == step.name]
        named = [name for each in (step, *fused) for name in (*each.inputs, each.output)]
        return tuple(dict.fromkeys(name for name in named if name in self.workload.tensors))

    def _stored(self, name: str, chosen: Mapping[str, str]) -> StoredTensor:
        tensor = self.workload.tensors[name]
        gene = self.genes.stored.get(name)
        if gene is None:
            return tensor
        return replace(
            tensor, format=_format(tensor.format, self.genes.groups[gene].bits(name, chosen[gene]))
        )

    def _step(self, step: Layer | Operation, chosen: Mapping[str, str]) -> Layer | Operation:
        """The step with the Formats that are chosen."""
        if isinstance(step, Operation):
            return step
        read = chosen[self.genes.reads[step.name]]
        gene = self.weight_of.get(step.name)
        weight = _format(step.weight_format, read)
        output = step.output_format
        if step.output in self.genes.stored:
            output = self._stored(step.output, chosen).format
        return replace(
            step,
            weight_format=Precision(chosen[gene], "8").weight_format() if gene else weight,
            input_format=_format(step.input_format, read),
            output_format=output,
        )

    def _whole(self, step: Layer | Operation, chosen: Mapping[str, str]) -> Workload:
        """The network at the reference, this step at what is chosen."""
        made = self._step(step, chosen)
        layers = tuple(made if layer.name == step.name else layer for layer in self.workload.layers)
        touched = {name: self._stored(name, chosen) for name in self._tensors(step)}
        return replace(self.workload, layers=layers, tensors={**self.workload.tensors, **touched})  # type: ignore[arg-type]

    def _part(self, step: Layer | Operation, chosen: Mapping[str, str]) -> Workload:
        """A workload of this step alone, under neutral names: equal steps are equal."""
        names = {name: f"t{number}" for number, name in enumerate(self._tensors(step))}
        made = self._step(step, chosen)
        fused = [op for op in self.workload.operations if op.fused_into == step.name]
        made = replace(
            made,
            name="step",
            inputs=tuple(names.get(name, name) for name in step.inputs),
            output=names.get(step.output, step.output),
        )
        if isinstance(made, Layer):
            made = replace(made, weight_name="", bias_name="")
        operations = [
            replace(
                op,
                name=f"fused{number}",
                inputs=tuple(names[name] for name in op.inputs if name in names),
                output=names.get(op.output, f"fused{number}"),
                fused_into="step",
            )
            for number, op in enumerate(fused)
        ]
        tensors: dict[str, StoredTensor] = {}
        before, after = [], []
        for name, short in names.items():
            stored = self._stored(name, chosen)
            tensors[short] = replace(stored, name=short, role="input" if name != step.output else stored.role)
            if self.options.residency == "none":
                continue
            if name == step.output:  # read later, so that it may stay on chip
                if stored.role != "output":
                    after.append(Operation("after", "relu", (short,), "sink", 1))
                    tensors["sink"] = StoredTensor("sink", 1, stored.format, "output")
            elif stored.role != "input":  # made before
                before.append(Operation(f"before {short}", "relu", ("source",), short, 1))
                tensors["source"] = StoredTensor("source", 1, stored.format, "input")
                tensors[short] = replace(tensors[short], role="feature")
        if isinstance(made, Operation):
            operations = [made, *operations]
        return Workload(
            network="step",
            scheme="",
            layers=(made,) if isinstance(made, Layer) else (),
            operations=(*before, *operations, *after),
            tensors=tensors,
            order=(*(each.name for each in before), "step", *(each.name for each in after)),
        )


def _of_step(found: Cost, name: str) -> tuple[float, float]:
    energy = math.fsum(item.energy_pj for item in found.items if item.layer == name)
    return energy, float(found.latency_cycles.get(name, 0))


def _format(before: TensorFormat | None, bits: str) -> TensorFormat:
    """An activation's Format at another width, with the sign it has."""
    signed = before is None or not before.format.name.startswith("UINT")
    return Precision("8", bits).activation_format(signed=signed)
