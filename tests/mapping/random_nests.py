"""Random small layers, hardware and mappings, from one generator of random numbers."""

import random
from dataclasses import replace

from bitjoule.mapping.accelerator import Accelerator, Axis, StorageLevel
from bitjoule.mapping.nest import LevelNest, Loop, Mapping
from bitjoule.mapping.problem import DIMS, TENSORS, Problem

Case = tuple[Problem, Mapping, Accelerator]

KINDS: dict[str, str] = {
    "conv": "NKCPQRS",
    "groups": "GKCPQRS",
    "depthwise": "NGPQRS",
    "pointwise": "KCPQ",
    "linear": "NKCP",
    "matmul": "GKCP",
    "window": "PQRS",
}


def random_problem(rng: random.Random, *, most_macs: int = 400) -> Problem:
    """A layer of one of KINDS; stride and dilation where there is a window."""
    kind = rng.choice([*KINDS, "conv", "depthwise", "window", "window"])
    bounds = dict.fromkeys(DIMS, 1)
    macs = 1
    for dim in rng.sample(KINDS[kind], len(KINDS[kind])):
        bound = rng.choice([b for b in (1, 2, 2, 3, 4, 5, 6, 7, 8, 9, 12) if b * macs <= most_macs])
        bounds[dim] = bound
        macs *= bound
    window = kind in ("conv", "groups", "depthwise", "window")
    steps = [rng.choice((1, 1, 2, 3)) if window else 1 for _ in range(4)]
    output_bits = rng.choice((1, 2, 4, 8, 16))
    n, g, k, c, p, q, r, s = bounds.values()
    return Problem(
        kind,
        (n, g, k, c, p, q, r, s),
        stride=(steps[0], steps[1]),
        dilation=(steps[2], steps[3]),
        weight_bits=rng.choice((1, 2, 3, 4, 8, 16)),
        input_bits=rng.choice((1, 2, 3, 4, 6, 8, 16)),
        output_bits=output_bits,
        psum_bits=rng.choice([b for b in (8, 16, 20, 24, 32) if b >= output_bits]),
        mac_pj=rng.uniform(0, 2),
        macs_per_cycle=rng.choice((1.0, 1.0, 2.0, 0.5)),
    )


def random_accelerator(rng: random.Random, *, most_levels: int = 4) -> Accelerator:
    """Memories and pure fan-outs, the outermost keeping all; sizes without limit or small."""
    levels = []
    count = rng.randint(1, most_levels)
    for index in range(count):
        outermost = index == count - 1
        keeps = TENSORS if outermost else tuple(t for t in TENSORS if rng.random() < 0.6)
        fan = rng.random() < 0.6
        levels.append(
            StorageLevel(
                f"l{index}",
                keeps,
                words=None if outermost else rng.choice((None, 4, 32, 256)),
                word_bits=rng.choice((8, 16, 32)),
                width_bits=rng.choice((16, 32, 64)),
                read_pj=rng.uniform(0, 10),
                write_pj=rng.uniform(0, 10),
                update_pj=rng.choice((None, rng.uniform(0, 10))),
                leak_pj_per_cycle=rng.choice((0.0, 0.01)),
                noc_pj_per_word=rng.choice((0.0, 0.5)),
                read_words_per_cycle=rng.choice((None, None, 0.5, 2.0, 1.2)),
                write_words_per_cycle=rng.choice((None, None, 1.0, 3.0)),
                x=Axis(rng.choice((2, 4, 8)) if fan else 1),
                y=Axis(rng.choice((1, 3, 4)) if fan else 1),
                bypass_allowed=() if outermost else tuple(t for t in keeps if rng.random() < 0.5),
                cluster=rng.choice((1, 1, 1, 2)),
                charge_drain=rng.random() < 0.2,
            )
        )
    fanout = 1
    for level in levels:
        fanout *= level.fanout
    return Accelerator(
        "random",
        tuple(levels),
        mac_count=fanout,
        packing=rng.choice(("floor", "dense")),
        mac_leak_pj_per_cycle=rng.choice((0.0, 0.001)),
    )


def random_mapping(rng: random.Random, problem: Problem, accelerator: Accelerator) -> Mapping:
    """Every prime factor of every bound at a random place; random orders, keep sets and idle loops.

    Fan-outs take factors while there is room, or (rarely) beyond it; often one of them takes most.
    """
    depth = len(accelerator.levels)
    temporal: list[list[Loop]] = [[] for _ in range(depth)]
    fans: list[dict[str, list[Loop]]] = [{"x": [], "y": []} for _ in range(depth)]
    room = [{"x": level.x.size, "y": level.y.size} for level in accelerator.levels]
    overflow = rng.random() < 0.05
    crowded = rng.randrange(depth) if rng.random() < 0.4 else None
    for dim, bound in zip(DIMS, problem.bounds, strict=True):
        for factor in _factors(bound, rng):
            level = rng.randrange(depth)
            letter = rng.choice(("x", "y", "t", "t"))
            if crowded is not None and rng.random() < 0.5:
                level, letter = crowded, rng.choice("xy")
            if letter != "t" and (room[level][letter] >= factor or overflow):
                room[level][letter] //= factor
                fans[level][letter].append((dim, factor))
            else:
                temporal[level].append((dim, factor))
    homes = {tensor: level.name for level in accelerator.levels for tensor in level.keeps}
    levels = []
    for index, level in enumerate(accelerator.levels):
        if rng.random() < 0.2:
            temporal[index].append((rng.choice(DIMS), 1))
        for loops in (temporal[index], *fans[index].values()):
            rng.shuffle(loops)
        keeps = tuple(t for t in level.keeps if homes[t] == level.name or rng.random() < 0.75)
        levels.append(
            LevelNest(
                level.name, keeps, tuple(temporal[index]), tuple(fans[index]["x"]), tuple(fans[index]["y"])
            )
        )
    return Mapping(tuple(levels))


def _factors(bound: int, rng: random.Random) -> list[int]:
    """Prime factors of `bound`, some of them multiplied together."""
    found = []
    rest, prime = bound, 2
    while rest > 1:
        while rest % prime == 0:
            rest //= prime
            if found and rng.random() < 0.3:
                found[-1] *= prime
            else:
                found.append(prime)
        prime += 1
    return found


def random_case(rng: random.Random, *, most_macs: int = 400, most_levels: int = 4) -> Case:
    """A problem, a mapping of it, and the hardware; tensors sometimes live in an inner level as a whole."""
    problem = random_problem(rng, most_macs=most_macs)
    accelerator = random_accelerator(rng, most_levels=most_levels)
    inner = [level for level in accelerator.levels[:-1] if level.keeps]
    if inner and rng.random() < 0.2:
        home = rng.choice(inner)
        tensors = tuple(t for t in home.keeps if rng.random() < 0.7)
        if tensors:
            accelerator = accelerator.resident(home.name, tensors, home.words)
    return problem, random_mapping(rng, problem, accelerator), accelerator


def with_levels(mapping: Mapping, **changes: LevelNest) -> Mapping:
    """The mapping with levels of these names put in the place of its own."""
    return replace(mapping, levels=tuple(changes.get(level.name, level) for level in mapping.levels))
