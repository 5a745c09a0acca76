"""The residency optimum as a 0/1 programme (SciPy HiGHS), for graphs with many live tensors.

Binaries: k[t,g] a gap is kept; w[t] >= 1 - k[t,g] the tensor is written; c[t,s] >= k[t,g] it is resident at
step s of the gap. Minimise sum size*(1 - k) + size*w subject to
need_s + sum size*c + sum streaming*(1 - c) <= capacity at every step.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_matrix

from bitjoule.energy.feature_map import BEFORE, FeatureMap, Step, too_small

__all__ = ["keep_by_program"]


def keep_by_program(
    steps: Sequence[Step], tensors: Sequence[FeatureMap], capacity_bits: int
) -> dict[str, tuple[bool, ...]]:
    """Gaps to keep for the least DRAM traffic; which of several optima is the solver's choice.

    Raises:
        Infeasible: a step does not fit even when everything is streamed.
    """
    for step in steps:
        if step.need_bits + sum(step.streaming_bits.values()) > capacity_bits:
            raise too_small(step, capacity_bits)
    programme = _Programme()
    for tensor in tensors:
        programme.add_tensor(tensor)
    for number, step in enumerate(steps):
        programme.add_capacity(number, step, tensors, capacity_bits)
    chosen = programme.solve()
    return {
        tensor.name: tuple(bool(chosen["keep", tensor.name, use] > 0.5) for use in tensor.uses)
        for tensor in tensors
    }


Variable = tuple[str, str, int]


class _Programme:
    """Variables by name, rows `sum coefficient*variable <= bound`."""

    def __init__(self) -> None:
        self.column: dict[Variable, int] = {}
        self.objective: list[float] = []
        self.upper: list[int] = []
        self.entries: list[tuple[int, int, float]] = []
        self.bounds: list[float] = []

    def variable(self, kind: str, name: str, step: int, *, price: float = 0.0, upper: int = 1) -> None:
        self.column[kind, name, step] = len(self.objective)
        self.objective.append(price)
        self.upper.append(upper)

    def at_most(self, terms: Sequence[tuple[Variable, float]], bound: float) -> None:
        self.entries += [(len(self.bounds), self.column[variable], factor) for variable, factor in terms]
        self.bounds.append(bound)

    def add_tensor(self, tensor: FeatureMap) -> None:
        size, name = float(tensor.size_bits), tensor.name
        if tensor.producer > BEFORE and not tensor.is_output:
            self.variable("write", name, 0, price=size)
        for first, last in tensor.gaps:
            self.variable("keep", name, last, price=-size, upper=int(first > BEFORE))
            if ("write", name, 0) in self.column:
                self.at_most([(("write", name, 0), -1), (("keep", name, last), -1)], -1)
            for step in range(max(first, 0), last + 1):
                if ("here", name, step) not in self.column:
                    self.variable("here", name, step)
                self.at_most([(("keep", name, last), 1), (("here", name, step), -1)], 0)

    def add_capacity(
        self, number: int, step: Step, tensors: Sequence[FeatureMap], capacity_bits: int
    ) -> None:
        terms, fixed = [], step.need_bits + sum(step.streaming_bits.values())
        for tensor in tensors:
            here = ("here", tensor.name, number)
            if here in self.column:
                terms.append((here, float(tensor.size_bits - step.streaming_bits.get(tensor.name, 0))))
        if terms:
            self.at_most(terms, capacity_bits - fixed)

    def solve(self) -> dict[Variable, float]:
        if not self.entries:  # no tensor is used after it is made: nothing to choose
            return dict.fromkeys(self.column, 0.0)
        rows, columns, values = zip(*self.entries, strict=True)
        matrix = coo_matrix((values, (rows, columns)), shape=(len(self.bounds), len(self.objective)))
        result = milp(
            np.array(self.objective),
            integrality=np.ones(len(self.objective)),
            bounds=Bounds(0, np.array(self.upper)),
            constraints=LinearConstraint(matrix.tocsr(), -np.inf, np.array(self.bounds)),
            options={"mip_rel_gap": 0.0},
        )
        if result.x is None:
            raise RuntimeError(f"HiGHS found no residency plan: {result.message}")
        return {variable: float(result.x[column]) for variable, column in self.column.items()}
