"""The priced residency optimum as a 0/1 programme (SciPy HiGHS): many live tensors, weights that stay.

Every step s picks one option z[s,o]: a set of its tensors on chip, a price and the free bits it needs
(`Option`: the breakpoints of the price as a function of the free bits). Binaries beside it: k[t,g] a gap
is kept; c[t,s] >= k[t,g] the tensor is resident at s; l, f it is loaded or filled at a step from which it is
kept but which it does not reach on chip; d[t] it is flushed. Rows, with on[t,s] = sum of z over the options
in which t is on:

    sum_o z[s,o] = 1                  sum_t size*c[t,s] + sum_o need*z[s,o] <= capacity
    made at s:  on = k first gap      used at s:  k before <= on <= k before + l,  l <= on,  l <= k after,
                                                  k after - k before <= l + f;  without a gap after l = f = 0
    d >= k first - k other, and of an output d >= k first

Weights of step s that stay across inferences are one more binary p[s]: sum of z over the options of s with
its weights on chip = p[s], and sum_s bits*p[s] stands in the capacity row of every step.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from itertools import pairwise

from bitjoule.energy.binary_programme import BinaryProgramme
from bitjoule.energy.feature_map import BEFORE, FeatureMap
from bitjoule.energy.residency_prices import OptionPrices, StepPrices

__all__ = ["cheapest_by_program"]


def cheapest_by_program(
    length: int,
    tensors: Sequence[FeatureMap],
    capacity_bits: int,
    prices: OptionPrices,
    weight_bits: Mapping[int, int] | None = None,
) -> tuple[dict[str, tuple[bool, ...]], frozenset[int]]:
    """Gaps to keep, and steps whose weights stay, for the least price of the options.

    `weight_bits`: steps whose weights may stay, and what they take. Which of several optima is the solver's
    choice.

    Raises:
        Exception: what `prices.fault` makes of a step that fits with no choice.
    """
    programme = BinaryProgramme()
    weights = dict(weight_bits or {})
    for step in weights:
        programme.variable(("pin", step))
    for number, tensor in enumerate(tensors):
        _add_tensor(programme, number, tensor, prices)
    for step in range(length):
        _add_step(programme, step, tensors, capacity_bits, prices, weights)
    chosen = programme.solve()
    if chosen is None:
        raise RuntimeError("HiGHS found no residency plan where every step fits when streamed")
    kept = {
        tensor.name: tuple(bool(chosen["keep", number, use] > 0.5) for use in tensor.uses)
        for number, tensor in enumerate(tensors)
    }
    return kept, frozenset(step for step in weights if chosen["pin", step] > 0.5)


def _add_tensor(programme: BinaryProgramme, number: int, tensor: FeatureMap, prices: StepPrices) -> None:
    gaps = tensor.gaps
    for first, last in gaps:
        programme.variable(("keep", number, last), upper=int(first > BEFORE))
        for step in range(max(first, 0), last + 1):
            if ("here", number, step) not in programme:
                programme.variable(("here", number, step))
            programme.at_most([(("keep", number, last), 1), (("here", number, step), -1)], 0)
    for (_, use), (_, after) in pairwise(gaps):
        load, fill = ("load", number, use), ("fill", number, use)
        programme.variable(load, price=float(prices.load(number)[0]))
        programme.variable(fill, price=float(prices.fill(number)[0]))
        before, behind = ("keep", number, use), ("keep", number, after)
        programme.at_most([(behind, 1), (before, -1), (load, -1), (fill, -1)], 0)
        programme.at_most([(load, 1), (behind, -1)], 0)
    if gaps and tensor.producer > BEFORE:
        flush, first_gap = ("flush", number), ("keep", number, gaps[0][1])
        programme.variable(flush, price=float(prices.flush(number)[0]))
        if tensor.is_output:
            programme.at_most([(first_gap, 1), (flush, -1)], 0)
        for _, use in gaps[1:]:
            programme.at_most([(first_gap, 1), (("keep", number, use), -1), (flush, -1)], 0)


def _add_step(
    programme: BinaryProgramme,
    step: int,
    tensors: Sequence[FeatureMap],
    capacity_bits: int,
    prices: OptionPrices,
    weight_bits: Mapping[int, int],
) -> None:
    resident: list[tuple[Hashable, float]] = [
        (("pin", pinned), float(bits)) for pinned, bits in weight_bits.items()
    ]
    for number, tensor in enumerate(tensors):
        if ("here", number, step) in programme:
            resident.append((("here", number, step), float(tensor.size_bits)))
    options = prices.options(step)
    if not options:
        raise prices.fault(step)
    names = [("option", step, place) for place in range(len(options))]
    for name, option in zip(names, options, strict=True):
        programme.variable(name, price=float(option.energy))
    programme.at_most([(name, 1) for name in names], 1)
    programme.at_most([(name, -1) for name in names], -1)
    if step in weight_bits:
        staying: list[tuple[Hashable, float]] = [
            (name, 1.0) for name, option in zip(names, options, strict=True) if option.pinned
        ]
        _equal(programme, [*staying, (("pin", step), -1.0)])
    needs = [
        (name, float(option.need_bits))
        for name, option in zip(names, options, strict=True)
        if option.need_bits
    ]
    if needs or resident:
        programme.at_most([*resident, *needs], capacity_bits)
    for number, tensor in enumerate(tensors):
        on: list[tuple[Hashable, float]] = [
            (name, 1.0) for name, option in zip(names, options, strict=True) if number in option.on
        ]
        if step == tensor.producer:
            reached = [(("keep", number, tensor.uses[0]), -1.0)] if tensor.uses else []
            _equal(programme, [*on, *reached])
        elif step in tensor.uses:
            before = (("keep", number, step), -1.0)
            programme.at_most([*((name, -1.0) for name, _ in on), (before[0], 1.0)], 0)
            load = ("load", number, step)
            programme.at_most([*on, before, *([(load, -1.0)] if load in programme else [])], 0)
            if load in programme:
                programme.at_most([*((name, -1.0) for name, _ in on), (load, 1.0)], 0)


def _equal(programme: BinaryProgramme, terms: Sequence[tuple[Hashable, float]]) -> None:
    """The terms sum to 0."""
    if terms:
        programme.at_most(terms, 0)
        programme.at_most([(name, -factor) for name, factor in terms], 0)
