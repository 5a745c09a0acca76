"""Which feature maps stay on chip: the exact optimum over all choices, in the pure-traffic form.

Steps run in order. A tensor is made at a step (network inputs before the first, in DRAM) and used at later
ones; a *gap* runs from its maker to its first use, or from one use to the next. A kept gap occupies the
on-chip memory on all its steps, both ends included, and the use at its end reads no DRAM. A gap that is not
kept costs one read of the tensor at its end, and the tensor is written to DRAM once. The first gap of a
network input cannot be kept; network outputs are always written. At every step the kept sizes, the step's
working need and the buffers of the tensors it streams must fit.

The optimum is exact. Up to 12 live tensors it is a dynamic programme over their states (residency_states.py),
which breaks ties by the lexicographically smallest keep vector; above it is a 0/1 programme
(residency_program.py) of the same value. Energies of mappings do not enter: every tensor moves once per read
or write.
"""

from __future__ import annotations

from collections.abc import Sequence

from bitjoule.energy.feature_map import (
    BEFORE,
    FeatureMap,
    ResidencyPlan,
    Step,
    plan_of,
    tensors_live_at,
    too_small,
)
from bitjoule.energy.residency_states import keep_by_states

__all__ = ["FeatureMap", "ResidencyPlan", "Step", "nothing_kept", "residency"]

MAX_LIVE = 12
"""Live tensors up to which the states are walked; above, the same problem is a 0/1 programme."""


def residency(
    steps: Sequence[Step], tensors: Sequence[FeatureMap], capacity_bits: int | None
) -> ResidencyPlan:
    """The plan of least DRAM traffic; `capacity_bits=None` is an unlimited memory.

    Raises:
        Infeasible: a step does not fit even when everything is streamed.

    >>> plan = residency([Step("a"), Step("b")], [FeatureMap("t", 8, 0, (1,))], 8)
    >>> plan.traffic_bits, plan.kept
    (0, {'t': (True,)})
    """
    everything = {
        tensor.name: tuple(tensor.size_bits > 0 and first > BEFORE for first, _ in tensor.gaps)
        for tensor in tensors
    }
    plan = plan_of(steps, tensors, everything)
    if capacity_bits is None or all(occupied <= capacity_bits for occupied in plan.occupied_bits):
        return plan
    most_live = max(len(tensors_live_at(tensors, step)) for step in range(len(steps)))
    if most_live <= MAX_LIVE:
        return plan_of(steps, tensors, keep_by_states(steps, tensors, capacity_bits))
    from bitjoule.energy.residency_program import keep_by_program  # SciPy costs half a second to import

    return plan_of(steps, tensors, keep_by_program(steps, tensors, capacity_bits))


def nothing_kept(
    steps: Sequence[Step], tensors: Sequence[FeatureMap], capacity_bits: int | None
) -> ResidencyPlan:
    """The plan that streams every tensor.

    Raises:
        Infeasible: a step does not fit.
    """
    plan = plan_of(steps, tensors, {tensor.name: (False,) * len(tensor.gaps) for tensor in tensors})
    for step, occupied in zip(steps, plan.occupied_bits, strict=True):
        if capacity_bits is not None and occupied > capacity_bits:
            raise too_small(step, capacity_bits)
    return plan
