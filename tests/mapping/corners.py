"""Small random problems in the corners of the law, where a proof of optimality is most likely to have a hole.

Beside `toy.random_case`: up to five levels of which several may be bypassed, kernel and output loops on one
fan-out, strides beyond the kernel, buffers that hold results but not partial sums, dense packing of odd
widths, accesses of a fraction of a word, clusters, groups, orders on every level, tensors that live on chip,
prices without any order, bandwidths that bind and drains.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator

from bitjoule.mapping.accelerator import Accelerator, Axis, StorageLevel
from bitjoule.mapping.evaluate import Mode
from bitjoule.mapping.problem import DIMS, TENSORS, Problem
from tests.mapping.toy import Case, weight

__all__ = ["corner_case", "corner_cases"]

GROUPS_OF_DIMS = (
    "PR",
    "QS",
    "PRC",
    "PRK",
    "PQRS",
    "GPR",
    "KCPR",
    "KC",
    "NKC",
    "GK",
    "NGP",
    "KPQ",
    "CRS",
    "KCP",
)
"""Dimensions that iterate together, sliding windows most often."""


def _problem(draw: random.Random, mode: Mode) -> Problem:
    while True:
        bounds = dict.fromkeys(DIMS, 1)
        for dim in draw.choice(GROUPS_OF_DIMS):
            bounds[dim] = draw.choice((2, 2, 3, 4, 4, 6))
        if 4 <= math.prod(bounds.values()) <= 64:
            break
    n, g, k, c, p, q, r, s = bounds.values()
    output = draw.choice((1, 2, 3, 5, 8))
    native = mode == "native"
    return Problem(
        "corner",
        (n, g, k, c, p, q, r, s),
        stride=(draw.choice((1, 1, 2, 3, 5)), draw.choice((1, 2, 4))),
        dilation=(draw.choice((1, 1, 2, 3)), draw.choice((1, 1, 3))),
        weight_bits=None if native else draw.choice((1, 3, 5, 7, 11)),
        input_bits=None if native else draw.choice((1, 3, 5, 7, 13)),
        output_bits=None if native else output,
        psum_bits=None
        if native
        else output
        if mode == "paper"
        else max(output, draw.choice((9, 17, 24, 33))),
        mac_pj=draw.choice((0.0, 1.0)),
        macs_per_cycle=draw.choice((1.0, 1.0, 3.0, 0.7)),
    )


def _axis(draw: random.Random, present: list[str], chance: float) -> Axis:
    if draw.random() > chance:
        return Axis()
    dims = DIMS if draw.random() < 0.5 else tuple(d for d in present if draw.random() < 0.7)
    return Axis(draw.choice((2, 3, 4, 6)), dims or DIMS)


def _level(draw: random.Random, index: int, outermost: bool, mode: Mode, present: list[str]) -> StorageLevel:
    if not outermost and draw.random() < 0.12:
        x = Axis(draw.choice((2, 4)), tuple(d for d in present if draw.random() < 0.8) or DIMS)
        return StorageLevel(f"fan{index}", (), words=0, x=x, y=_axis(draw, present, 0.5))
    word_bits = draw.choice((16, 13)) if mode == "paper" else draw.choice((7, 8, 12, 16, 32))
    keeps = (
        TENSORS if outermost else tuple(t for t in TENSORS if draw.random() < 0.65) or (draw.choice(TENSORS),)
    )
    price = round(draw.choice((0.0, 0.3, 1.0, 2.0, 7.0, 40.0)) * (1 + draw.random()), 2)
    ordered = draw.random() < 0.3
    limited = draw.random() < 0.25
    return StorageLevel(
        f"level{index}",
        keeps,
        words=None if outermost or draw.random() < 0.1 else draw.choice((1, 2, 3, 4, 5, 7, 9, 12, 18)),
        word_bits=word_bits,
        width_bits=draw.choice((word_bits, word_bits, 3 * word_bits // 2, word_bits // 2, 4 * word_bits)),
        read_pj=price,
        write_pj=round(price * draw.choice((0.0, 1.0, 2.0)), 3),
        update_pj=draw.choice((None, None, 0.0, round(price * 3, 3))),
        leak_pj_per_cycle=draw.choice((0.0, 0.0, 0.0, 2.5)),
        noc_pj_per_word=draw.choice((0.0, 0.0, 3.0)),
        read_words_per_cycle=draw.choice((None, None, None, 0.3, 1.1)),
        write_words_per_cycle=draw.choice((None, None, None, 0.3, 1.1)),
        x=_axis(draw, present, 0.35),
        y=_axis(draw, present, 0.2),
        bypass_allowed=() if outermost else tuple(t for t in keeps if draw.random() < 0.5),
        temporal_dims=tuple(d for d in present if draw.random() < 0.6) if limited and not outermost else DIMS,
        temporal_order=tuple(draw.sample(present, draw.randint(1, len(present)))) if ordered else (),
        fixed_temporal=((draw.choice(present), draw.choice((1, 2))),) if draw.random() < 0.05 else (),
        max_temporal=((draw.choice(present), draw.choice((1, 2, 3))),) if draw.random() < 0.1 else (),
        fixed_spatial=((draw.choice(present), draw.choice((1, 2))),) if draw.random() < 0.05 else (),
        cluster=draw.choice((1, 1, 1, 2, 3)),
        charge_drain=draw.random() < 0.3,
    )


def corner_case(seed: int) -> Case:
    """The case of a seed, whatever its size."""
    draw = random.Random(seed)
    mode: Mode = draw.choice(("physical", "physical", "physical", "paper", "native"))
    problem = _problem(draw, mode)
    present = [dim for dim, bound in zip(DIMS, problem.bounds, strict=True) if bound > 1]
    count = draw.choice((2, 3, 3, 4, 4, 5))
    levels = tuple(_level(draw, i, i == count - 1, mode, present) for i in range(count))
    units = math.prod(level.fanout for level in levels)
    accelerator = Accelerator(
        f"corner{seed}",
        levels,
        mac_count=max(1, units // 2) if draw.random() < 0.2 else units,
        packing=draw.choice(("floor", "dense")) if mode == "physical" else "floor",
        mac_leak_pj_per_cycle=draw.choice((0.0, 0.0, 0.2)),
    )
    if draw.random() < 0.2:
        home = draw.choice(levels[:-1])
        chosen = tuple(t for t in home.keeps if draw.random() < 0.7)
        if chosen:
            accelerator = accelerator.resident(home.name, chosen, home.words)
    return Case(problem, accelerator, mode)


def corner_cases(count: int, first: int = 0, lightest: int = 8, heaviest: int = 3000) -> Iterator[Case]:
    """`count` corner cases whose weight is moderate."""
    seed = first
    while count:
        case = corner_case(seed)
        seed += 1
        if lightest <= weight(case) <= heaviest:
            count -= 1
            yield case
