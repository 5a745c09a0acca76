"""Programmes for tests: the toy chain of search.md section 9, random tables, and enumeration."""

from collections.abc import Sequence
from itertools import product

import numpy as np

from bitjoule.search.programme import Gene, Programme, Term

__all__ = ["enumerated", "random_programme", "toy_programme"]


def toy_programme(layers: int, widths: Sequence[int]) -> Programme:
    """The chain with one gene per weight and per input; the last output has 8 bits."""
    tokens = tuple(str(width) for width in widths)
    bits = np.array(widths, float)
    genes: list[Gene] = []
    terms: list[Term] = []
    for l in range(layers):
        weights_loss, inputs_loss = (1 + 11 * l % 9) * 4.0**-bits, 0.5 * (1 + 13 * l % 8) * 4.0**-bits
        genes.append(Gene(f"w{l}", tokens, tuple(weights_loss)))
        genes.append(Gene(f"a{l}", tokens, tuple(inputs_loss), "activation"))
        macs, weights = 1e6 * (1 + 7 * l % 5), 1e4 * (1 + 3 * l % 7)
        acts, acts_out = 1e4 * (1 + 5 * l % 6), 1e4 * (1 + 5 * (l + 1) % 6)
        w, a, o = bits[:, None, None], bits[None, :, None], bits[None, None, :]
        energy = 0.003 * macs * w * a + weights * w + 0.5 * acts * a + 0 * o
        if l < layers - 1:
            terms.append(Term(f"l{l}", (f"w{l}", f"a{l}", f"a{l + 1}"), energy + 0.5 * acts_out * o))
        else:
            terms.append(Term(f"l{l}", (f"w{l}", f"a{l}"), energy[:, :, 0] + 0.5 * acts_out * 8))
    return Programme(tuple(genes), tuple(terms))


def random_programme(seed: int) -> Programme:
    """Four to six layers with 2 or 3 choices; some share an input group, some combinations are forbidden."""
    rng = np.random.default_rng(seed)
    layers = int(rng.integers(3, 6))
    groups = int(rng.integers(2, 4))
    sizes = [int(rng.integers(2, 4)) for _ in range(groups)]
    genes = [
        Gene(
            f"a{g}",
            tuple("2345"[: sizes[g]]),
            tuple(sorted(rng.exponential(1.0, sizes[g]).round(3).tolist(), reverse=True)),
            "activation",
        )
        for g in range(groups)
    ]
    terms: list[Term] = []
    for l in range(layers):
        choices = int(rng.integers(1, 4))
        genes.append(Gene(f"w{l}", tuple("234"[:choices]), tuple(rng.exponential(1.0, choices).round(3))))
        reads = [f"a{g}" for g in rng.permutation(groups)[: int(rng.integers(1, 3))]]  # residual groups too
        shape = (choices, *(sizes[int(name[1:])] for name in reads))
        energy = rng.integers(1, 40, shape).astype(float)
        if rng.random() < 0.3 and energy.size > 4:
            energy.flat[int(rng.integers(energy.size))] = np.inf
        size = rng.integers(1, 9, shape).astype(float)
        terms.append(Term(f"l{l}", (f"w{l}", *reads), energy, size_bits=size))
    terms.append(Term("fixed", (), np.array(7.0)))
    return Programme(tuple(genes), tuple(terms), {"energy_pj": 2.0})


def enumerated(programme: Programme) -> list[tuple[float, float, float, dict[str, str]]]:
    """(loss, energy, size, assignment) of every allowed assignment."""
    found = []
    names = [gene.name for gene in programme.genes]
    for choices in product(*(gene.choices for gene in programme.genes)):
        assignment = dict(zip(names, choices, strict=True))
        energy = programme.value(assignment, "energy_pj")
        if np.isfinite(energy):
            size = programme.value(assignment, "size_bits")
            found.append((programme.loss(assignment), energy, size, assignment))
    return found
