"""Many nests at once against the reference evaluation."""

from __future__ import annotations

import itertools
import math
import random

import numpy as np
import pytest

from bitjoule.mapping.evaluate import evaluate
from bitjoule.mapping.kernel_evaluate import energies_of
from bitjoule.mapping.nest import Mapping
from bitjoule.mapping.problem import DIMS, TENSORS, Problem
from tests.mapping.corners import corner_cases
from tests.mapping.exhaustive import Space, factorisations, keep_sets, orders
from tests.mapping.toy import cases, toy


def arrays(mapping: Mapping) -> tuple[list[list[int]], list[list[int]]]:
    """Dimensions and bounds of a nest, every dimension once per level."""
    dims, bounds = [], []
    for level in mapping.levels:
        loops = dict(level.temporal)
        row = [*loops, *(dim for dim in DIMS if dim not in loops)]
        dims.append([DIMS.index(dim) for dim in row])
        bounds.append([loops.get(dim, 1) for dim in row])
    return dims, bounds


def test_equal_to_the_reference() -> None:
    draw, compared, invalid = random.Random(0), 0, 0
    for case in itertools.chain(cases(60, first=40_000), corner_cases(40, first=40_000)):
        problem, accelerator = case.problem, case.accelerator
        keeping = keep_sets(accelerator)
        every = list(itertools.islice(factorisations(problem, accelerator), 400))
        for chosen in draw.sample(every, min(8, len(every))):
            space, keeps = Space(problem, accelerator, chosen), draw.choice(keeping)
            each = [orders(level, space.loops(i, 0)) for i, level in enumerate(accelerator.levels)]
            nests = [space.mapping(keeps, tuple(map(draw.choice, each))) for _ in range(5)]
            dims, bounds = (np.array(rows) for rows in zip(*map(arrays, nests), strict=True))
            found = energies_of(problem, accelerator, nests[0], dims, bounds, mode=case.mode)
            for nest, energy in zip(nests, found, strict=True):
                reference = evaluate(problem, nest, accelerator, mode=case.mode)
                if reference.latency_cycles == reference.compute_cycles:
                    compared, invalid = compared + 1, invalid + bool(reference.violations)
                    expected = math.inf if reference.violations else reference.energy_pj
                    assert energy == pytest.approx(expected, rel=1e-12)
    assert compared > 1000 and invalid > 50


def test_nests_must_be_of_the_problem() -> None:
    problem, hardware = Problem("p", (1, 1, 4, 1, 1, 1, 1, 1)), toy(("K",))
    nest = Space(problem, hardware, next(factorisations(problem, hardware))).mapping(
        ((TENSORS,) * 5)[0:5], ((),) * 5
    )
    dims = np.tile(np.arange(8), (1, 5, 1))
    with pytest.raises(ValueError, match="must multiply to"):
        energies_of(problem, hardware, nest, dims, np.full((1, 5, 8), 3))
    with pytest.raises(ValueError, match=r"\(nests, 5, 8\)"):
        energies_of(problem, hardware, nest, dims[0], np.ones((5, 8), np.int64))
