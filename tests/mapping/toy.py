"""Toy hardware of mapping.md 4.6, and small random problems on small random hierarchies."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass

from bitjoule.mapping.accelerator import Accelerator, Axis, StorageLevel
from bitjoule.mapping.evaluate import Mode
from bitjoule.mapping.problem import DIMS, TENSORS, Problem
from tests.mapping.exhaustive import keep_sets, orders, splits

__all__ = ["GOLDEN", "Case", "cases", "random_case", "toy", "weight"]


@dataclass(frozen=True)
class Case:
    """A problem on a hierarchy, counted in one mode."""

    problem: Problem
    accelerator: Accelerator
    mode: Mode


def toy(fanout_dims: tuple[str, ...], *, rf_words: int = 4, glb_words: int = 24, pes: int = 4) -> Accelerator:
    """Register files for each tensor, a global buffer without weights, and DRAM (mapping.md 4.6).

    The register files are three stacked levels; loops run in the innermost of them only.
    """
    files = tuple(
        StorageLevel(
            f"rf_{tensor[0]}",
            (tensor,),
            words=rf_words,
            read_pj=1.0,
            write_pj=1.0,
            temporal_dims=DIMS if tensor == "weights" else (),
        )
        for tensor in TENSORS
    )
    glb = StorageLevel(
        "glb",
        ("inputs", "outputs"),
        words=glb_words,
        read_pj=6.0,
        write_pj=6.0,
        x=Axis(pes, fanout_dims),
    )
    dram = StorageLevel("dram", TENSORS, read_pj=200.0, write_pj=200.0)
    return Accelerator("toy", (*files, glb, dram), mac_count=pes, psum_bits=16)


def _bits(weights: int, inputs: int, outputs: int) -> dict[str, int]:
    return {"weight_bits": weights, "input_bits": inputs, "output_bits": outputs, "psum_bits": 16}


GOLDEN = (
    (Problem("conv", (1, 1, 4, 2, 4, 1, 3, 1), mac_pj=1.0, **_bits(16, 16, 16)), ("K", "C"), 11176.0, 24),
    (
        Problem("strided", (1, 1, 2, 4, 3, 2, 2, 1), stride=(2, 1), mac_pj=1.0, **_bits(8, 8, 8)),
        ("K", "C", "P"),
        8292.0,
        24,
    ),
    (Problem("depthwise", (1, 4, 1, 1, 4, 1, 3, 1), mac_pj=1.0, **_bits(4, 8, 8)), ("G", "P"), 4971.0, 48),
    (Problem("linear", (2, 1, 6, 4, 1, 1, 1, 1), mac_pj=1.0, **_bits(2, 4, 4)), ("K", "C", "N"), 1730.0, 12),
)
"""(problem, dimensions of the fan-out, least pJ, cycles) of mapping.md 4.6."""


def _problem(draw: random.Random, mode: Mode) -> Problem:
    """At most 48 MACs in two to four dimensions."""
    while True:
        bounds = [1] * len(DIMS)
        for dim in draw.sample(range(len(DIMS)), draw.randint(2, 4)):
            bounds[dim] = draw.choice((2, 2, 3, 4, 4, 5, 6))
        if 4 <= math.prod(bounds) <= 48:
            break
    output = draw.choice((2, 4, 8, 16))
    native = mode == "native"
    return Problem(
        "random",
        (bounds[0], bounds[1], bounds[2], bounds[3], bounds[4], bounds[5], bounds[6], bounds[7]),
        stride=(draw.choice((1, 1, 2, 3)), draw.choice((1, 1, 2))),
        dilation=(draw.choice((1, 1, 2)), draw.choice((1, 1, 2))),
        weight_bits=None if native else draw.choice((1, 2, 3, 4, 6, 8, 16)),
        input_bits=None if native else draw.choice((2, 3, 4, 8, 16)),
        output_bits=None if native else output,
        psum_bits=None if native else max(output, draw.choice((8, 16, 16, 20, 24)) if mode != "paper" else 1),
        mac_pj=draw.choice((0.0, 0.25, 1.0)),
        macs_per_cycle=draw.choice((1.0, 1.0, 1.0, 2.0, 0.5)),
    )


def _axis(draw: random.Random) -> Axis:
    if draw.random() < 0.6:
        return Axis()
    return Axis(draw.choice((2, 3, 4)), tuple(d for d in DIMS if draw.random() < 0.5) or DIMS)


def _level(draw: random.Random, index: int, outermost: bool, mode: Mode, problem: Problem) -> StorageLevel:
    price = round((1.0 + draw.random()) * 5.0**index, 3)
    word_bits = draw.choice((16, 16, 16, 32)) if mode == "paper" else draw.choice((8, 16, 16, 32))
    bandwidth = [draw.choice((0.5, 1.0, 2.0, 3.5)) if draw.random() < 0.35 else None for _ in range(2)]
    fan_out_only = not outermost and draw.random() < 0.15
    if fan_out_only:
        return StorageLevel(f"fan{index}", (), words=0, x=Axis(draw.choice((2, 3))), y=_axis(draw))
    keeps = TENSORS if outermost else tuple(t for t in TENSORS if draw.random() < 0.75) or ("outputs",)
    present = [dim for dim, bound in zip(DIMS, problem.bounds, strict=True) if bound > 1]
    limited, ordered = draw.random() < 0.2 and not outermost, draw.random() < 0.2
    return StorageLevel(
        f"level{index}",
        keeps,
        words=None if outermost else draw.choice((4, 6, 8, 12, 20, 32)) * (1 if index == 0 else 2),
        word_bits=word_bits,
        width_bits=word_bits * draw.choice((1, 1, 2, 4)),
        read_pj=price,
        write_pj=round(price * draw.choice((1.0, 1.3)), 3),
        update_pj=draw.choice((None, None, round(price * 1.7, 3))),
        leak_pj_per_cycle=draw.choice((0.0, 0.0, 0.3)),
        noc_pj_per_word=draw.choice((0.0, 0.0, 0.7)),
        read_words_per_cycle=bandwidth[0],
        write_words_per_cycle=bandwidth[1],
        x=_axis(draw),
        y=_axis(draw),
        bypass_allowed=() if outermost else tuple(t for t in keeps if draw.random() < 0.35),
        temporal_dims=tuple(d for d in DIMS if draw.random() < 0.6) if limited else DIMS,
        temporal_order=tuple(draw.sample(present, draw.randint(1, len(present)))) if ordered else (),
        fixed_temporal=((draw.choice(present), 1),) if draw.random() < 0.1 else (),
        max_temporal=((draw.choice(present), draw.choice((1, 2, 3))),) if draw.random() < 0.1 else (),
        fixed_spatial=((draw.choice(present), 1),) if draw.random() < 0.1 else (),
        charge_drain=draw.random() < 0.15,
    )


def random_case(seed: int, *, modes: tuple[Mode, ...] = ("physical", "physical", "paper", "native")) -> Case:
    """The case of a seed, whatever its size."""
    draw = random.Random(seed)
    mode = draw.choice(modes)
    problem = _problem(draw, mode)
    count = draw.choice((2, 2, 3, 3, 4))
    levels = tuple(_level(draw, i, i == count - 1, mode, problem) for i in range(count))
    units = math.prod(level.fanout for level in levels)
    accelerator = Accelerator(
        f"random{seed}",
        levels,
        mac_count=max(1, units // 2) if draw.random() < 0.15 else units,
        packing=draw.choice(("floor", "floor", "dense")) if mode == "physical" else "floor",
        mac_leak_pj_per_cycle=draw.choice((0.0, 0.0, 0.2)),
    )
    if draw.random() < 0.2:
        home = draw.choice(levels[:-1])
        tensors = tuple(t for t in home.keeps if t != "weights")
        if tensors:
            chosen = tuple(t for t in tensors if draw.random() < 0.7) or tensors[:1]
            accelerator = accelerator.resident(home.name, chosen, home.words)
    return Case(problem, accelerator, mode)


def weight(case: Case) -> int:
    """About how many mappings the case has (fan-out sizes aside)."""
    levels, product = case.accelerator.levels, len(keep_sets(case.accelerator))
    for dim, bound in zip(DIMS, case.problem.bounds, strict=True):
        product *= len(splits(levels, dim, bound))
    loops = tuple((d, b) for d, b in zip(DIMS, case.problem.bounds, strict=True) if b > 1)
    return product * max(len(orders(level, loops)) for level in levels)


def cases(count: int, first: int = 0, heaviest: int = 4000) -> Iterator[Case]:
    """`count` random cases whose weight is moderate."""
    seed = first
    while count:
        case = random_case(seed)
        seed += 1
        if 8 <= weight(case) <= heaviest:
            count -= 1
            yield case
