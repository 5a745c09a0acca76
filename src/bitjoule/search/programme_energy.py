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
from dataclasses import dataclass

import numpy as np

from bitjoule.energy import CostOptions, cost
from bitjoule.hardware import Hardware
from bitjoule.scheme import Scheme
from bitjoule.search.programme import Answer, Gene, Programme, ProgrammeError, Term
from bitjoule.search.programme_genes import OPERATORS, NetworkGenes
from bitjoule.search.programme_milp import least
from bitjoule.search.programme_sensitivity import losses
from bitjoule.search.programme_steps import StepPricer, Streaming
from bitjoule.workload import workload_of

__all__ = ["Comparison", "EnergyTable", "Streaming", "energy_table"]


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

    def least_pj(self) -> float:
        """The least energy of any assignment: no budget below it can be met.

        Raises:
            ProgrammeError: no assignment fits the hardware.
        """
        return least(Programme(self._free(), self.terms), "energy_pj")

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
    pricer = StepPricer(genes, hardware, dict(reference or genes.widest()), residency)
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
