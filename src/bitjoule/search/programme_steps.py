"""The price of one step of a network: made a workload of its own, at chosen widths, and given to the model.

`programme_energy.py` joins these prices to the terms of the integer programme.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from typing import Literal

import numpy as np

from bitjoule.energy import Cost, CostOptions, Infeasible, cost
from bitjoule.formats import TensorFormat
from bitjoule.hardware import Hardware
from bitjoule.scheme import Precision
from bitjoule.search.programme import Term
from bitjoule.search.programme_genes import NetworkGenes
from bitjoule.workload import Layer, Operation, StoredTensor, Workload, workload_of

__all__ = ["StepPricer", "Streaming"]

Streaming = Literal["none", "ideal"]
"""Feature maps all streamed, or all on chip."""


class StepPricer:
    """Energy, cycles and weight storage of single steps of one network, for any choice of their genes.

    `reference`: the assignment of everything else. Equal steps are priced once. The closed form of Moons
    knows no step alone: there the whole network is priced with this step changed.
    """

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
