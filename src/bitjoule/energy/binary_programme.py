"""A 0/1 programme whose variables have names, solved by SciPy HiGHS."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_matrix

__all__ = ["BinaryProgramme"]

GREATEST_PRICE = 1e4
"""Prices are scaled to this: HiGHS ends at an absolute gap of 1e-6, a relative 1e-10 of the greatest."""


class BinaryProgramme:
    """Binary variables by name, rows `sum factor*variable <= bound`, least price.

    >>> programme = BinaryProgramme()
    >>> for name, price in (("cheap", -1.0), ("dear", -3.0)):
    ...     programme.variable(name, price=price)
    >>> programme.at_most([("cheap", 2), ("dear", 2)], 3)
    >>> programme.solve()["dear"]
    1.0
    """

    def __init__(self) -> None:
        self.column: dict[Hashable, int] = {}
        self.prices: list[float] = []
        self.upper: list[int] = []
        self.entries: list[tuple[int, int, float]] = []
        self.bounds: list[float] = []

    def __contains__(self, name: Hashable) -> bool:
        return name in self.column

    def variable(self, name: Hashable, *, price: float = 0.0, upper: int = 1) -> None:
        """A new variable; `upper=0` holds it at 0."""
        self.column[name] = len(self.prices)
        self.prices.append(price)
        self.upper.append(upper)

    def at_most(self, terms: Sequence[tuple[Hashable, float]], bound: float) -> None:
        """One row."""
        self.entries += [(len(self.bounds), self.column[name], factor) for name, factor in terms]
        self.bounds.append(bound)

    def solve(self) -> dict[Hashable, float] | None:
        """The variables of an optimum; None when the rows contradict each other.

        Raises:
            RuntimeError: the solver gave up.
        """
        if not self.entries:  # nothing to choose
            return dict.fromkeys(self.column, 0.0)
        rows, columns, values = zip(*self.entries, strict=True)
        matrix = coo_matrix((values, (rows, columns)), shape=(len(self.bounds), len(self.prices)))
        scale = max(abs(price) for price in self.prices) / GREATEST_PRICE or 1.0
        result = milp(
            np.array(self.prices) / scale,
            integrality=np.ones(len(self.prices)),
            bounds=Bounds(0, np.array(self.upper)),
            constraints=LinearConstraint(matrix.tocsr(), -np.inf, np.array(self.bounds)),
            options={"mip_rel_gap": 0.0},
        )
        if result.status == 2:  # infeasible
            return None
        if result.x is None:
            raise RuntimeError(f"HiGHS found no residency plan: {result.message}")
        return {name: float(result.x[column]) for name, column in self.column.items()}
