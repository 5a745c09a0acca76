"""What the compiled kernels read: arrays of a problem, its hardware and a spatial assignment.

A *child* is a buffer (or the MAC units) that fetches one tensor from its *parent*, the next level outwards
that keeps it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from bitjoule.mapping.kernel_cache import drop_stale

__all__ = [
    "BLOCK_D",
    "BLOCK_N",
    "BORN",
    "CAPACITY",
    "CAPPED",
    "CLOSED",
    "CLUSTERS",
    "DISTINCT",
    "DRAIN",
    "FIXED",
    "FRAME_COLUMNS",
    "INPUTS",
    "INSTANCES",
    "LEVEL",
    "NOC",
    "OUTER",
    "OUTERMOST",
    "OUTPUTS",
    "PARENT",
    "PSUM_D",
    "PSUM_N",
    "READ",
    "REST",
    "SPREAD_COLUMNS",
    "TENSOR",
    "TRACK",
    "UNBORN",
    "UPDATE",
    "VARIES",
    "VISITS",
    "WEIGHTS",
    "WORD_D",
    "WORD_N",
    "WRITE",
    "Frame",
    "Spread",
]

drop_stale()

WEIGHTS = 0
INPUTS = 1
OUTPUTS = 2
"""Positions of the tensors."""

UNBORN = 0
REST = 1
FIXED = 2
CLOSED = 3
"""States of a child: not reached yet (UNBORN); no loop has moved it; F is known; its cost is in the sum."""


TENSOR = 0
LEVEL = 1
PARENT = 2
OUTER = 3
"""Columns of `Frame.child`: tensor, level (-1: MAC units), parent level, next child outwards of the
same tensor (-1: none)."""

CAPACITY = 0
PSUM_N = 1
PSUM_D = 2
BLOCK_N = 3
BLOCK_D = 4
DRAIN = 5
OUTERMOST = 6
TRACK = 7
CAPPED = 8
WORD_N = 11
WORD_D = 14
BORN = 17
FRAME_COLUMNS = 20
"""Columns of `Frame.level`: words (-1: unbounded); words of n partial sums are ceil(n*PSUM_N/PSUM_D);
accesses of n words are ceil(n*BLOCK_D/BLOCK_N); are finished outputs read out again; is it the home of
outputs; place of its traffic in `bandwidth` (-1: no limit that can bind). Per tensor: does it count in the
capacity; words of n elements are ceil(n*WORD_N/WORD_D); the child born there (-1: none)."""

READ = 0
WRITE = 1
UPDATE = 2
NOC = 3
"""Columns of `Frame.price`, in pJ."""

INSTANCES = 0
CLUSTERS = 1
VISITS = 2
VARIES = 3
DISTINCT = 4
SPREAD_COLUMNS = 7
"""Columns of `Spread.level`: instances and clusters in use; outputs that one instance writes once, U of law
E4; do distinct input offsets depend on the tile; per tensor the distinct offsets of the fan-out, for inputs
a lower bound where they vary."""


class Frame(NamedTuple):
    """A problem on a hardware with a keep set. Levels innermost first, children by tensor, then level.

    `child`, `level`, `price`: see the columns above. `window`: stride and dilation of rows, then of columns.
    `bandwidth`: words per cycle, reads at 2k and writes at 2k+1. Few arrays, because a call of a compiled
    function costs time for each.
    """

    child: Any
    level: Any
    price: Any
    window: Any
    bandwidth: Any


class Spread(NamedTuple):
    """A spatial assignment: what is unrolled where, and what follows from it.

    `sp[l, d]`: fan-out factors of level l; `inner[l, d]`: their product up to and with level l. `bounds`:
    what is left to iterate in time. `level`: see the columns above. `least[t, l]`: product of the distinct
    offsets of tensor t over levels < l.
    """

    sp: Any
    inner: Any
    bounds: Any
    level: Any
    least: Any
