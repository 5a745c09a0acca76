"""Mixed precision as an exact integer programme: one Format for every gene, least loss within a budget.

The model is additive (search.md section 3.4): the predicted loss is the sum of one number per gene (a weight
tensor, or a group of activation tensors of one width), the energy a sum of terms, each of which depends on a
few genes: a layer on its weights, its input and its output. It is a prediction: evaluate the answers for real
(`programme_sensitivity.py` compares). `programme_energy.py` makes the terms of a network on a hardware,
`programme_steps.py` prices them, `programme_milp.py` solves by HiGHS (its variables: `programme_model.py`),
`programme_dp.py` by dynamic programming.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["Answer", "Budget", "Gene", "Programme", "ProgrammeError", "Resource", "Solver", "Term", "solve"]

PJ_PER_UJ = 1e6

Resource = Literal["energy_pj", "size_bits", "latency_cycles"]
RESOURCES: tuple[Resource, ...] = ("energy_pj", "size_bits", "latency_cycles")
Solver = Literal["milp", "dp"]


class ProgrammeError(ValueError):
    """A programme without an answer, or one that is not well formed; the text says which and why."""


@dataclass(frozen=True)
class Gene:
    """One decision: which of `choices` (tokens such as "4" or "POT4") a tensor or a group of tensors takes.

    `loss[i]`: predicted loss of choice i, in any unit, finite and >= 0. `kind` is "weight" or "activation".
    """

    name: str
    choices: tuple[str, ...]
    loss: tuple[float, ...]
    kind: Literal["weight", "activation"] = "weight"

    def __post_init__(self) -> None:
        if not self.choices or len(set(self.choices)) < len(self.choices):
            raise ProgrammeError(f"gene {self.name!r}: choices must be distinct and at least one")
        if len(self.loss) != len(self.choices):
            raise ProgrammeError(
                f"gene {self.name!r}: {len(self.choices)} choices need as many losses, not {len(self.loss)}"
            )
        for choice, value in zip(self.choices, self.loss, strict=True):
            if not (math.isfinite(value) and value >= 0):
                raise ProgrammeError(
                    f"gene {self.name!r}: the loss of choice {choice!r} must be finite and >= 0, "
                    f"not {value}; clamp measured noise below 0 (programme_sensitivity.losses)"
                )


@dataclass(frozen=True)
class Term:
    """What depends on a few genes together: a layer, an element operation.

    Arrays have one axis per gene of `genes`, in order, as long as its choices. `energy_pj` may be inf where a
    combination is not allowed. `size_bits` and `latency_cycles` are optional (None: 0).
    """

    name: str
    genes: tuple[str, ...]
    energy_pj: NDArray[np.float64]
    size_bits: NDArray[np.float64] | None = None
    latency_cycles: NDArray[np.float64] | None = None

    def table(self, resource: Resource) -> NDArray[np.float64]:
        """The array of one resource; zeros where the term has none."""
        found: NDArray[np.float64] | None = getattr(self, resource)
        return np.zeros_like(self.energy_pj) if found is None else found


@dataclass(frozen=True)
class Budget:
    """Upper limits of an answer; None: no limit."""

    energy_pj: float | None = None
    size_bits: float | None = None
    latency_cycles: float | None = None
    loss: float | None = None

    def __post_init__(self) -> None:
        for name in (*RESOURCES, "loss"):
            limit = getattr(self, name)
            if limit is not None and math.isnan(limit):
                raise ProgrammeError(f"budget: {name} must be a number, or None for no limit; not NaN")


@dataclass(frozen=True)
class Programme:
    """Genes, terms, and energy that no gene moves.

    >>> gene = Gene("fc", ("2", "8"), (1.0, 0.0))
    >>> programme = Programme((gene,), (Term("fc", ("fc",), np.array([1e6, 4e6])),))
    >>> programme.value({"fc": "2"}, "energy_pj"), programme.size
    (1000000.0, 2)

    Raises:
        ProgrammeError: genes or terms that do not fit together.
    """

    genes: tuple[Gene, ...]
    terms: tuple[Term, ...]
    constant: Mapping[Resource, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [gene.name for gene in self.genes]
        if len(set(names)) < len(names):
            raise ProgrammeError(f"genes must have different names: {', '.join(sorted(names))}")
        known = {gene.name: len(gene.choices) for gene in self.genes}
        for term in self.terms:
            for name in term.genes:
                if name not in known:
                    raise ProgrammeError(f"term {term.name!r} reads gene {name!r}, which does not exist")
            if len(set(term.genes)) < len(term.genes):
                raise ProgrammeError(f"term {term.name!r} reads a gene twice: {', '.join(term.genes)}")
            shape = tuple(known[name] for name in term.genes)
            for resource in RESOURCES:
                table = getattr(term, resource)
                if table is None:
                    continue
                if table.shape != shape:
                    raise ProgrammeError(
                        f"term {term.name!r}: {resource} has shape {table.shape}, its genes ask for {shape}"
                    )
                lowest = -math.inf if np.isnan(table).any() else float(table.min())
                if lowest < 0 or (resource != "energy_pj" and not np.isfinite(table).all()):
                    raise ProgrammeError(f"term {term.name!r}: {resource} must be numbers >= 0")

    @cached_property
    def by_name(self) -> Mapping[str, Gene]:
        """Genes by name."""
        return {gene.name: gene for gene in self.genes}

    @property
    def size(self) -> int:
        """Number of assignments."""
        return math.prod(len(gene.choices) for gene in self.genes)

    def loss(self, assignment: Mapping[str, str]) -> float:
        """Predicted loss of an assignment, gene -> choice."""
        return math.fsum(gene.loss[self._index(gene, assignment)] for gene in self.genes)

    def value(self, assignment: Mapping[str, str], resource: Resource) -> float:
        """Energy, size or latency of an assignment."""
        found = []
        for term in self.terms:
            place = tuple(self._index(self.by_name[name], assignment) for name in term.genes)
            found.append(float(term.table(resource)[place]))
        return math.fsum((*found, self.constant.get(resource, 0.0)))

    def answer(
        self,
        assignment: Mapping[str, str],
        *,
        solver: str,
        proven: bool,
        gap: float = 0.0,
        seconds: float = 0.0,
        error_pj: float = 0.0,
    ) -> Answer:
        """The assignment with its exact loss and resources."""
        return Answer(
            assignment=dict(assignment),
            loss=self.loss(assignment),
            energy_pj=self.value(assignment, "energy_pj"),
            size_bits=self.value(assignment, "size_bits"),
            latency_cycles=self.value(assignment, "latency_cycles"),
            solver=solver,
            proven=proven,
            gap=gap,
            seconds=seconds,
            error_pj=error_pj,
        )

    def _index(self, gene: Gene, assignment: Mapping[str, str]) -> int:
        choice = assignment.get(gene.name)
        if choice not in gene.choices:
            raise ProgrammeError(
                f"gene {gene.name!r} takes one of {', '.join(gene.choices)}, the assignment has {choice!r}"
            )
        return gene.choices.index(choice)


@dataclass(frozen=True)
class Answer:
    """An assignment, what it is predicted to lose and to cost, and how it was found.

    `proven`: no assignment within the budget has less loss, and none of this loss less energy. Otherwise
    `gap` is the relative distance of the loss to the solver's bound. `seconds`: wall time of both solves.
    `error_pj`: by how much the quantum of the dynamic programme may have misjudged an energy (0: exact).
    """

    assignment: Mapping[str, str]
    loss: float
    energy_pj: float
    size_bits: float
    latency_cycles: float
    solver: str
    proven: bool
    gap: float
    seconds: float
    error_pj: float = 0.0

    @property
    def energy_uj(self) -> float:
        """Energy in microjoules, for people."""
        return self.energy_pj / PJ_PER_UJ

    @property
    def status(self) -> str:
        """`proven`, or what stopped the solver: for people."""
        if self.proven:
            return "proven" if not self.error_pj else f"exact within {self.error_pj:g} pJ"
        return f"time limit, gap {self.gap:.2%}"


def solve(
    programme: Programme,
    budget: Budget,
    *,
    minimise: Literal["loss", "energy"] = "loss",
    solver: Solver = "milp",
    time_limit_s: float = 30.0,
    quantum_pj: float | None = None,
) -> Answer:
    """The assignment of least loss within `budget`, and of those the one of least energy.

    `minimise="energy"`: the least energy within `budget` (whose `loss` says what may be lost), and of those
    the least loss. `solver="dp"` needs `quantum_pj`, follows energy only, and is for chains and blocks.

    Raises:
        ProgrammeError: nothing fits the budget; the text says the least that can be asked for.

    >>> gene = Gene("fc", ("2", "8"), (1.0, 0.0))
    >>> programme = Programme((gene,), (Term("fc", ("fc",), np.array([1e6, 4e6])),))
    >>> solve(programme, Budget(energy_pj=3e6)).assignment
    {'fc': '2'}
    """
    if not time_limit_s > 0:
        raise ProgrammeError(f"time_limit_s must be > 0 seconds, not {time_limit_s}")
    if solver == "dp":
        from bitjoule.search.programme_dp import solve_by_dp

        return solve_by_dp(programme, budget, minimise=minimise, quantum_pj=quantum_pj)
    if solver != "milp":
        raise ProgrammeError(f"solver must be milp or dp, not {solver!r}")
    from bitjoule.search.programme_milp import solve_by_milp

    return solve_by_milp(programme, budget, minimise=minimise, time_limit_s=time_limit_s)
