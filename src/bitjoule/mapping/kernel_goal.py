"""Compiled objectives: what a nest is worth, and whether it can still beat the best one known."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

__all__ = ["EDP", "ENERGY", "LATENCY", "Goal", "cannot_win", "cycles_of", "improved", "value_of"]

ENERGY = 0
EDP = 1
LATENCY = 2
"""Objectives: energy (under a latency cap), energy times cycles, cycles then energy."""

ROUNDING = 1e-12
"""Relative difference below which two objective values are equal."""


class Goal(NamedTuple):
    """What is minimised: objective, cap on cycles (-1: none), cycles of the MAC units, energy per cycle
    (leak), constant energy of the assignment, and the incumbent (value, cycles)."""

    objective: int
    cap: int
    cycles: int
    leak_pj: float
    constant_pj: float
    value: float
    value_cycles: int


@njit(cache=True, error_model="numpy")
def value_of(goal: Goal, energy: float, cycles: int) -> float:
    """Energy, or energy times cycles, with constants and leakage."""
    total = energy + goal.constant_pj + goal.leak_pj * cycles
    return total * cycles if goal.objective == EDP else total


@njit(cache=True, error_model="numpy")
def cannot_win(goal: Goal, energy: float, cycles: int) -> bool:
    """Is a nest of at least this energy and these cycles no better than the incumbent?

    Of equal energies the one of fewer cycles is better.
    """
    if goal.cap >= 0 and cycles > goal.cap:
        return True
    if goal.value == np.inf:
        return False
    if goal.objective == LATENCY and cycles != goal.value_cycles:
        return bool(cycles > goal.value_cycles)
    value = value_of(goal, energy, cycles)
    rounding = ROUNDING * abs(goal.value)
    if goal.objective == ENERGY and abs(value - goal.value) <= rounding:
        return bool(cycles >= goal.value_cycles)
    return bool(value >= goal.value - rounding)


@njit(cache=True, error_model="numpy")
def improved(goal: Goal, energy: float, cycles: int) -> Goal:
    """The goal with this nest as its incumbent; of equal energies the least stays, so none can creep."""
    value = value_of(goal, energy, cycles)
    if goal.objective == ENERGY:
        value = min(value, goal.value)
    return Goal(goal.objective, goal.cap, goal.cycles, goal.leak_pj, goal.constant_pj, value, cycles)


@njit(cache=True, error_model="numpy")
def cycles_of(goal: Goal, bandwidth: Any, traffic: Any) -> int:
    """Cycles with these words moved: those of the MAC units, or of a level whose bandwidth they exceed."""
    cycles = goal.cycles
    for i in range(traffic.size):
        cycles = max(cycles, int(np.ceil(traffic[i] / bandwidth[i])))
    return cycles
