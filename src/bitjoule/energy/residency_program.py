"""The residency optimum as a 0/1 programme (SciPy HiGHS), for graphs with many live tensors.

Binaries: k[t,g] a gap is kept; w[t] >= 1 - k[t,g] the tensor is written; c[t,s] >= k[t,g] it is resident at
step s of the gap. Minimise sum size*(1 - k) + size*w subject to
need_s + sum size*c + sum streaming*(1 - c) <= capacity at every step.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from bitjoule.energy.binary_programme import BinaryProgramme
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
    programme = BinaryProgramme()
    for tensor in tensors:
        _add_tensor(programme, tensor)
    for number, step in enumerate(steps):
        _add_capacity(programme, number, step, tensors, capacity_bits)
    chosen = programme.solve()
    if chosen is None:
        raise RuntimeError("HiGHS found no residency plan where streaming everything is one")
    return {
        tensor.name: tuple(bool(chosen["keep", tensor.name, use] > 0.5) for use in tensor.uses)
        for tensor in tensors
    }


def _add_tensor(programme: BinaryProgramme, tensor: FeatureMap) -> None:
    size, name = float(tensor.size_bits), tensor.name
    if tensor.producer > BEFORE and not tensor.is_output:
        programme.variable(("write", name), price=size)
    for first, last in tensor.gaps:
        programme.variable(("keep", name, last), price=-size, upper=int(first > BEFORE))
        if ("write", name) in programme:
            programme.at_most([(("write", name), -1), (("keep", name, last), -1)], -1)
        for step in range(max(first, 0), last + 1):
            if ("here", name, step) not in programme:
                programme.variable(("here", name, step))
            programme.at_most([(("keep", name, last), 1), (("here", name, step), -1)], 0)


def _add_capacity(
    programme: BinaryProgramme, number: int, step: Step, tensors: Sequence[FeatureMap], capacity_bits: int
) -> None:
    terms: list[tuple[Hashable, float]] = []
    fixed = step.need_bits + sum(step.streaming_bits.values())
    for tensor in tensors:
        here = ("here", tensor.name, number)
        if here in programme:
            terms.append((here, float(tensor.size_bits - step.streaming_bits.get(tensor.name, 0))))
    if terms:
        programme.at_most(terms, capacity_bits - fixed)
