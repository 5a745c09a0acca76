"""A Problem: what the counting law needs of a Layer, and nothing else.

Loop bounds in eight dimensions (G carries the groups, so that K and C are per group), the steps with which
the window walks, the storage bits of the three tensors, and the energy of one MAC on their Formats.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["DIMS", "REDUCED", "RELEVANT", "TENSORS", "Problem"]

DIMS = ("N", "G", "K", "C", "P", "Q", "R", "S")
"""Loop dimensions in the order of every tuple of bounds: batch, groups, output and input channels per group,
output rows and columns, kernel rows and columns."""

TENSORS = ("weights", "inputs", "outputs")
"""Tensors in the order of every tuple per tensor."""

RELEVANT: dict[str, frozenset[str]] = {
    "weights": frozenset("GKCRS"),
    "inputs": frozenset("NGCPQRS"),
    "outputs": frozenset("NGKPQ"),
}
"""Dimensions that a tensor depends on."""

REDUCED = frozenset("CRS")
"""Dimensions that outputs are summed over."""


@dataclass(frozen=True)
class Problem:
    """Loop bounds, window steps and bits of one layer.

    `bounds`: in the order of `DIMS`. `stride`, `dilation`: (rows, columns). `weight_bits` ...: storage bits
    of an element, `psum_bits` of a partial sum; None in native mode, one element per word. `mac_pj`: energy
    of a MAC on these Formats. `macs_per_cycle` of one unit on these Formats.

    Axes of the tensors (mapping.md section 1): weights G, K, C, R, S; inputs N, G, C,
    stride*P + dilation*R, stride*Q + dilation*S; outputs N, G, K, P, Q.

    Raises:
        ValueError: a bound, stride or dilation < 1, or bits outside 1..256; the text names the layer.

    >>> conv = Problem("conv", (1, 1, 64, 3, 32, 32, 3, 3))
    >>> conv.macs, conv.elements("inputs")
    (1769472, 3468)
    """

    name: str
    bounds: tuple[int, int, int, int, int, int, int, int]
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    weight_bits: int | None = None
    input_bits: int | None = None
    output_bits: int | None = None
    psum_bits: int | None = None
    mac_pj: float = 0.0
    macs_per_cycle: float = 1.0

    def __post_init__(self) -> None:
        named = [
            *zip(DIMS, self.bounds, strict=True),
            *zip(("stride_h", "stride_w"), self.stride, strict=True),
            *zip(("dilation_h", "dilation_w"), self.dilation, strict=True),
        ]
        for key, value in named:
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"layer {self.name!r}: {key} must be a whole number >= 1, not {value!r}")
        for key in ("weight_bits", "input_bits", "output_bits", "psum_bits"):
            bits = getattr(self, key)
            if bits is not None and not 1 <= bits <= 256:
                raise ValueError(f"layer {self.name!r}: {key} must be 1..256, not {bits!r}")

    @property
    def macs(self) -> int:
        """Multiply-accumulates: the product of the bounds."""
        return math.prod(self.bounds)

    def bound(self, dim: str) -> int:
        """Bound of one dimension."""
        return self.bounds[DIMS.index(dim)]

    def extents(self, tensor: str, tile: tuple[int, ...]) -> tuple[int, ...]:
        """Extents of a tensor's axes for a tile of `tile` iterations per dimension (E1)."""
        n, g, k, c, p, q, r, s = tile
        if tensor == "weights":
            return (g, k, c, r, s)
        if tensor == "outputs":
            return (n, g, k, p, q)
        rows = 1 + self.stride[0] * (p - 1) + self.dilation[0] * (r - 1)
        columns = 1 + self.stride[1] * (q - 1) + self.dilation[1] * (s - 1)
        return (n, g, c, rows, columns)

    def elements(self, tensor: str, tile: tuple[int, ...] | None = None) -> int:
        """Elements in the bounding box of a tile, or of the whole tensor."""
        return math.prod(self.extents(tensor, self.bounds if tile is None else tile))
