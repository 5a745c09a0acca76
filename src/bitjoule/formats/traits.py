"""What hardware asks of a format: the multiplier it needs and the widths of product and accumulator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from bitjoule.formats.signed_digits import csd_count

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from bitjoule.formats.format import Format

__all__ = ["HardwareTraits", "Multiplier", "accumulator_bits", "product_bits"]

Multiplier = Literal["xnor", "gate", "shift", "shift_add", "integer", "float"]


@dataclass(frozen=True)
class HardwareTraits:
    """How a weight of a format multiplies.

    multiplier
        ``xnor`` (with popcount), ``gate`` (+x, 0, -x), ``shift``, ``shift_add``, ``integer`` or ``float``.
    max_terms
        most signed power-of-two terms of any level; 0 for floats.
    regular
        whether the number of terms is bounded per weight, so that a fixed schedule serves every weight.
    level_bits
        two's-complement bits of the integer level, plain binary bits for UINT; 0 for floats.
    """

    multiplier: Multiplier
    max_terms: int
    regular: bool
    level_bits: int

    def mean_terms(self, levels: ArrayLike) -> float:
        """Mean canonical signed digits per given level: the adders per weight of a compile-time constant.

        >>> HardwareTraits("integer", 4, True, 8).mean_terms([0, 1, 7])
        1.0
        """
        if self.multiplier == "float":
            raise ValueError("mean_terms: a float format has no integer levels to count the terms of")
        a = np.asarray(levels)
        if a.size == 0:
            raise ValueError("mean_terms: needs at least one level, got an empty array")
        return float(csd_count(a).mean())


def product_bits(w: Format, a: Format) -> int:
    """Bits that hold every product of a level of ``w`` and a level of ``a``, exactly.

    Two's complement if a product can be negative, plain binary otherwise.

    >>> from bitjoule.formats import parse_format
    >>> product_bits(parse_format("INT8_NARROW"), parse_format("UINT8"))
    16
    """
    corners = [p * q for p in _bounds("product_bits", w) for q in _bounds("product_bits", a)]
    low, high = min(corners), max(corners)
    if low >= 0:
        return max(1, high.bit_length())
    return 1 + max((-1 - low).bit_length(), high.bit_length() if high > 0 else 0)


def accumulator_bits(w: Format, a: Format, fan_in: int, l1_norm: int | None = None) -> int:
    """Two's-complement bits that no sum of ``fan_in`` products can overflow: ``1 + ceil(log2(B + 1))``.

    ``B = fan_in * max|w| * max|a|``, or ``l1_norm * max|a|`` when the weights are known (Colbert et al., A2Q,
    arXiv 2308.13504); ``l1_norm`` is the sum of the absolute weight levels of one output channel.

    >>> from bitjoule.formats import parse_format
    >>> accumulator_bits(parse_format("INT8_NARROW"), parse_format("UINT8"), 1152)
    27
    """
    if fan_in < 1:
        raise ValueError(f"accumulator_bits: fan_in must be >= 1, not {fan_in}")
    if l1_norm is not None and l1_norm < 0:
        raise ValueError(f"accumulator_bits: l1_norm must be >= 0, not {l1_norm}")
    largest_w = max(abs(level) for level in _bounds("accumulator_bits", w))
    largest_a = max(abs(level) for level in _bounds("accumulator_bits", a))
    weight_sum = fan_in * largest_w if l1_norm is None else int(l1_norm)
    return 1 + (weight_sum * largest_a).bit_length()  # ceil(log2(B + 1)) is the bit length of B


def _bounds(where: str, f: Format) -> tuple[int, int]:
    if f.kind not in ("integer", "levels"):
        raise ValueError(f"{where}: {f.name} has no integer levels; use a fixed-point format such as INT8")
    return int(f.min_level), int(f.max_level)
